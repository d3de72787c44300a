//! What continuous integration runs, in its order: what is quick and often wrong first.

use crate::generate::{self, Mode};
use crate::{Outcome, arrows, cargo, licences, packages, rules, test};

/// One step: what it is called in the log, and what it does.
type Step = (&'static str, fn() -> Outcome);

const STEPS: [Step; 8] = [
    ("packages", || packages::ensure(&["build"])),
    ("format", || cargo::format(true)),
    ("rules", rules::check),
    ("arrows", arrows::check),
    ("licences", licences::check),
    ("lint", cargo::lint),
    ("generated files", || generate::run(Mode::Check)),
    ("tests", || test::run(&[])),
];

/// Runs every step, the later ones even if an earlier one failed, so that one run tells everything.
///
/// # Errors
/// Names the steps that failed.
pub fn run() -> Outcome {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        if let Err(error) = step() {
            println!("== {name}: {error}");
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}
