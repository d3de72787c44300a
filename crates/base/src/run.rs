//! Running one of the distribution's programs: the only place of the product that starts them.
//!
//! Always an argument vector, never a shell; a clean environment; a deadline; captured output.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};

/// How much of a program's output is kept; the rest is read and dropped.
const OUTPUT_LIMIT: usize = 16 << 20;

/// A program to run, with its arguments.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
    input: Vec<u8>,
    input_file: Option<std::fs::File>,
    output_file: Option<std::fs::File>,
    deadline: Duration,
}

/// What a program that succeeded wrote.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output, as text; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program is not installed.
    #[error("program {program} is not installed")]
    Missing {
        /// The program's name.
        program: String,
    },
    /// The program could not be started or talked to.
    #[error("starting {program}")]
    Start {
        /// The program's name.
        program: String,
        /// What the kernel said.
        #[source]
        cause: std::io::Error,
    },
    /// The program ended with something else than success.
    #[error("{program} failed ({status}): {stderr}")]
    Failed {
        /// The program's name.
        program: String,
        /// Its exit status or signal, in words.
        status: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// The program did not end in time and was killed.
    #[error("{program} did not end within {} seconds and was killed", deadline.as_secs())]
    Deadline {
        /// The program's name.
        program: String,
        /// How long it was given.
        deadline: Duration,
    },
}

impl Program {
    /// Names the program. It is looked up in the standard system directories only.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut command = Command::new(locate(name));
        command.env_clear().env("PATH", SEARCH.join(":")).env("LC_ALL", "C.UTF-8").current_dir("/");
        Self { command, name: name.to_owned(), input: Vec::new(), input_file: None, output_file: None, deadline: Duration::from_secs(60) }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Gives the program bytes on its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Gives the program a file as its standard input, instead of bytes.
    #[must_use]
    pub fn input_file(mut self, file: std::fs::File) -> Self {
        self.input_file = Some(file);
        self
    }

    /// Has the program write its standard output into a file or pipe, of which nothing is captured then.
    #[must_use]
    pub fn output_file(mut self, file: std::fs::File) -> Self {
        self.output_file = Some(file);
        self
    }

    /// Sets how long the program may take; 60 seconds unless said.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// See [`RunError`]. A program that ends with a status other than 0 is an error.
    pub fn run(mut self) -> Result<Output, RunError> {
        let stdin = self.input_file.take().map_or_else(Stdio::piped, Stdio::from);
        let stdout = self.output_file.take().map_or_else(Stdio::piped, Stdio::from);
        self.command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        let mut child = self.command.spawn().map_err(|cause| self.start_error(cause))?;
        let talked = converse(&mut child, &self.input, self.deadline);
        let (stdout, stderr, in_time) = match talked {
            Ok(talked) => talked,
            Err(cause) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(self.start_error(cause));
            }
        };
        if !in_time {
            let _ = child.kill();
            let _ = child.wait();
            return Err(RunError::Deadline { program: self.name, deadline: self.deadline });
        }
        let status = child.wait().map_err(|cause| self.start_error(cause))?;
        let output = Output { stdout: lossy(&stdout), stderr: lossy(&stderr) };
        if status.success() {
            return Ok(output);
        }
        Err(RunError::Failed { program: self.name, status: words(status), stderr: tail(&output.stderr) })
    }

    /// Starts a program that is to stay (a DNS server, say), its standard streams on `/dev/null` but for `stderr`.
    ///
    /// # Errors
    /// [`RunError::Missing`] or [`RunError::Start`].
    pub fn spawn(mut self, stderr: Option<OwnedFd>) -> Result<Child, RunError> {
        let stderr = stderr.map_or_else(Stdio::null, Stdio::from);
        self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        self.command.spawn().map_err(|cause| self.start_error(cause))
    }

    fn start_error(&self, cause: std::io::Error) -> RunError {
        let program = self.name.clone();
        if cause.kind() == std::io::ErrorKind::NotFound { RunError::Missing { program } } else { RunError::Start { program, cause } }
    }
}

