//! Nothing that a client knows is left out of the sessions.

use std::fs;
use std::path::Path;

use coffer_testkit::{Daemon, can_run, has_genuine_client};

use super::grammar::Grammar;
use super::session::{self, Client, Step};
use super::{SESSIONS, monitor, text};

/// Words that are refused whole, each with its commands and options; `refused.session` holds what is said to each.
const REFUSED: &[&str] = &["cluster", "network acl", "network forward", "network peer", "network zone"];

/// Options that only make sense in a cluster. Those that the server sees are refused by it, which sessions show where it matters.
const OF_CLUSTERS: &[&str] = &["--target", "--destination-target"];

fn steps() -> Vec<Step> {
    let sessions = SESSIONS.iter().flat_map(|name| session::read(name, &text(name)));
    sessions.chain(session::read("monitor", monitor::LINES)).collect()
}

fn used(grammar: &Grammar, client: Client) -> Vec<String> {
    steps().iter().filter(|step| step.is_for(client)).flat_map(|step| grammar.used(step)).collect()
}

fn refused(entry: &str) -> bool {
    let option_of_clusters = entry.rsplit(' ').next().is_some_and(|last| OF_CLUSTERS.contains(&last));
    option_of_clusters || REFUSED.iter().any(|word| entry == *word || entry.starts_with(&format!("{word} ")) && entry.contains(" -"))
}

#[test]
fn nothing_of_the_genuine_client_is_left_out() {
    if !can_run() || !has_genuine_client() {
        return;
    }
    let daemon = Daemon::start();
    let grammar = Grammar::genuine(&daemon);
    let all = grammar.all();
    for known in ["config device override", "query --wait", "exec -T", "cluster group assign", "--quiet"] {
        assert!(all.contains(known), "{known}: the client's pages were misread: {all:#?}");
    }
    let used = used(&grammar, Client::Genuine);
    let left: Vec<&String> = all.iter().filter(|entry| !refused(entry) && !used.contains(entry)).collect();
    assert!(left.is_empty(), "no session uses {left:#?}");
}

#[test]
fn nothing_of_ours_is_left_out() {
    let grammar = Grammar::ours();
    let used = used(&grammar, Client::Ours);
    let left: Vec<String> = grammar.all().into_iter().filter(|entry| !used.contains(entry) && !entry.ends_with(" --help")).collect();
    // What the genuine client does not know is used by the tests of its own subject.
    let tests = sources(Path::new(env!("CARGO_MANIFEST_DIR")));
    let left: Vec<&String> = left.iter().filter(|entry| !refused(entry) && !used_in(&tests, entry)).collect();
    assert!(left.is_empty(), "no test uses {left:#?}");
}

/// The text of all tests.
fn sources(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).expect("the tests") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a test"));
        }
    }
    text
}

/// Whether a test's text has the words of a command one after the other, or an option of it.
fn used_in(tests: &str, entry: &str) -> bool {
    match entry.split_once(" -") {
        Some((_, option)) => tests.contains(&format!("\"-{option}")) || tests.contains(&format!(" -{option}")),
        None => tests.contains(&format!("\"{}\"", entry.replace(' ', "\", \""))),
    }
}
