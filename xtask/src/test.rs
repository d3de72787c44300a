//! `cargo xtask test`: from a fresh checkout to every test run.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::run::{build_directory, command, installed, is_root, line, show};
use crate::tally::Tally;
use crate::{Outcome, images, packages, python};

/// Failure points are compiled in, so that tests can cut the daemon anywhere; they do nothing unless asked.
const FEATURES: [&str; 2] = ["--features", "cofferd/fault"];

/// Runs tests and says how many did what; see [`count`].
///
/// # Errors
/// Anything of that failed.
pub fn run(words: &[&str]) -> Outcome {
    let tally = count(words)?;
    tally.show_failures();
    println!("{}", tally.sentence());
    if tally.failed() == 0 { Ok(()) } else { Err("tests failed".into()) }
}

/// Installs what the tests need, builds everything, makes the images, runs the tests.
///
/// With a filter only tests whose name holds it run; `--fast` leaves the end-to-end tests out.
///
/// # Errors
/// Anything before the tests failed.
pub fn count(words: &[&str]) -> Result<Tally, String> {
    let fast = words.contains(&"--fast");
    let filter: Vec<_> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    packages::ensure(if fast { &["build"] } else { &["build", "run", "test"] })?;
    if !fast {
        // The daemon, the command and their two helpers must lie beside each other before a test starts them.
        show("cargo", ["build", "--workspace", "--bins"].into_iter().chain(FEATURES))?;
        make_images();
        if let Err(error) = python::ensure() {
            println!("{error}\nTests that need packages of PyPI will be skipped.");
        }
    }
    tests(fast, &filter)
}

/// Makes the Debian images if that can be done here; tests that want one that is missing skip themselves and say so.
fn make_images() {
    if !is_root() {
        println!("Not root: test images are not made, and tests that need root will be skipped.");
        return;
    }
    if !installed("mmdebstrap") {
        println!("No mmdebstrap: the Debian images are not made, and tests that need them will be skipped.");
    }
    for name in ["busybox", "bookworm", "trixie", "cloud", "nesting"] {
        if let Err(error) = images::make(&[name]) {
            println!("{error}\nTests that need the image {name} will be skipped.");
        }
    }
}

fn tests(fast: bool, filter: &[&str]) -> Result<Tally, String> {
    let mut args = vec!["test", "--workspace", "--no-fail-fast"];
    args.extend(FEATURES);
    if fast {
        args.extend(["--exclude", "coffer-tests"]);
    }
    args.push("--");
    args.extend(filter);
    // Tests that could not run say so on standard output, which the test program hides unless told.
    args.push("--show-output");
    let mut command = command("cargo", &args);
    command
        .env("CARGO_TERM_COLOR", "never")
        .env("COFFER_TEST_IMAGES", build_directory()?.join("images"))
        .env("COFFER_TEST_PYTHON", python::interpreter()?)
        .stdout(Stdio::piped());
    println!("+ {}", line(&command));
    let mut child = command.spawn().map_err(|error| format!("starting cargo: {error}"))?;
    let mut tally = Tally::default();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line.map_err(|error| format!("reading cargo's output: {error}"))?;
        println!("{line}");
        tally.line(&line);
    }
    let status = child.wait().map_err(|error| format!("waiting for cargo: {error}"))?;
    if !status.success() && tally.failed() == 0 {
        return Err(format!("cargo test failed: {status}"));
    }
    Ok(tally)
}
