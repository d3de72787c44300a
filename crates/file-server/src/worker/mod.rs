//! The program `coffer-files`: takes one order from its socket, locks itself in, serves.

mod calls;
mod confine;
mod connection;
mod extensions;
mod handles;
mod line;
mod serve;
mod tree;

use std::io;
use std::process::ExitCode;

use coffer_sys::process::{exit_now, set_dumpable, take_stdin};
use coffer_sys::socket::PacketSocket;
use rustix::fs::Mode;

use crate::order::{Line, MOST, Order};

/// The exit status after a panic, as the standard library has it.
const PANICKED: u8 = 101;

/// Why a step of locking in failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
struct Failure {
    step: &'static str,
    #[source]
    cause: io::Error,
}

impl Failure {
    /// Names the step that fails with an error.
    fn of<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self { step, cause: cause.into() }
    }

    fn line(&self) -> Line {
        Line::Failed { step: self.step.to_owned(), errno: self.cause.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// Does what the daemon asks for over standard input, which is a socket.
#[must_use]
pub fn main() -> ExitCode {
    // Not one connection alone: what it left half done nobody knows.
    std::panic::set_hook(Box::new(|_| exit_now(PANICKED)));
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever started us by hand reads it on the terminal.
            let text = format!("coffer-files is started by cofferd only: {}\n", coffer_base::chain(&error));
            let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn obey() -> Result<(), Failure> {
    let control = PacketSocket::from_fd(take_stdin().map_err(Failure::of("taking the socket"))?);
    let packet = control.receive(MOST).map_err(Failure::of("receiving an order"))?;
    let lacking = || Failure { step: "reading the order", cause: io::ErrorKind::InvalidData.into() };
    let mut packet = packet.ok_or_else(lacking)?;
    let order: Order = serde_json::from_slice(&packet.bytes).map_err(|_| lacking())?;
    let descriptor = packet.fds.pop().ok_or_else(lacking)?;
    rustix::process::umask(Mode::empty());
    let started = set_dumpable(false).map_err(Failure::of("hiding it")).and_then(|()| confine::start(order, descriptor, &control));
    match started {
        Ok(child) => {
            // The child has it now; the daemon's end must close when the child's does.
            drop(control);
            coffer_sys::process::wait(std::os::fd::AsFd::as_fd(&child.pidfd)).map(drop).map_err(Failure::of("waiting for it"))
        }
        Err(failure) => {
            let text = serde_json::to_vec(&failure.line()).unwrap_or_default();
            control.send(&[&text], &[]).map_err(Failure::of("telling the daemon"))?;
            Err(failure)
        }
    }
}
