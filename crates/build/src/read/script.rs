//! Scripts as commands: by the shell, or by the program that their first line names.

use super::RecipeError;

/// Programs that take a script as an argument, and the option that says so.
const INTERPRETERS: [(&str, &str); 9] = [
    ("sh", "-c"),
    ("ash", "-c"),
    ("dash", "-c"),
    ("bash", "-c"),
    ("zsh", "-c"),
    ("python", "-c"),
    ("python3", "-c"),
    ("perl", "-e"),
    ("ruby", "-e"),
];

/// The command that runs a script. Without a first line that names a program it is the shell's, which ends at the first failure.
pub(super) fn command(text: &str, line: usize) -> Result<Vec<String>, RecipeError> {
    let Some(rest) = text.trim_start().strip_prefix("#!") else {
        return Ok(["/bin/sh", "-ec", text].map(str::to_owned).to_vec());
    };
    let (first, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let mut words: Vec<String> = first.split_ascii_whitespace().map(str::to_owned).collect();
    if words.first().is_some_and(|program| program.ends_with("/env")) {
        words.remove(0);
    }
    let program = words.first().map(|program| program.rsplit('/').next().unwrap_or_default().to_owned()).unwrap_or_default();
    let option = INTERPRETERS.iter().find(|(name, _)| *name == program).map(|(_, option)| *option);
    let Some(option) = option else {
        let known: Vec<&str> = INTERPRETERS.iter().map(|(name, _)| *name).collect();
        return Err(RecipeError::at(line, format!("a script for '{program}' is not supported; these are: {}", known.join(", "))));
    };
    words.extend([option.to_owned(), body.to_owned()]);
    Ok(words)
}

/// The first line of a script that does something, for a title.
pub(super) fn title(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("set -"));
    let first = lines.clone().next().unwrap_or("an empty script");
    let more = if lines.count() > 1 { " …" } else { "" };
    let short: String = first.chars().take(60).collect();
    if short.len() < first.len() { format!("{short} …") } else { format!("{short}{more}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let got = command(text, 7).unwrap_or_else(|error| vec![error.to_string()]);
        assert_eq!(got, expect);
    }

    #[test]
    fn first_lines_name_programs() {
        check("echo a\nfalse", &["/bin/sh", "-ec", "echo a\nfalse"]);
        check("#!/bin/sh -eux\nls\n", &["/bin/sh", "-eux", "-c", "ls\n"]);
        check("#!/usr/bin/env python3\nprint(1)", &["python3", "-c", "print(1)"]);
        check(
            "#!/usr/bin/awk -f\n{}",
            &["line 7: a script for 'awk' is not supported; these are: sh, ash, dash, bash, zsh, python, python3, perl, ruby"],
        );
    }

    #[test]
    fn titles_are_one_line() {
        assert_eq!(title("#!/bin/sh\nset -eux\n\napt-get clean\nls"), "apt-get clean …");
        assert_eq!(title("true"), "true");
    }
}
