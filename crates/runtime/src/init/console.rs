//! The console: a terminal of the instance's own, bound on `/dev/console`.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::Stage;
use coffer_sys::{mount, pty};
use rustix::fs::{Mode, OFlags};

use super::Inside;
use crate::failed::{At, Failed};

/// The console's two sides.
pub(super) struct Console {
    /// For the monitor.
    pub(super) master: OwnedFd,
    terminal: OwnedFd,
}

/// Makes the console in the terminals just mounted and binds it, by descriptors alone.
pub(super) fn make(inside: &Inside<'_>, devpts: &OwnedFd) -> Result<Console, Failed> {
    let stage = Stage::Console;
    let pty = pty::open(devpts.as_fd()).at(stage, || "making a terminal".into())?;
    let copy = mount::copy(pty.terminal.as_fd(), false).at(stage, || "copying its mount".into())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(&inside.plan.dev, "console", flags, Mode::empty()).at(stage, || "opening /dev/console".into())?;
    mount::attach(copy.as_fd(), target.as_fd()).at(stage, || "attaching /dev/console".into())?;
    Ok(Console { master: pty.master, terminal: pty.terminal })
}

/// Starts a session and makes the console the standard streams. It does not become the controlling terminal: the shell
/// that init starts on it needs it as its own.
pub(super) fn take(console: &Console) -> Result<(), Failed> {
    let stage = Stage::Console;
    rustix::process::setsid().at(stage, || "starting a session".into())?;
    let terminal = console.terminal.as_fd();
    coffer_sys::process::set_standard_streams([terminal; 3]).at(stage, || "setting the standard streams".into())
}
