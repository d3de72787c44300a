//! `coffer-monitor nurse`: starts monitors for the daemon in the monitors' own control group, and makes user namespaces,
//! which a process of many threads cannot.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::IdMap;
use coffer_sys::process::{self, CloneOptions, Strings};
use coffer_sys::socket::PacketSocket;

use super::{CommandError, take_socket};
use crate::nursery::{MAP, QUESTION, WANTED};

/// Moves into the group and makes a monitor for each packet, until the daemon is gone.
pub(super) fn nurse(group: &str) -> Result<u8, CommandError> {
    let socket = PacketSocket::from_fd(take_socket()?);
    crate::cgroup::leave_callers(group);
    let system = |doing| move |cause: std::io::Error| CommandError::System { doing, cause };
    while let Some(mut packet) = socket.receive(QUESTION).map_err(system("waiting for the daemon"))? {
        if let Some(map) = packet.bytes.strip_prefix(MAP) {
            let answer = match user_namespace(map) {
                Ok(namespace) => socket.send(&[&0u32.to_ne_bytes()], &[namespace.as_fd()]),
                Err(errno) => socket.send(&[&errno.to_ne_bytes()], &[]),
            };
            if answer.is_err() {
                break;
            }
            continue;
        }
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

/// Makes a user namespace with a map; the error is the kernel's number.
fn user_namespace(map: &[u8]) -> Result<OwnedFd, i32> {
    let invalid = rustix::io::Errno::INVAL.raw_os_error();
    let map: IdMap = serde_json::from_slice(map).map_err(|_| invalid)?;
    crate::parent::user_namespace(&map).map_err(|failed| failed.errno.unwrap_or(invalid))
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
