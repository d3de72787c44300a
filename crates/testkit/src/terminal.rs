//! A terminal with a command on it, as a person would use it.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::wait;

/// So much of the screen is told when something does not appear, in bytes.
const MOST_SHOWN: usize = 4096;

/// How long a test waits for something to appear on the screen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pseudo-terminal whose other end is a running command's standard input, output and error.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    child: Child,
    screen: String,
    read: usize,
}

impl Terminal {
    /// Starts a command on a terminal of this size, as leader of a session of its own.
    ///
    /// # Panics
    /// No terminal is to be had, or the command cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo-terminal");
        grantpt(&master).expect("the right to open the terminal");
        unlockpt(&master).expect("an unlocked terminal");
        let name = ptsname(&master, Vec::new()).expect("the terminal's name").into_string().expect("a name in ASCII");
        set_size(&master, columns, rows);
        let slave = std::fs::OpenOptions::new().read(true).write(true).open(name).expect("the terminal's other end");
        let end = || Stdio::from(slave.try_clone().expect("another descriptor of the terminal"));
        // setsid makes the terminal the controlling one, so that a resize reaches the command as SIGWINCH. What a shell ignores
        // for what it runs in the background would stay ignored; on a person's terminal nothing is.
        let mut wrapped = Command::new("setsid");
        wrapped.args(["--ctty", "--wait", "env", "--default-signal=HUP,INT,QUIT"]).arg(command.get_program()).args(command.get_args());
        wrapped
            .env_clear()
            .envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))))
            .env("TERM", "xterm")
            .env("PATH", crate::pen::PATH);
        let child = wrapped.stdin(end()).stdout(end()).stderr(end()).spawn().expect("a command on the terminal");
        Self { master, child, screen: String::new(), read: 0 }
    }

    /// Types.
    ///
    /// # Panics
    /// The terminal does not take it.
    #[track_caller]
    pub fn send(&self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let count = rustix::io::write(&self.master, rest).expect("a terminal that takes input");
            rest = &rest[count..];
        }
    }

    /// Waits until this text appears after what was expected before.
    ///
    /// # Panics
    /// It does not appear in time.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let until = Instant::now() + PATIENCE;
        // What was looked at once is not looked at again: the screen may be long.
        let mut from = self.read;
        loop {
            if let Some(at) = self.screen[from..].find(text) {
                self.read = from + at + text.len();
                return;
            }
            from = self.screen.floor_char_boundary((self.screen.len() + 1).saturating_sub(text.len()).max(from));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.take(left) {
                let end = &self.screen[self.screen.floor_char_boundary(self.screen.len().saturating_sub(MOST_SHOWN))..];
                panic!("{text:?} did not appear on the terminal; it shows:\n{end}");
            }
        }
    }

    /// Types these keys, one by one as people do, again and again until the command ends, and answers its exit code. What is typed
    /// before a command reads may be lost, and nothing tells when it begins to.
    ///
    /// # Panics
    /// It does not end in time.
    #[track_caller]
    pub fn leave(self, keys: &str) -> i32 {
        let until = Instant::now() + PATIENCE;
        for key in keys.bytes().cycle() {
            if Instant::now() > until || wait::ended(self.child.id(), Duration::from_millis(100)) {
                break;
            }
            // A command that has just ended takes none.
            let _ = rustix::io::write(&self.master, &[key]);
        }
        self.finish()
    }

    /// Takes in what appeared and says whether this text is anywhere on the screen; waits a moment at most.
    #[must_use]
    pub fn shows(&mut self, text: &str) -> bool {
        while !self.screen.contains(text) && self.take(Duration::from_millis(100)) {}
        self.screen.contains(text)
    }

    /// Changes the window's size, as dragging its corner does.
    pub fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.master, columns, rows);
    }

    /// Waits for the command's end and returns its exit code; what it still writes is read.
    ///
    /// # Panics
    /// It does not end in time.
    #[track_caller]
    pub fn finish(mut self) -> i32 {
        let until = Instant::now() + PATIENCE;
        while self.take(until.saturating_duration_since(Instant::now())) {}
        if !wait::ended(self.child.id(), until.saturating_duration_since(Instant::now())) {
            let _ = self.child.kill();
            panic!("the command on the terminal did not end; it shows:\n{}", self.screen);
        }
        self.child.wait().expect("the end of a child").code().unwrap_or(-1)
    }

    /// Everything that appeared so far.
    #[must_use]
    pub fn screen(&self) -> &str {
        &self.screen
    }

    /// Reads what is there, waiting for it; false at the end or when the time is up.
    fn take(&mut self, time: Duration) -> bool {
        if !wait::readable(self.master.as_fd(), time) {
            return false;
        }
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(count) if count > 0 => {
                self.screen.push_str(&String::from_utf8_lossy(&buffer[..count]));
                true
            }
            // EIO is how a terminal says that its other end is closed.
            _ => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: &OwnedFd, columns: u16, rows: u16) {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("a terminal with a size");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_reads_resizes_and_waits() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "stty size; read resized; stty size; read line; echo got $line; exit 3"]);
        let mut terminal = Terminal::start(&shell, 80, 24);
        terminal.expect("24 80");
        terminal.resize(100, 50);
        terminal.send("\n");
        terminal.expect("50 100");
        terminal.send("hello\n");
        terminal.expect("got hello");
        assert_eq!(terminal.finish(), 3);
    }
}
