//! The words of a Dockerfile: lines that go on, quotes, variables.

use std::collections::BTreeMap;

use super::RecipeError;

/// One instruction, its lines put together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// The line that it begins in, from 1 on.
    pub(super) line: usize,
    /// Its name, in capitals.
    pub(super) name: String,
    /// What follows.
    pub(super) rest: String,
}

/// Cuts a file into instructions.
pub(super) fn instructions(text: &str) -> Result<Vec<Instruction>, RecipeError> {
    let mut instructions = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let trimmed = line.trim();
        if instructions.is_empty() && open.is_none() && is_directive(trimmed, "escape") {
            return Err(RecipeError::at(number, "another escape character than the backslash is not supported"));
        }
        // Comments and empty lines are passed over, even between lines that go on.
        if trimmed.starts_with('#') || (trimmed.is_empty() && open.is_some()) {
            continue;
        }
        let (begun, mut text) = open.take().unwrap_or((number, String::new()));
        match trimmed.strip_suffix('\\') {
            Some(part) => {
                text.push_str(if text.is_empty() { part } else { line.trim_end().strip_suffix('\\').unwrap_or(part) });
                open = Some((begun, text));
            }
            None => {
                text.push_str(if text.is_empty() { trimmed } else { line.trim_end() });
                instructions.extend(instruction(begun, text.trim()));
            }
        }
    }
    if let Some((begun, text)) = open {
        instructions.extend(instruction(begun, text.trim()));
    }
    Ok(instructions)
}

fn is_directive(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix('#').map(str::trim_start).and_then(|rest| rest.strip_prefix(name));
    rest.is_some_and(|rest| rest.trim_start().starts_with('='))
}

fn instruction(line: usize, text: &str) -> Option<Instruction> {
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!name.is_empty()).then(|| Instruction { line, name: name.to_ascii_uppercase(), rest: rest.trim().to_owned() })
}

/// Cuts a text into words, takes quotes off and puts variables in.
pub(super) fn words(text: &str, variables: &BTreeMap<String, String>, line: usize) -> Result<Vec<String>, RecipeError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars().peekable();
    let open = |quote: char| RecipeError::at(line, format!("a {quote} has no end"));
    while let Some(character) = rest.next() {
        match character {
            character if character.is_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(rest.next().unwrap_or('\\')),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or_else(|| open('\''))? {
                        '\'' => break,
                        inside => word.push(inside),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next().ok_or_else(|| open('"'))? {
                        '"' => break,
                        '\\' => match rest.next().ok_or_else(|| open('"'))? {
                            escaped @ ('"' | '\\' | '$') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        '$' => word.push_str(&variable(&mut rest, variables, line)?),
                        inside => word.push(inside),
                    }
                }
            }
            '$' => word.get_or_insert_default().push_str(&variable(&mut rest, variables, line)?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The value of the variable whose name follows.
fn variable(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    variables: &BTreeMap<String, String>,
    line: usize,
) -> Result<String, RecipeError> {
    let part_of_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let mut name = String::new();
    if rest.peek() != Some(&'{') {
        while let Some(character) = rest.next_if(part_of_name) {
            name.push(character);
        }
        return Ok(if name.is_empty() { "$".into() } else { variables.get(&name).cloned().unwrap_or_default() });
    }
    rest.next();
    let mut inside = String::new();
    loop {
        match rest.next().ok_or_else(|| RecipeError::at(line, "a ${ has no end"))? {
            '}' => break,
            '$' => return Err(RecipeError::at(line, "a variable within ${…} is not supported")),
            character => inside.push(character),
        }
    }
    let end = inside.find(|c| !part_of_name(&c)).unwrap_or(inside.len());
    let (name, how) = inside.split_at(end);
    let value = variables.get(name).filter(|value| !value.is_empty());
    match (how.get(..2), value) {
        (None, value) if how.is_empty() => Ok(value.cloned().unwrap_or_default()),
        (Some(":-"), value) => Ok(value.cloned().unwrap_or_else(|| how[2..].to_owned())),
        (Some(":+"), value) => Ok(value.map(|_| how[2..].to_owned()).unwrap_or_default()),
        _ => Err(RecipeError::at(
            line,
            format!("${{{inside}}} is not supported; these are: ${{NAME}}, ${{NAME:-OTHERWISE}}, ${{NAME:+THEN}}"),
        )),
    }
}

/// Reads a list in JSON, the form in which no shell has a part; none if it is none.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on() {
        let text = "# a comment\nfrom a\n\nRUN x \\\n# between\n\n  && y\nCMD z\\\n";
        let got: Vec<String> =
            instructions(text).unwrap().into_iter().map(|one| format!("{} {} [{}]", one.line, one.name, one.rest)).collect();
        assert_eq!(got, ["2 FROM [a]", "4 RUN [x   && y]", "8 CMD [z]"]);
        assert!(instructions("# escape=`\nFROM x").is_err());
    }

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let variables = BTreeMap::from([("A".to_owned(), "1 2".to_owned()), ("E".to_owned(), String::new())]);
        let got = words(text, &variables, 5).unwrap_or_else(|error| vec![error.to_string()]);
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn quotes_and_variables() {
        check("a  'b c' \"d \\\" $A\" x\\ y", &["a", "b c", "d \" 1 2", "x y"]);
        check("$A ${A}x ${B:-other} ${A:+set} '$A' $E", &["1 2", "1 2x", "other", "set", "$A", ""]);
        check("\"x", &["line 5: a \" has no end"]);
        check("${A", &["line 5: a ${ has no end"]);
        check("${A##x}", &["line 5: ${A##x} is not supported; these are: ${NAME}, ${NAME:-OTHERWISE}, ${NAME:+THEN}"]);
    }
}
