//! Rules of the house that a lint of the compiler cannot hold: where `unsafe` may stand, who may start programs, that each
//! dependency has its reason.

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::run::top;

/// A word that may stand only in some places.
struct Rule {
    /// How the code reads that is meant.
    word: &'static str,
    /// The files or folders where it may stand, from the top of the repository.
    allowed: &'static [&'static str],
    /// Whether it holds for tests too.
    tests_too: bool,
    /// Why.
    why: &'static str,
}

const RULES: [Rule; 4] = [
    Rule { word: "unsafe {", allowed: &["crates/sys/src"], tests_too: true, why: "unsafe stands in crates/sys only" },
    Rule { word: "allow(unsafe_code)", allowed: &["crates/sys/src"], tests_too: true, why: "unsafe stands in crates/sys only" },
    Rule {
        word: "Command::new(",
        allowed: &[
            "crates/base/src/run.rs",
            // The daemon's own programs, by absolute path and with descriptors to inherit.
            "crates/runtime/src",
            "crates/image/src",
            "crates/file-server/src",
            // The user's editor, named by the user.
            "crates/cli/src",
            "crates/test-images",
            "crates/testkit",
            "bench",
            "tests",
            "xtask",
        ],
        tests_too: false,
        why: "programs are started through coffer_base::run::Program",
    },
    Rule { word: "thread::sleep(", allowed: &[], tests_too: true, why: "nothing sleeps: wait for an event with a deadline" },
];

/// Checks every source file.
///
/// # Errors
/// Lists the lines that break a rule.
pub fn check() -> Outcome {
    let top = top();
    let mut wrong = Vec::new();
    for file in sources(&top)? {
        let name = file.strip_prefix(&top).unwrap_or(&file).to_path_buf();
        let text = std::fs::read_to_string(&file).map_err(|error| format!("reading {}: {error}", file.display()))?;
        wrong.extend(violations(&name, &text));
    }
    let read = |name: &str| std::fs::read_to_string(top.join(name)).map_err(|error| format!("reading {name}: {error}"));
    wrong.extend(undocumented(&read("Cargo.toml")?, &read("docs/dependencies.md")?));
    if wrong.is_empty() { Ok(()) } else { Err(format!("rules of the house are broken:\n  {}", wrong.join("\n  "))) }
}

fn violations(name: &Path, text: &str) -> Vec<String> {
    // This file names the words themselves.
    if name == Path::new("xtask/src/rules.rs") {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    // A room's tests stand in folders or files called so, or at the end of the file below this line.
    let is_test = name.iter().any(|part| part == "tests" || part == "tests.rs");
    let product_lines = if is_test { 0 } else { text.lines().take_while(|line| *line != "#[cfg(test)]").count() };
    for rule in RULES.iter().filter(|rule| !rule.allowed.iter().any(|place| name.starts_with(place))) {
        let lines = if rule.tests_too { usize::MAX } else { product_lines };
        for (number, line) in text.lines().enumerate().take(lines) {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(rule.word) {
                wrong.push(format!("{}:{}: {}", name.display(), number + 1, rule.why));
            }
        }
    }
    wrong
}

/// Names the dependencies of the workspace that the page about them does not hold.
fn undocumented(manifest: &str, page: &str) -> Vec<String> {
    let section = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let names = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = ")).map(|(name, _)| name);
    let foreign = names.filter(|name| !name.starts_with("coffer-") && !name.starts_with('#'));
    foreign
        .filter(|name| !page.contains(&format!("`{name}`")))
        .map(|name| format!("docs/dependencies.md says nothing about {name}"))
        .collect()
}

/// Finds the Rust files of the repository.
fn sources(top: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["crates", "bins", "xtask", "bench", "tests"].iter().map(|name| top.join(name)).collect();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("reading {}: {error}", folder.display()))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("reading {}: {error}", folder.display()))?;
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_named() {
        let manifest =
            "[workspace.dependencies]\ncoffer-base = { path = \"x\" }\nserde = \"1\"\nnew = \"1\"\n\n[profile.dev]\nopt-level = 1\n";
        assert_eq!(undocumented(manifest, "| `serde` | the wire |"), ["docs/dependencies.md says nothing about new"]);
    }

    #[track_caller]
    fn check(name: &str, text: &str, expect: usize) {
        assert_eq!(violations(Path::new(name), text).len(), expect, "{name}: {text}");
    }

    #[test]
    fn words_may_stand_only_in_their_places() {
        check("crates/sys/src/mount.rs", "unsafe { x() }", 0);
        check("crates/storage/src/lib.rs", "unsafe { x() }", 1);
        check("crates/storage/src/lib.rs", "// unsafe { x() }", 0);
        check("crates/storage/src/lib.rs", "Command::new(\"rm\")", 1);
        check("crates/base/src/run.rs", "Command::new(\"rm\")", 0);
        check("tests/main.rs", "std::thread::sleep(second)", 1);
        check("crates/storage/tests/pools.rs", "Command::new(\"rm\")", 0);
        check("crates/storage/src/lib.rs", "fn x() {}\n#[cfg(test)]\nmod tests { Command::new(\"rm\") }", 0);
    }
}