/// Where programs are looked for, in this order.
const SEARCH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Says whether a program is installed.
#[must_use]
pub fn installed(name: &str) -> bool {
    SEARCH.iter().any(|dir| std::path::Path::new(dir).join(name).exists())
}

fn locate(name: &str) -> std::path::PathBuf {
    let found = SEARCH.iter().map(|dir| std::path::Path::new(dir).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| name.into())
}

/// Feeds the input and collects both outputs until the program has ended; false if the deadline passed first.
fn converse(child: &mut Child, input: &[u8], deadline: Duration) -> std::io::Result<(Vec<u8>, Vec<u8>, bool)> {
    let until = Instant::now() + deadline;
    let pid = rustix::process::Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut stdin = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    for fd in [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)].into_iter().flatten() {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    let (mut rest, mut out, mut err) = (input, Vec::new(), Vec::new());
    if rest.is_empty() {
        stdin = None;
    }
    loop {
        feed(&mut stdin, &mut rest)?;
        drain(&mut stdout, &mut out)?;
        drain(&mut stderr, &mut err)?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok((out, err, false));
        }
        let timeout = rustix::time::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
        fds.extend(stdin.as_ref().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        fds.extend(stdout.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(stderr.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // A daemonised grandchild may hold the pipes open for ever: the end of the program itself is what counts.
        if !fds[0].revents().is_empty() {
            drop(fds);
            drain(&mut stdout, &mut out)?;
            drain(&mut stderr, &mut err)?;
            return Ok((out, err, true));
        }
    }
}

fn feed(stdin: &mut Option<std::process::ChildStdin>, rest: &mut &[u8]) -> std::io::Result<()> {
    while let Some(pipe) = stdin {
        if rest.is_empty() {
            *stdin = None;
            break;
        }
        match pipe.write(rest) {
            Ok(count) => *rest = &rest[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            // The program does not want the rest; its exit status tells whether that was right.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => *stdin = None,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn drain(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = [0; 8192];
    while let Some(open) = pipe {
        match open.read(&mut buffer) {
            Ok(0) => *pipe = None,
            Ok(count) => into.extend_from_slice(&buffer[..count.min(OUTPUT_LIMIT.saturating_sub(into.len()))]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn tail(text: &str) -> String {
    let text = text.trim();
    let start = text.len().saturating_sub(2000);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text[start..].replace('\n', "; ")
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feeds_input_and_captures_output() {
        let input = vec![b'x'; 1 << 20];
        let output = Program::new("cat").input(input.clone()).run().unwrap();
        assert_eq!(output.stdout.len(), input.len());
    }

    #[test]
    fn files_take_the_place_of_captured_output() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let output = Program::new("echo").arg("hello").output_file(OwnedFd::from(writer).into()).run().unwrap();
        assert_eq!(output.stdout, "");
        let mut text = String::new();
        // It ends, because nobody holds the other end any more.
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n");
    }

    #[test]
    fn failure_names_program_status_and_reason() {
        let error = Program::new("ls").arg("/does/not/exist").run().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("ls failed (status 2)"), "{text}");
        assert!(text.contains("/does/not/exist"), "{text}");
    }

    #[test]
    fn missing_program_is_said() {
        let error = Program::new("no-such-program-here").run().unwrap_err();
        assert_eq!(error.to_string(), "program no-such-program-here is not installed");
    }

    #[test]
    fn a_program_over_its_deadline_is_killed() {
        let error = Program::new("tail").args(["-f", "/dev/null"]).deadline(Duration::from_millis(50)).run().unwrap_err();
        assert!(matches!(error, RunError::Deadline { .. }), "{error}");
    }

    #[test]
    fn the_environment_is_clean() {
        let output = Program::new("env").run().unwrap();
        assert!(!output.stdout.contains("CARGO"), "{}", output.stdout);
    }
}
