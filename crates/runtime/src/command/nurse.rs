//! `coffer-monitor nurse`: starts monitors for the daemon in the monitors' own control group.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use coffer_sys::process::{self, CloneOptions, Strings};
use coffer_sys::socket::PacketSocket;

use super::{CommandError, take_socket};
use crate::nursery::WANTED;

/// Moves into the group and makes a monitor for each packet, until the daemon is gone.
pub(super) fn nurse(group: &str) -> Result<u8, CommandError> {
    let socket = PacketSocket::from_fd(take_socket()?);
    crate::cgroup::leave_callers(group);
    let system = |doing| move |cause: std::io::Error| CommandError::System { doing, cause };
    while let Some(mut packet) = socket.receive(WANTED.len()).map_err(system("waiting for the daemon"))? {
        let Some(connection) = packet.fds.pop().filter(|_| packet.bytes == WANTED) else { continue };
        let answer = match process::clone(CloneOptions { sibling: true, ..CloneOptions::default() }, || become_monitor(&connection)) {
            Ok(child) => socket.send(&[&child.pid.to_ne_bytes()], &[child.pidfd.as_fd()]),
            Err(error) => socket.send(&[&error.raw_os_error().unwrap_or(0).to_ne_bytes()], &[]),
        };
        if answer.is_err() {
            break;
        }
    }
    Ok(0)
}

/// Executes this program anew, so that no monitor shares another's layout of memory.
fn become_monitor(connection: &OwnedFd) -> u8 {
    if rustix::stdio::dup2_stdin(connection).is_err() {
        return 1;
    }
    let words = [c"coffer-monitor", c"serve"].map(CString::from);
    let _ = process::execve(c"/proc/self/exe", &Strings::new(words.into()), &Strings::new(Vec::new()));
    1
}
