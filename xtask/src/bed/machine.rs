//! The machine: starts the emulator, reads what the suites say, ends it when its time is over.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::guest::Guest;
use super::suite::Suite;
use crate::Outcome;
use crate::run::{line, quiet};
use crate::tally::Tally;

/// The kernel's command line. The mitigations protect nobody here and cost a tenth of the time.
const COMMAND_LINE: &str = "root=/dev/nvme0n1 rw init=/bed/init console=ttyS0 quiet panic=-1 mitigations=off";

/// Boots the guest, which runs the suites, and counts what they did.
///
/// # Errors
/// The emulator could not be started, or the guest ended before the first suite.
pub fn run(guest: &Guest, payload: &Path, suites: &[Suite], deadline: Duration, tally: &mut Tally) -> Outcome {
    let console = guest.root.with_file_name("console.log");
    let emulator = Emulator::start(guest, payload, &console)?;
    let until = Instant::now() + deadline;
    let mut results = Results { tally, suite: None, heard: Vec::new() };
    let ended = loop {
        match emulator.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(text) => {
                println!("{}", text.trim_end_matches('\r'));
                results.line(&text);
            }
            Err(RecvTimeoutError::Disconnected) => break "the guest ended before it",
            Err(RecvTimeoutError::Timeout) => break "the guest's time was over",
        }
    };
    drop(emulator);
    let heard = results.heard.clone();
    if heard.is_empty() {
        return Err(format!("the guest did not come up; its last words are in {}", console.display()));
    }
    for suite in suites.iter().filter(|suite| !heard.iter().any(|name| name == suite.name)) {
        tally.leave_out(suite.name, ended);
    }
    Ok(())
}

/// A running emulator, ended with this value.
struct Emulator {
    child: Child,
    lines: Receiver<String>,
}

impl Emulator {
    fn start(guest: &Guest, payload: &Path, console: &Path) -> Result<Self, String> {
        let mut words: Vec<String> =
            ["--adjustment=5", "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none"].map(str::to_owned).into();
        words.extend(["-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max", "-m", "3072"].map(str::to_owned));
        words.extend(["-kernel".into(), guest.kernel.display().to_string(), "-append".into(), COMMAND_LINE.into()]);
        words.extend(["-serial".into(), format!("file:{}", console.display()), "-serial".into(), "stdio".into()]);
        for (name, image) in [("root", guest.root.as_path()), ("payload", payload)] {
            // What the guest writes goes with it.
            let drive = format!("file={},format=raw,if=none,id={name},cache=unsafe,snapshot=on", image.display());
            words.extend(["-drive".into(), drive, "-device".into(), format!("nvme,drive={name},serial={name}")]);
        }
        let mut command = quiet("nice", words);
        command.stdout(Stdio::piped());
        println!("+ {}", line(&command));
        let mut child = command.spawn().map_err(|error| format!("starting the emulator: {error}"))?;
        let output = child.stdout.take();
        let (sender, lines) = channel();
        // Ends with the emulator, whose end of the pipe it reads.
        std::thread::spawn(move || {
            for line in output.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It has ended already, or its time is over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds up what the suites say, one after the other.
struct Results<'a> {
    tally: &'a mut Tally,
    /// The suite that runs now, and its count so far.
    suite: Option<(String, Tally)>,
    /// The suites that came to their end.
    heard: Vec<String>,
}

impl Results<'_> {
    fn line(&mut self, text: &str) {
        let text = text.trim_end_matches('\r');
        let Some(words) = text.strip_prefix("bed: ") else {
            if let Some((_, tally)) = &mut self.suite {
                tally.line(text);
            }
            return;
        };
        match (words.split(' ').collect::<Vec<_>>().as_slice(), self.suite.take()) {
            (["begin", name], _) => self.suite = Some(((*name).to_owned(), Tally::default())),
            (["end", name, status], Some((begun, mut tally))) if begun == *name => {
                tally.ended(*status == "0");
                self.tally.add(&tally);
                self.heard.push(begun);
            }
            (_, suite) => self.suite = suite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expect: &str, heard: &[&str]) {
        let mut tally = Tally::default();
        let mut results = Results { tally: &mut tally, suite: None, heard: Vec::new() };
        output.lines().for_each(|line| results.line(line));
        assert_eq!(results.heard, heard);
        assert_eq!(tally.sentence(), expect);
    }

    #[test]
    fn suites_count_when_they_have_ended() {
        let two = "bed: begin a\nrunning 2 tests\ntest x ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored\nbed: end a 0\nbed: begin b\nrunning 1 test\n";
        check(two, "2 passed, 0 failed, 0 skipped", &["a"]);
    }

    #[test]
    fn a_suite_that_ends_badly_without_a_failed_test_is_one() {
        check("bed: begin a\nbed: end a 101\n", "0 passed, 1 failed, 0 skipped", &["a"]);
    }
}
