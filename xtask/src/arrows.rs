//! Holds the dependencies between our crates against `xtask/arrows.txt`.

use std::collections::{BTreeMap, BTreeSet};

use crate::Outcome;
use crate::cargo::{Package, linked, packages};
use crate::run::top;

/// The table: who may use whom, and what a program never links.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    may: BTreeMap<String, BTreeSet<String>>,
    never: BTreeMap<String, Vec<String>>,
}

/// Rooms that any room's tests may use.
const FOR_TESTS: [&str; 2] = ["testkit", "test-images"];

/// Checks every arrow.
///
/// # Errors
/// Lists the arrows that the table does not allow, and the programs that link what they must not.
pub fn check() -> Outcome {
    let text = std::fs::read_to_string(top().join("xtask/arrows.txt")).map_err(|error| format!("reading xtask/arrows.txt: {error}"))?;
    let table = parse(&text)?;
    let mut wrong = wrong_arrows(&table, &packages(false)?);
    for (program, never) in &table.never {
        let linked = linked(program)?;
        wrong.extend(never.iter().filter(|name| linked.contains(name)).map(|name| format!("{program} links {name}")));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("the table xtask/arrows.txt does not allow:\n  {}", wrong.join("\n  ")))
}

fn wrong_arrows(table: &Table, packages: &[Package]) -> Vec<String> {
    let ours: BTreeSet<_> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let room = room(&package.name);
        let Some(allowed) = table.may.get(room) else {
            wrong.push(format!("{room} is not in the table"));
            continue;
        };
        for need in package.needs.iter().filter(|need| ours.contains(need.name.as_str())) {
            let target = self::room(&need.name);
            let fine = allowed.contains(target) || (need.dev && FOR_TESTS.contains(&target));
            if !fine {
                wrong.push(format!("{room} -> {target}{}", if need.dev { " (dev)" } else { "" }));
            }
        }
    }
    wrong
}

/// A package's name in the table. The programs keep theirs, because `coffer-monitor` is no room called `monitor`.
fn room(package: &str) -> &str {
    match package {
        "coffer-monitor" | "coffer-unpack" | "coffer-files" => package,
        _ => package.strip_prefix("coffer-").unwrap_or(package),
    }
}

fn parse(text: &str) -> Result<Table, String> {
    let mut table = Table::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if let Some((room, rooms)) = line.split_once("->") {
            table.may.insert(room.trim().to_owned(), words(rooms).into_iter().collect());
        } else if let Some((program, names)) = line.split_once(" never ") {
            table.never.insert(program.trim().to_owned(), words(names));
        } else {
            return Err(format!("xtask/arrows.txt: cannot read {line:?}"));
        }
    }
    acyclic(&table)?;
    Ok(table)
}

/// Refuses a table that allows a circle or points to a room it does not hold: rooms are settled once all they use is.
fn acyclic(table: &Table) -> Outcome {
    let mut settled = BTreeSet::new();
    loop {
        let ready = |rooms: &BTreeSet<String>| rooms.iter().all(|room| settled.contains(room));
        let next: Vec<_> =
            table.may.iter().filter(|(room, rooms)| !settled.contains(*room) && ready(rooms)).map(|(room, _)| room.clone()).collect();
        if next.is_empty() {
            break;
        }
        settled.extend(next);
    }
    let stuck: Vec<_> = table.may.keys().filter(|room| !settled.contains(*room)).map(String::as_str).collect();
    if stuck.is_empty() { Ok(()) } else { Err(format!("xtask/arrows.txt: a circle, or an unknown room, at {}", stuck.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Need;

    fn package(name: &str, needs: &[(&str, bool)]) -> Package {
        let needs = needs.iter().map(|&(name, dev)| Need { name: name.into(), dev }).collect();
        Package { name: name.into(), version: "1".into(), licence: None, source: None, needs }
    }

    #[track_caller]
    fn check(table: &str, packages: &[Package], expect: &[&str]) {
        assert_eq!(wrong_arrows(&parse(table).unwrap(), packages), expect);
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_named() {
        let packages = [package("coffer-base", &[]), package("coffer-sys", &[("coffer-base", false), ("libc", false)])];
        check("base ->\nsys ->\n", &packages, &["sys -> base"]);
        check("base ->\nsys -> base\n", &packages, &[]);
    }

    #[test]
    fn tests_may_use_the_testkit() {
        let packages = [package("coffer-testkit", &[]), package("coffer-cli", &[("coffer-testkit", true)])];
        check("testkit ->\ncli ->\n", &packages, &[]);
    }

    #[test]
    fn a_crate_outside_the_table_is_named() {
        check("base ->\n", &[package("coffer-new", &[])], &["new is not in the table"]);
    }

    #[test]
    fn a_circle_is_refused() {
        assert!(parse("a -> b\nb -> a\n").unwrap_err().contains("a, b"));
    }
}
