//! Where monitors are born, outside the control groups of whoever started the daemon.
//!
//! A service manager that stops the daemon by its control group must not find the monitors there. A process that moves to
//! another group makes every fork and exit on the host wait for a grace period of 10 to 25 ms; so one small process, the
//! nurse, moves once, and what it starts is in the right group from birth. Its children are made as its siblings: they are
//! children of the daemon, which waits for them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coffer_runtime_spec::{Connection, IdMap};
use coffer_sys::process::{self, Child};
use coffer_sys::socket::PacketSocket;

use crate::cgroup;
use crate::spawn::{Monitor, MonitorProgram};

/// How long monitors whose instances have ended may take to end themselves before their group is left behind.
const LAST_MONITORS: Duration = Duration::from_secs(2);

/// Starts monitors, and keeps one ready for the next start.
#[derive(Debug)]
pub struct Nursery {
    program: MonitorProgram,
    /// The monitors' control group, in every hierarchy that knows services.
    group: String,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    nurse: Option<Nurse>,
    spare: Option<Monitor>,
}

#[derive(Debug)]
struct Nurse {
    socket: PacketSocket,
    process: Child,
}

impl Nursery {
    /// Makes a nursery for instances whose control groups lie below `cgroup_parent`. Starts nothing yet.
    #[must_use]
    pub fn new(program: MonitorProgram, cgroup_parent: &str) -> Self {
        Self { program, group: monitors_below(cgroup_parent), kept: Mutex::default() }
    }

    /// Takes a monitor: the one that is ready, or a new one. It waits for its first request on the connection; when that
    /// closes before a start, it ends.
    ///
    /// # Errors
    /// `EAGAIN`, `EMFILE`, `ENOMEM`.
    pub fn take(&self) -> io::Result<Monitor> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.spare.take() {
            Some(spare) if matches!(process::try_wait(spare.process.pidfd.as_fd()), Ok(None)) => Ok(spare),
            Some(_) | None => self.spawn(&mut kept),
        }
    }

    /// Makes a monitor ready for the next start, if none is. To be called where nobody waits for it.
    ///
    /// # Errors
    /// As [`Nursery::take`].
    pub fn prepare(&self) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.spare.is_none() {
            kept.spare = Some(self.spawn(&mut kept)?);
        }
        Ok(())
    }

    /// Makes a user namespace with these id maps, for mounts whose ids go through it. No process is in it, and it lives as
    /// long as the descriptor or such a mount.
    ///
    /// # Errors
    /// `EINVAL` for a map that the kernel refuses, `ENOSPC` where there are too many user namespaces.
    pub fn user_namespace(&self, map: &IdMap) -> io::Result<OwnedFd> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask(&mut kept, |nurse| nurse.map(map))
    }

    /// Ends the nurse and the monitor that is ready, and removes the group that they stood in once nobody is left in it. To be
    /// called where nothing runs any more; what is asked for later is made anew.
    pub fn close(&self) {
        let Kept { nurse, spare } = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        // Each ends when its connection does.
        if let Some(Monitor { connection, process }) = spare {
            drop(connection);
            let _ = process::wait(process.pidfd.as_fd());
        }
        if let Some(Nurse { socket, process }) = nurse {
            drop(socket);
            let _ = process::wait(process.pidfd.as_fd());
        }
        cgroup::remove_when_empty(&self.group, LAST_MONITORS);
    }

    fn spawn(&self, kept: &mut Kept) -> io::Result<Monitor> {
        self.ask(kept, Nurse::bear)
    }

    fn ask<T>(&self, kept: &mut Kept, ask: impl Fn(&Nurse) -> io::Result<T>) -> io::Result<T> {
        if let Some(nurse) = &kept.nurse {
            match ask(nurse) {
                // Somebody has killed it: another one can do its work.
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    let _ = process::wait(nurse.process.pidfd.as_fd());
                }
                other => return other,
            }
        }
        let (ours, theirs) = PacketSocket::pair()?;
        let process = self.program.execute(&["nurse", &self.group], theirs)?;
        ask(kept.nurse.insert(Nurse { socket: ours, process }))
    }
}

/// The group of the monitors of instances below this one, which may be the top.
fn monitors_below(parent: &str) -> String {
    if parent.is_empty() { ".monitors".into() } else { format!("{parent}/.monitors") }
}

impl Nurse {
    /// Has a monitor made.
    fn bear(&self) -> io::Result<Monitor> {
        let (ours, theirs) = PacketSocket::pair()?;
        self.socket.send(&[WANTED], &[theirs.as_fd()])?;
        drop(theirs);
        let (pid, pidfd) = self.answer()?;
        Ok(Monitor { connection: Connection::new(ours), process: Child { pid, pidfd } })
    }

    /// Has a user namespace made.
    fn map(&self, map: &IdMap) -> io::Result<OwnedFd> {
        let text = serde_json::to_vec(map)?;
        if MAP.len() + text.len() > QUESTION {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the id map has too many ranges"));
        }
        self.socket.send(&[MAP, &text], &[])?;
        Ok(self.answer()?.1)
    }

    /// The number and the descriptor of what was made.
    fn answer(&self) -> io::Result<(u32, OwnedFd)> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let mut packet = self.socket.receive(ANSWER)?.ok_or_else(gone)?;
        let number = u32::from_ne_bytes(packet.bytes.as_slice().try_into().map_err(|_| gone())?);
        packet.fds.pop().map(|made| (number, made)).ok_or_else(|| io::Error::from_raw_os_error(number as i32))
    }
}

/// The packet that asks for a monitor; its end of the connection comes with it.
pub(crate) const WANTED: &[u8] = b"monitor";

/// What the packet that asks for a user namespace begins with; the id map follows.
pub(crate) const MAP: &[u8] = b"map ";

/// How long a packet that asks for something is at most.
pub(crate) const QUESTION: usize = 64 << 10;

/// How long the answer is: the number of the process, with its pidfd, or of an error, alone. A namespace has none.
const ANSWER: usize = size_of::<u32>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitors_stand_beside_their_instances() {
        assert_eq!(monitors_below("coffer/by-hand"), "coffer/by-hand/.monitors");
        // Never in the group of an instance at the top, which would be theirs then and could not be made.
        assert_eq!(monitors_below(""), ".monitors");
    }
}
