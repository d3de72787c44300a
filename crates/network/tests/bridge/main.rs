//! Bridges for real: every case runs as root in network, mount and process namespaces of its own, which this program makes by
//! running itself again; what a case leaves behind ends with them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the whole program is a test")]

#[path = "cases.rs"]
mod cases;
#[path = "frames.rs"]
mod frames;
#[path = "lab.rs"]
mod lab;
#[path = "spoof.rs"]
mod spoof;

use std::process::{Command, ExitCode, Stdio};

/// Names the case to run, in the process that runs it.
const CASE: &str = "COFFER_NETWORK_CASE";

/// A case's name and what it does.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("frames-send") => return frames::send(&arguments[1..]),
        Some("frames-watch") => return frames::watch(&arguments[1..]),
        Some(_) | None => {}
    }
    let cases: Vec<Case> = [cases::CASES, spoof::CASES].concat();
    if let Ok(name) = std::env::var(CASE) {
        let (_, case) = cases.iter().find(|(case, _)| *case == name).expect("the case that was asked for exists");
        lab::set_up();
        case();
        return ExitCode::SUCCESS;
    }
    if let Some(why) = lab::missing() {
        println!("skipped: {why}");
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let listed = arguments.iter().any(|argument| argument == "--list");
    let chosen = cases.iter().filter(|(name, _)| filter.map_or(*name != "measure", |filter| name.contains(filter.as_str())));
    let chosen: Vec<&str> = chosen.map(|(name, _)| *name).collect();
    if listed {
        chosen.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("running {} tests", chosen.len());
    let failed = chosen.iter().filter(|name| !run(name)).count();
    // In the words of the standard test harness, for whoever counts.
    let (word, passed) = (if failed == 0 { "ok" } else { "FAILED" }, chosen.len() - failed);
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {} filtered out", cases.len() - chosen.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(name: &str) -> bool {
    let own = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(own)
        .env(CASE, name)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let fine = output.status.success();
    println!("test {name} ... {}", if fine { "ok" } else { "FAILED" });
    if !fine || !output.stdout.is_empty() {
        print!("{}", String::from_utf8_lossy(&output.stdout));
    }
    if !fine {
        print!("{}", String::from_utf8_lossy(&output.stderr));
    }
    fine
}
