//! Counts what `cargo test` ran, from what it wrote.

/// Of what a failed test wrote, so much is repeated at the end of a run.
const LINES_REPEATED: usize = 60;

/// How many tests did what, and what those wrote that failed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Ran to their end and were not wrong; tests that skipped themselves are among them.
    ended_well: usize,
    failed: usize,
    /// Said `skipped: why` and returned.
    skipped_themselves: usize,
    /// Marked as ignored in the source.
    ignored: usize,
    /// Whole test programs that could not run.
    left_out: usize,
    /// Test programs that began and that gave a summary: the difference crashed.
    began: usize,
    summed_up: usize,
    /// What cargo wrote of the tests that failed, to be found at the end of a long log.
    failures: Vec<String>,
    /// Inside the part of a program's output that repeats what its failed tests wrote.
    in_failures: bool,
}

impl Tally {
    /// Takes one line of cargo's output in.
    pub fn line(&mut self, line: &str) {
        self.keep_failure(line);
        let line = line.trim();
        if line.starts_with("skipped: ") {
            self.skipped_themselves += 1;
        } else if line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")) {
            self.began += 1;
        } else if let Some(summary) = line.strip_prefix("test result: ") {
            self.summed_up += 1;
            self.ended_well += before(summary, " passed");
            self.failed += before(summary, " failed");
            self.ignored += before(summary, " ignored");
        }
    }

    /// A program's output has what its failed tests wrote between two lines `failures:`; the second heads their names.
    fn keep_failure(&mut self, line: &str) {
        if line == "failures:" {
            self.in_failures = !self.in_failures;
        } else if line.starts_with("test result: ") || line.starts_with("running ") {
            self.in_failures = false;
        } else if self.in_failures && line.starts_with("---- ") {
            self.failures.push(line.to_owned());
        } else if self.in_failures
            && let Some(failure) = self.failures.last_mut()
            && failure.lines().count() < LINES_REPEATED
        {
            failure.push('\n');
            failure.push_str(line);
        }
    }

    /// Repeats what the failed tests wrote, so that the end of a log tells what to mend.
    pub fn show_failures(&self) {
        for failure in &self.failures {
            println!("{}\n", failure.trim_end());
        }
    }

    /// Takes the end of a test program in: one that failed without saying which test did counts as one.
    pub fn ended(&mut self, well: bool) {
        if !well && self.failed() == 0 {
            self.failed += 1;
        }
    }

    /// Counts and names something that could not run at all.
    pub fn leave_out(&mut self, what: &str, why: &str) {
        println!("skipped {what}: {why}");
        self.left_out += 1;
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.ended_well += other.ended_well;
        self.failed += other.failed;
        self.skipped_themselves += other.skipped_themselves;
        self.ignored += other.ignored;
        self.left_out += other.left_out;
        self.began += other.began;
        self.summed_up += other.summed_up;
        self.failures.extend_from_slice(&other.failures);
    }

    /// How many tests failed; a test program that crashed counts as one.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed + self.began.saturating_sub(self.summed_up)
    }

    /// The one line that ends a run.
    #[must_use]
    pub fn sentence(&self) -> String {
        let passed = self.ended_well.saturating_sub(self.skipped_themselves);
        format!("{passed} passed, {} failed, {} skipped", self.failed(), self.skipped_themselves + self.ignored + self.left_out)
    }
}

/// Reads the number that stands before a word: 3 in `ok. 3 passed; …`.
fn before(text: &str, word: &str) -> usize {
    let Some(end) = text.find(word) else { return 0 };
    text[..end].rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expect: &str) {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.line(line));
        assert_eq!(tally.sentence(), expect);
    }

    #[test]
    fn sums_up_all_programs() {
        check(
            "running 3 tests\ntest a ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             running 2 tests\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n",
            "4 passed, 1 failed, 0 skipped",
        );
    }

    #[test]
    fn a_test_that_skipped_itself_did_not_pass() {
        check(
            "running 2 tests\n---- x stdout ----\nskipped: no root\ntest result: ok. 2 passed; 0 failed; 1 ignored\n",
            "1 passed, 0 failed, 2 skipped",
        );
    }

    #[test]
    fn what_failed_tests_wrote_is_kept() {
        let mut tally = Tally::default();
        let output = "running 2 tests\ntest a ... ok\ntest b ... FAILED\n\nsuccesses:\n\n---- a stdout ----\nfine\n\nfailures:\n\n---- b stdout ----\nnot as expected\n\n\nfailures:\n    b\n\n\
                      test result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        output.lines().for_each(|line| tally.line(line));
        let kept: Vec<_> = tally.failures.iter().map(|failure| failure.trim_end()).collect();
        assert_eq!(kept, ["---- b stdout ----\nnot as expected"]);
    }

    #[test]
    fn a_crashed_program_is_a_failure() {
        check("running 2 tests\n", "0 passed, 1 failed, 0 skipped");
    }
}
