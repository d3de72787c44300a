//! What may stand next on a command line: for the shells' completion. The grammar says which kind of thing, the server which there are.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Arg, Command};
use coffer_client::ApiPath;

use crate::app::App;
use crate::target::Target;

/// A shell does not wait longer for names.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is wanted at the end of a line.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// One of these words.
    Words(Vec<String>),
    /// A value of this name in the grammar, or one of these words.
    Value(String, Vec<String>),
}

/// Candidates for the last of these words, which follow the program's name.
pub(crate) async fn candidates(app: &App, grammar: &Command, words: &[String]) -> Vec<String> {
    let (current, before) = words.split_last().map_or(("", &[][..]), |(current, before)| (current.as_str(), before));
    let found = match wanted(grammar, before, current) {
        Wanted::Words(words) => words,
        Wanted::Value(kind, mut words) => {
            words.extend(names(app, &kind, current, before).await);
            words
        }
    };
    found.into_iter().filter(|word| word.starts_with(current)).collect::<BTreeSet<_>>().into_iter().collect()
}

fn wanted(grammar: &Command, before: &[String], current: &str) -> Wanted {
    let (mut command, mut places, mut words) = (grammar, 0, before.iter());
    let mut options: Vec<&Arg> = grammar.get_arguments().collect();
    while let Some(word) = words.next() {
        if word == "--" {
            return Wanted::Words(Vec::new());
        }
        if let Some(option) = option(&options, word) {
            if option.get_action().takes_values() && !word.contains('=') && words.as_slice().is_empty() {
                return value(option);
            }
            if option.get_action().takes_values() && !word.contains('=') {
                words.next();
            }
        } else if let Some(inner) = command.find_subcommand(word) {
            command = inner;
            options.extend(inner.get_arguments());
        } else if !word.starts_with('-') {
            places += 1;
        }
    }
    if current.starts_with('-') {
        let long = options.iter().filter(|option| !option.is_hide_set()).filter_map(|option| option.get_long());
        return Wanted::Words(long.map(|long| format!("--{long}")).chain(["--help".to_owned()]).collect());
    }
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set()).map(|inner| inner.get_name().to_owned());
    let inner: Vec<String> = inner.collect();
    if !inner.is_empty() {
        return Wanted::Words(inner);
    }
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let many = |argument: &&&Arg| argument.get_num_args().is_some_and(|count| count.max_values() > 1);
    let place = positionals.get(places).or_else(|| positionals.last().filter(many));
    place.map_or(Wanted::Words(Vec::new()), |argument| value(argument))
}

/// The option that a word is.
fn option<'a>(options: &[&'a Arg], word: &str) -> Option<&'a Arg> {
    let long = word.strip_prefix("--").map(|long| long.split('=').next().unwrap_or(long));
    let short = || word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.chars().next();
    options.iter().copied().find(|option| match long {
        Some(long) => option.get_long() == Some(long),
        None => short().is_some_and(|short| option.get_short() == Some(short)),
    })
}

fn value(argument: &Arg) -> Wanted {
    let words = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    Wanted::Value(name.unwrap_or_else(|| argument.get_id().as_str().to_uppercase()), words)
}

/// What there is of a kind; nothing where nobody can tell.
async fn names(app: &App, kind: &str, current: &str, before: &[String]) -> Vec<String> {
    if kind.contains("KEY") {
        return keys(app, before).await;
    }
    let mut found = Vec::new();
    let remote = current.split_once(':').map_or("", |(remote, _)| remote);
    if kind.contains("REMOTE:") && remote.is_empty() {
        found.extend(app.remotes().all().keys().map(|remote| format!("{remote}:")));
    }
    let collections = [
        ("SNAPSHOT", "instances"),
        ("INSTANCE", "instances"),
        ("SOURCE", "instances"),
        ("IMAGE", "images/aliases"),
        ("ALIAS", "images/aliases"),
        ("PROFILE", "profiles"),
        ("POOL", "storage-pools"),
        ("STORAGE", "storage-pools"),
        ("NETWORK", "networks"),
        ("PROJECT", "projects"),
        ("OPERATION", "operations"),
        ("UUID", "warnings"),
    ];
    let Some((_, collection)) = collections.iter().find(|(word, _)| kind.contains(word)) else { return found };
    let target = Target { remote: remote.to_owned(), name: String::new() };
    let Ok(client) = app.client(&target) else { return found };
    let path = collection.split('/').fold(ApiPath::new("/1.0"), ApiPath::then);
    let listed = tokio::time::timeout(PATIENCE, client.get::<Vec<String>>(path)).await;
    let prefix = if remote.is_empty() { String::new() } else { format!("{remote}:") };
    let last = |url: String| url.split('?').next().and_then(|url| url.rsplit('/').next()).map(|name| format!("{prefix}{name}"));
    found.extend(listed.ok().and_then(Result::ok).unwrap_or_default().into_iter().filter_map(last));
    found
}

/// Keys of what the line before is about.
async fn keys(app: &App, before: &[String]) -> Vec<String> {
    let about = if before.iter().any(|word| word == "storage") { "storage" } else { "instance" };
    let Ok(client) = app.client(&Target::default()) else { return Vec::new() };
    let document = client.get::<serde_json::Value>(ApiPath::new("/1.0/metadata/configuration"));
    let Ok(Ok(document)) = tokio::time::timeout(PATIENCE, document).await else { return Vec::new() };
    let Some(configs) = document["configs"].as_object() else { return Vec::new() };
    let groups = configs.iter().filter(|(entity, _)| entity.starts_with(about)).filter_map(|(_, groups)| groups.as_object());
    let rows = groups.flat_map(|groups| groups.values()).filter_map(|group| group["keys"].as_array()).flatten();
    let refused = |row: &serde_json::Value| row["condition"].as_str().is_some_and(|condition| condition.starts_with("not supported"));
    let keys = rows.filter_map(|row| row.as_object()).flatten().filter(|(_, row)| !refused(row));
    keys.map(|(key, _)| key.trim_end_matches('*').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::grammar::Cli;

    #[track_caller]
    fn check(line: &str, expect: &str) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (current, before) = words.split_last().unwrap();
        let text = match wanted(&Cli::command(), before, current) {
            Wanted::Words(words) => words.into_iter().filter(|word| word.starts_with(current.as_str())).collect::<Vec<_>>().join(" "),
            Wanted::Value(kind, words) => format!("<{kind}> {}", words.join(" ")),
        };
        assert_eq!(text.trim(), expect, "{line}");
    }

    #[test]
    fn lines_are_completed() {
        check("rebu", "rebuild");
        check("image al", "alias");
        check("image alias ", "create delete list rename");
        check("start ", "<[REMOTE:]INSTANCE>");
        check("start web ", "<[REMOTE:]INSTANCE>");
        check("--project ", "<PROJECT>");
        check("launch img web --pro", "--project --profile");
        check("launch img web --profile ", "<PROFILE>");
        check("launch img web -p ", "<PROFILE>");
        check("list --format ", "<FORMAT> table csv json yaml compact");
        check("exec web -- l", "");
    }
}
