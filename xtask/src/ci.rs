//! What continuous integration runs, in its order: what is quick and often wrong first.

use crate::generate::{self, Mode};
use crate::tally::Tally;
use crate::{Outcome, arrows, bed, cargo, licences, packages, rules, test};

/// One step: what it is called in the log, and what it does; tests add to the count.
type Step = (&'static str, fn(&mut Tally) -> Outcome);

const STEPS: [Step; 9] = [
    ("packages", |_| packages::ensure(&["build"])),
    ("format", |_| cargo::format(true)),
    ("rules", |_| rules::check()),
    ("arrows", |_| arrows::check()),
    ("licences", |_| licences::check()),
    ("lint", |_| cargo::lint()),
    ("generated files", |_| generate::run(Mode::Check)),
    ("tests", tests),
    ("tests in the bed", bed::ci),
];

/// Runs every step, the later ones even if an earlier one failed, so that one run tells everything.
///
/// # Errors
/// Names the steps that failed.
pub fn run() -> Outcome {
    let mut failed = Vec::new();
    let mut tally = Tally::default();
    for (name, step) in STEPS {
        println!("== {name}");
        if let Err(error) = step(&mut tally) {
            println!("== {name}: {error}");
            failed.push(name);
        }
    }
    tally.show_failures();
    println!("{}", tally.sentence());
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn tests(tally: &mut Tally) -> Outcome {
    let ran = test::count(&[]).inspect_err(|_| tally.ended(false))?;
    println!("{}", ran.sentence());
    tally.add(&ran);
    if ran.failed() == 0 { Ok(()) } else { Err("tests failed".into()) }
}
