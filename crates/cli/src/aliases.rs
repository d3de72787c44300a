//! Words that the user made for commands: `ll` for `list -c ns4`, with `@ARGS@` where the rest of the line goes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Where all that follows the alias goes.
const REST: &str = "@ARGS@";

/// Puts what an alias stands for in its place. The alias of most words wins; what it stands for is not looked up again.
pub(crate) fn expand(arguments: &[OsString], aliases: &BTreeMap<String, String>) -> Vec<OsString> {
    let Some((program, rest)) = arguments.split_first() else { return Vec::new() };
    let fits = |alias: &&str| {
        let words: Vec<&OsStr> = alias.split_whitespace().map(OsStr::new).collect();
        !words.is_empty() && rest.len() >= words.len() && words.iter().zip(rest).all(|(word, argument)| argument == word)
    };
    let Some(alias) = aliases.keys().map(String::as_str).filter(fits).max_by_key(|alias| alias.split_whitespace().count()) else {
        return arguments.to_vec();
    };
    let rest = &rest[alias.split_whitespace().count()..];
    let mut expanded = vec![program.clone()];
    let (mut placed, mut used) = (false, 0);
    for word in aliases[alias].split_whitespace() {
        match (word, numbered(word)) {
            (REST, _) => {
                expanded.extend_from_slice(rest);
                placed = true;
            }
            (_, Some(number)) if number >= 1 => {
                expanded.extend(rest.get(number - 1).cloned());
                used = used.max(number);
            }
            _ => expanded.push(word.into()),
        }
    }
    if !placed {
        expanded.extend(rest.iter().skip(used).cloned());
    }
    expanded
}

/// The number in `@ARG1@`.
fn numbered(word: &str) -> Option<usize> {
    word.strip_prefix("@ARG")?.strip_suffix('@')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expect: &str) {
        let aliases = [
            ("ll", "list -c ns4"),
            ("login", "exec @ARGS@ -- su -l"),
            ("image ll", "image list -c lf"),
            ("as", "exec @ARG1@ --user @ARG2@ --"),
            ("list", "list --fast"),
        ];
        let aliases = aliases.map(|(alias, value)| (alias.to_owned(), value.to_owned())).into();
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let expanded: Vec<String> = expand(&words, &aliases).into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(expanded.join(" "), expect);
    }

    #[test]
    fn aliases_stand_for_their_words() {
        check("coffer ll web", "coffer list -c ns4 web");
        check("coffer login web", "coffer exec web -- su -l");
        check("coffer image ll images:", "coffer image list -c lf images:");
        check("coffer as web 1000 id -u", "coffer exec web --user 1000 -- id -u");
        // Not again in what it stands for.
        check("coffer list", "coffer list --fast");
        check("coffer start ll", "coffer start ll");
        check("coffer", "coffer");
    }
}
