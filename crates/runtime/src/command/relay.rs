//! Between our terminal and one of the instance's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_runtime_spec::{ExecId, Request, WindowSize};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::termios::{OptionalActions, Termios};

use super::CommandError;
use crate::MonitorClient;

/// Ctrl+a, then q: as at the console of other container managers.
const ESCAPE: [u8; 2] = [1, b'q'];

/// Attaches our standard input and output to the console until its end or the escape.
pub(super) fn console(client: &mut MonitorClient) -> Result<(), CommandError> {
    let told = |cause: Errno| CommandError::System { doing: "making a socket pair", cause: cause.into() };
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(told)?;
    client.call(Request::ConsoleAttach { replay: true }, &[theirs.as_fd()])?;
    drop(theirs);
    terminal(client, &ours, None)
}

/// Copies both ways until the other side ends. Without an exec the escape ends it too.
pub(super) fn terminal(client: &mut MonitorClient, other: &OwnedFd, exec: Option<ExecId>) -> Result<(), CommandError> {
    let raw = Raw::enter();
    if exec.is_none() {
        client.call(Request::ConsoleResize { size: size() }, &[])?;
    }
    let copied = copy(other.as_fd(), exec.is_none());
    drop(raw);
    copied.map_err(|cause| CommandError::System { doing: "copying between terminals", cause })
}

/// The size of our terminal, or the usual one.
pub(super) fn size() -> WindowSize {
    let size = rustix::termios::tcgetwinsize(io::stdin());
    size.map_or(WindowSize { columns: 80, rows: 24 }, |size| WindowSize { columns: size.ws_col, rows: size.ws_row })
}

/// Our terminal without line editing, put back at the end.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let Ok(before) = rustix::termios::tcgetattr(io::stdin()) else { return Self(None) };
        let mut raw = before.clone();
        raw.make_raw();
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw);
        Self(Some(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn copy(other: BorrowedFd<'_>, escapes: bool) -> io::Result<()> {
    let (input, output) = (io::stdin(), io::stdout());
    let (mut open, mut last) = (true, 0u8);
    let mut buffer = [0; 16 << 10];
    loop {
        let mut fds = vec![PollFd::new(&other, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(&input, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            match rustix::io::read(other, &mut buffer) {
                Ok(0) | Err(Errno::IO) => return Ok(()),
                Ok(length) => write_all(output.as_fd(), &buffer[..length])?,
                Err(error) => return Err(error.into()),
            }
        }
        if ready.get(1) == Some(&true) {
            let length = rustix::io::read(&input, &mut buffer)?;
            open = length > 0;
            for byte in &buffer[..length] {
                if escapes && [last, *byte] == ESCAPE {
                    return Ok(());
                }
                last = *byte;
            }
            write_all(other, &buffer[..length])?;
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
