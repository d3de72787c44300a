//! The licence and the source of everything we link.

use crate::Outcome;
use crate::cargo::{Package, packages};

/// Licences that an Apache-2.0 program may link without obligations beyond naming them.
const ALLOWED: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks every package that cargo would link, for any target.
///
/// # Errors
/// Lists the packages whose licence or source is not allowed.
pub fn check() -> Outcome {
    let wrong: Vec<_> = packages(true)?.iter().flat_map(complaints).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("licences or sources that are not allowed:\n  {}", wrong.join("\n  "))) }
}

fn complaints(package: &Package) -> Vec<String> {
    let mut wrong = Vec::new();
    let who = format!("{} {}", package.name, package.version);
    match package.licence.as_deref() {
        None => wrong.push(format!("{who}: names no licence")),
        Some(expression) => match allowed(expression) {
            Ok(true) => {}
            Ok(false) => wrong.push(format!("{who}: licence {expression}")),
            Err(why) => wrong.push(format!("{who}: licence {expression:?} cannot be read: {why}")),
        },
    }
    match package.source.as_deref() {
        None | Some(REGISTRY) => {}
        Some(other) => wrong.push(format!("{who}: comes from {other}, not from crates.io")),
    }
    wrong
}

/// Evaluates an SPDX expression: is there a choice under which every licence is allowed?
fn allowed(expression: &str) -> Result<bool, String> {
    // Cargo's old way to write OR.
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = text.split_whitespace().rev().collect();
    let answer = either(&mut words)?;
    if words.is_empty() { Ok(answer) } else { Err(format!("unexpected {}", words.join(" "))) }
}

fn either(words: &mut Vec<&str>) -> Result<bool, String> {
    let mut answer = both(words)?;
    while words.last() == Some(&"OR") {
        words.pop();
        answer |= both(words)?;
    }
    Ok(answer)
}

fn both(words: &mut Vec<&str>) -> Result<bool, String> {
    let mut answer = one(words)?;
    while words.last() == Some(&"AND") {
        words.pop();
        answer &= one(words)?;
    }
    Ok(answer)
}

fn one(words: &mut Vec<&str>) -> Result<bool, String> {
    match words.pop() {
        None => Err("it ends too early".into()),
        Some("(") => {
            let answer = either(words)?;
            if words.pop() == Some(")") { Ok(answer) } else { Err("a bracket stays open".into()) }
        }
        Some(word @ (")" | "OR" | "AND" | "WITH")) => Err(format!("unexpected {word}")),
        Some(licence) => {
            let mut name = licence.to_owned();
            if words.last() == Some(&"WITH") {
                words.pop();
                name = format!("{licence} WITH {}", words.pop().ok_or("it ends after WITH")?);
            }
            Ok(ALLOWED.contains(&name.as_str()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, expect: Result<bool, ()>) {
        assert_eq!(allowed(expression).map_err(drop), expect, "{expression}");
    }

    #[test]
    fn a_choice_needs_one_good_side_a_sum_needs_both() {
        check("MIT", Ok(true));
        check("MIT OR GPL-3.0-only", Ok(true));
        check("MIT AND GPL-3.0-only", Ok(false));
        check("MIT/Apache-2.0", Ok(true));
        check("GPL-2.0-only OR (MIT AND Unicode-3.0)", Ok(true));
        check("(MIT OR Apache-2.0) AND LGPL-2.1-only", Ok(false));
        check("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", Ok(true));
        check("GPL-2.0-only WITH Classpath-exception-2.0", Ok(false));
    }

    #[test]
    fn nonsense_is_no_licence() {
        check("", Err(()));
        check("MIT OR", Err(()));
        check("(MIT", Err(()));
        check("MIT MIT", Err(()));
    }
}
