//! Files of the repository that are written by the product itself: the OpenAPI description and the manual's reference pages.
//!
//! Each has one row in [`FILES`], with the function that knows the file's text.

use std::fs;

use crate::Outcome;
use crate::run::{build_directory, capture, show, top};

/// What to do with the generated text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write it into the repository.
    Write,
    /// Compare it with the repository.
    Check,
}

/// A generated file.
struct File {
    /// Where it lies, from the top of the repository.
    path: &'static str,
    /// What writes its text.
    text: fn() -> Result<String, String>,
}

const FILES: [File; 3] = [
    File { path: "docs/api/openapi.json", text: || reference("openapi") },
    File { path: "docs/manual/config.md", text: || reference("config") },
    File { path: "docs/manual/cli.md", text: command_line },
];

/// Generates every file.
///
/// # Errors
/// A program that fails; with [`Mode::Check`] also a file that is not as it would be written now.
pub fn run(mode: Mode) -> Outcome {
    let mut stale = Vec::new();
    for file in &FILES {
        let text = (file.text)()?;
        let path = top().join(file.path);
        let current = fs::read_to_string(&path).unwrap_or_default();
        if current == text {
            continue;
        }
        match mode {
            Mode::Check => stale.push(file.path),
            Mode::Write => {
                let folder = path.parent().ok_or("a generated file without a folder")?;
                fs::create_dir_all(folder).map_err(|error| format!("creating {}: {error}", folder.display()))?;
                fs::write(&path, text).map_err(|error| format!("writing {}: {error}", path.display()))?;
                println!("wrote {}", file.path);
            }
        }
    }
    if stale.is_empty() { Ok(()) } else { Err(format!("not up to date, run `cargo xtask gen`: {}", stale.join(", "))) }
}

/// Asks the program that reads the product's own tables.
fn reference(page: &str) -> Result<String, String> {
    capture("cargo", ["run", "--quiet", "--package", "coffer-reference", "--", page])
}

/// Writes the manual's page of commands out of the command's own help, command by command.
fn command_line() -> Result<String, String> {
    show("cargo", ["build", "--quiet", "--package", "coffer"])?;
    let program = build_directory()?.join("debug/coffer").display().to_string();
    let mut page = "# Commands\n\nThis page is written by `cargo xtask gen` from the command's own help.\n".to_owned();
    let mut waiting = vec![Vec::new()];
    while let Some(words) = waiting.pop() {
        let help = capture(&program, words.iter().map(String::as_str).chain(["--help"]))?;
        let title = ["coffer".to_owned()].into_iter().chain(words.iter().cloned()).collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = help.lines().map(str::trim_end).collect();
        page.push_str(&format!("\n## {title}\n\n```text\n{}\n```\n", lines.join("\n").trim()));
        // Taken from the end: the last one pushed comes first.
        let below = commands(&help).into_iter().rev();
        waiting.extend(below.map(|word| words.iter().cloned().chain([word]).collect()));
    }
    Ok(page)
}

/// Reads the names of the commands below one out of its help.
fn commands(help: &str) -> Vec<String> {
    let section = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let rows = section.take_while(|line| !line.trim().is_empty());
    // A continued description is indented further than a name.
    let names = rows.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|row| row.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_commands_of_a_help_text() {
        let help = "About\n\nUsage: coffer <COMMAND>\n\nCommands:\n  list    Shows\n          more about it\n  launch  Makes\n  help    Print\n\nOptions:\n  -q\n";
        assert_eq!(commands(help), ["list", "launch"]);
        assert!(commands("Usage: coffer list\n").is_empty());
    }
}
