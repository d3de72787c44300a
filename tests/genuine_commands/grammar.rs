//! The commands and options that the two clients know, as they tell themselves, and those that sessions use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use coffer_testkit::Daemon;

use super::session::Step;

/// Other names of commands; the parent's words stay.
const OTHER_NAMES: &[(&str, &[&str])] = &[
    ("ls", &["list"]),
    ("rm", &["delete", "remove"]),
    ("remove", &["delete"]),
    ("delete", &["remove"]),
    ("cancel", &["delete"]),
    ("mv", &["move", "rename"]),
    ("cp", &["copy"]),
    ("add", &["create"]),
    ("create", &["add"]),
    ("apply", &["assign"]),
    ("ack", &["acknowledge"]),
    ("freeze", &["pause"]),
    ("set-default", &["switch"]),
];

/// Commands by their words, and the options of each as they are typed, with their hyphens.
#[derive(Debug, Default)]
pub struct Grammar(BTreeMap<String, BTreeSet<String>>);

impl Grammar {
    /// What the genuine client knows: from its manual pages, and from the help of the commands that it hides there.
    pub fn genuine(daemon: &Daemon) -> Self {
        let directory = daemon.scratch().join("manual");
        fs::create_dir(&directory).expect("a directory for the pages");
        daemon.lxc(["manpage", &directory.display().to_string()]).clean();
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&directory).expect("the pages") {
            let path = entry.expect("a page").path();
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").replace('.', " ");
            let text = fs::read_to_string(&path).expect("a page").replace("\\fB", "").replace("\\fP", "").replace("\\-", "-");
            let own = text.split_once(".SH OPTIONS\n").map_or("", |(_, rest)| rest);
            let own = own.split(".SH ").next().unwrap_or_default();
            all.insert(name.strip_prefix("lxc").unwrap_or(&name).trim().to_owned(), options(own));
        }
        let help = daemon.lxc(["--help", "--all"]).clean();
        let listed = help.split_once("Available Commands:\n").map_or("", |(_, rest)| rest).split("\n\n").next().unwrap_or_default();
        for command in listed.lines().filter_map(|line| line.split_whitespace().next()).filter(|command| *command != "help") {
            if !all.contains_key(command) {
                let help = daemon.lxc([command, "--help"]).clean();
                let own = help.split_once("\nFlags:\n").map_or("", |(_, rest)| rest);
                all.insert(command.to_owned(), options(own.split("\n\n").next().unwrap_or_default()));
            }
        }
        Self(all).without_groups()
    }

    /// What our own client knows, from its page of the manual, which is generated of its grammar.
    pub fn ours() -> Self {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/manual/cli.md")).expect("the page of the manual");
        let mut all = BTreeMap::new();
        for section in page.split("\n## coffer").skip(1) {
            let (name, text) = section.split_once('\n').expect("a heading");
            let own = text.split_once("\nOptions:\n").map_or("", |(_, rest)| rest);
            all.insert(name.trim().to_owned(), options(own.split("\nGlobal options:").next().unwrap_or_default()));
        }
        Self(all).without_groups()
    }

    /// Options of a group are none of its commands'. The empty name is the client itself, and what it knows everywhere.
    fn without_groups(self) -> Self {
        let names: Vec<String> = self.0.keys().cloned().collect();
        let group = |name: &str| !name.is_empty() && names.iter().any(|other| other.starts_with(&format!("{name} ")));
        Self(self.0.into_iter().filter(|(name, _)| !group(name)).collect())
    }

    /// Commands, and options with their command's words before them.
    pub fn all(&self) -> BTreeSet<String> {
        let options =
            self.0.iter().flat_map(|(name, options)| options.iter().map(move |option| format!("{name} {option}").trim().to_owned()));
        self.0.keys().filter(|name| !name.is_empty()).cloned().chain(options).collect()
    }

    /// What of this grammar a line uses; nothing if it is none of its commands.
    pub fn used(&self, step: &Step) -> Vec<String> {
        let own = step.words.split(|word| word == "--").next().unwrap_or_default();
        let mut used: Vec<String> = own.iter().flat_map(|word| self.options_in("", word)).collect();
        let plain: Vec<&str> = command_words(own).collect();
        let command = (1..=plain.len().min(5)).rev().find_map(|length| self.command(&plain[..length]));
        if let Some(command) = command {
            used.extend(own.iter().flat_map(|word| self.options_in(&command, word)));
            used.push(command);
        }
        used
    }

    fn command(&self, words: &[&str]) -> Option<String> {
        let (last, parents) = words.split_last()?;
        let others = OTHER_NAMES.iter().find(|(name, _)| name == last).map_or(&[][..], |(_, others)| others);
        let named = std::iter::once(last).chain(others).map(|name| [parents, &[*name]].concat().join(" "));
        named.into_iter().find(|name| self.0.contains_key(name))
    }

    /// The options in a word: `--long`, `--long=value`, `-s`, `-abc` where each letter is one.
    fn options_in(&self, command: &str, word: &str) -> Vec<String> {
        let known = self.0.get(command);
        let known = |option: &str| known.is_some_and(|options| options.contains(option));
        let name = word.split('=').next().unwrap_or_default();
        let letters: Vec<String> = match word.strip_prefix('-') {
            Some(rest) if !rest.starts_with('-') => rest.chars().map(|letter| format!("-{letter}")).collect(),
            _ => Vec::new(),
        };
        let found = if known(name) {
            vec![name.to_owned()]
        } else if letters.iter().all(|letter| known(letter)) {
            letters
        } else {
            // `-cns`: the value stands right behind the letter.
            letters.into_iter().take(1).filter(|letter| known(letter)).collect()
        };
        found.into_iter().map(|option| format!("{command} {option}").trim().to_owned()).collect()
    }
}

/// The words before the first option, where that is none of the whole client's.
fn command_words(words: &[String]) -> impl Iterator<Item = &str> {
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next_if(|word| word.starts_with('-')) {
        if word == "--project" {
            words.next();
        }
    }
    words.take_while(|word| !word.starts_with('-'))
}

/// The options that a page lists: `-f, --format` or `--format` at the start of a line.
fn options(text: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for line in text.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        let (first, rest) = line.split_once(", ").unwrap_or((line, ""));
        let second = if first.len() == 2 { rest } else { "" };
        for option in [first, second] {
            let name: String = option.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect();
            if name.len() > 1 {
                options.insert(name);
            }
        }
    }
    options
}

#[test]
fn options_are_read_off_a_page() {
    let text = "-f, --format[=x]\n\tFormat\n  --all   All of them\n-q\nno -option here\n";
    assert_eq!(options(text), ["--all", "--format", "-f", "-q"].map(str::to_owned).into());
}
