//! Running a command to its end, with input, output and a deadline.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::wait;

/// A command about to be run.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    words: String,
    input: Vec<u8>,
    deadline: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The command, for messages.
    pub words: String,
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, as text.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Invocation {
    /// Wraps a prepared command; `words` is what messages call it.
    #[must_use]
    pub fn new(command: Command, words: impl Into<String>) -> Self {
        Self { command, words: words.into(), input: Vec::new(), deadline: wait::patience(60) }
    }

    /// Gives it bytes on standard input; without, standard input is at its end.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets how long it may take; 60 seconds unless said, more on a slow machine.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Gives the command itself, for what this type cannot do.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end, whatever that is.
    ///
    /// # Panics
    /// It cannot be started, or its deadline passes.
    #[track_caller]
    pub fn run(mut self) -> Done {
        let started = Instant::now();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", self.words));
        let stdin = child.stdin.take();
        let input = std::mem::take(&mut self.input);
        let feeder = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let in_time = wait::ended(child.id(), self.deadline);
        if !in_time {
            let _ = child.kill();
        }
        let status = child.wait().unwrap_or_else(|error| panic!("waiting for {}: {error}", self.words));
        let took = started.elapsed();
        // A command that ended early does not want the rest of its input.
        let _ = feeder.join();
        let stdout = stdout.take();
        let stderr = String::from_utf8_lossy(&stderr.take()).into_owned();
        let done = Done { words: self.words, code: code(status), stdout, stderr, took };
        assert!(in_time, "no end within {:?}: {done}", self.deadline);
        done
    }

    /// Runs it, expects success and returns what it wrote to standard output, as text.
    ///
    /// # Panics
    /// It does not end well.
    #[track_caller]
    pub fn ok(self) -> String {
        let done = self.run();
        assert_eq!(done.code, 0, "{done}");
        done.text()
    }

    /// Like [`Invocation::ok`], and expects nothing on standard error: no warning, no hint.
    ///
    /// # Panics
    /// It does not end well, or it says something on standard error.
    #[track_caller]
    pub fn clean(self) -> String {
        let done = self.run();
        assert_eq!(done.code, 0, "{done}");
        assert!(done.stderr.trim().is_empty(), "unexpected words on standard error: {done}");
        done.text()
    }

    /// Runs it, expects failure and returns what it wrote to standard error.
    ///
    /// # Panics
    /// It ends well.
    #[track_caller]
    pub fn fails(self) -> String {
        let done = self.run();
        assert_ne!(done.code, 0, "{done}");
        done.stderr
    }
}

impl Done {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = self.text();
        let shown: String = stdout.chars().take(4000).collect();
        write!(f, "`{}` ended with code {}\nstdout: {}\nstderr: {}", self.words, self.code, shown.trim_end(), self.stderr.trim_end())
    }
}

/// What a pipe brought so far, filled by a thread.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: mpsc::Receiver<()>,
}

impl Collected {
    /// Takes everything, once the pipe is at its end. A process that outlives the command may hold it open: it is not waited for.
    fn take(self) -> Vec<u8> {
        let _ = self.end.recv_timeout(Duration::from_secs(1));
        self.bytes.lock().map(|mut bytes| std::mem::take(&mut *bytes)).unwrap_or_default()
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Collected {
    let (sender, end) = mpsc::channel();
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let filled = Arc::clone(&bytes);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        if let Some(mut pipe) = pipe {
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                filled.lock().expect("no thread panics with the lock").extend_from_slice(&buffer[..count]);
            }
        }
        let _ = sender.send(());
    });
    Collected { bytes, end }
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Invocation {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Invocation::new(command, script)
    }

    #[test]
    fn input_goes_in_and_output_comes_out() {
        let done = sh("cat; echo oops >&2; exit 7").input("hello").run();
        assert_eq!((done.code, done.text().as_str(), done.stderr.as_str()), (7, "hello", "oops\n"));
    }

    #[test]
    fn a_signal_is_an_exit_code() {
        assert_eq!(sh("kill -TERM $$").run().code, 143);
    }

    #[test]
    #[should_panic(expected = "no end within")]
    fn a_deadline_that_passes_fails_the_test() {
        sh("exec tail -f /dev/null").deadline(Duration::from_millis(50)).run();
    }

    #[test]
    fn a_process_that_stays_behind_is_not_waited_for() {
        let done = sh("sleep 5 & echo done").run();
        assert_eq!(done.text(), "done\n");
        assert!(done.took < Duration::from_secs(4), "{:?}", done.took);
    }

    #[test]
    #[should_panic(expected = "unexpected words on standard error")]
    fn a_warning_is_not_clean() {
        sh("echo careful >&2").clean();
    }
}
