//! Where monitors are born, outside the control groups of whoever started the daemon.
//!
//! A service manager that stops the daemon by its control group must not find the monitors there. A process that moves to
//! another group makes every fork and exit on the host wait for a grace period of 10 to 25 ms; so one small process, the
//! nurse, moves once, and what it starts is in the right group from birth. Its children are made as its siblings: they are
//! children of the daemon, which waits for them.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use coffer_runtime_spec::Connection;
use coffer_sys::process::{self, Child};
use coffer_sys::socket::PacketSocket;

use crate::spawn::{Monitor, MonitorProgram};

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
        Self { program, group: format!("{cgroup_parent}/.monitors"), kept: Mutex::default() }
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

    fn spawn(&self, kept: &mut Kept) -> io::Result<Monitor> {
        if let Some(nurse) = &kept.nurse {
            match nurse.bear() {
                // Somebody has killed it: another one can do its work.
                Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    let _ = process::wait(nurse.process.pidfd.as_fd());
                }
                other => return other,
            }
        }
        let (ours, theirs) = PacketSocket::pair()?;
        let process = self.program.execute(&["nurse", &self.group], theirs)?;
        kept.nurse.insert(Nurse { socket: ours, process }).bear()
    }
}

impl Nurse {
    /// Has a monitor made.
    fn bear(&self) -> io::Result<Monitor> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (ours, theirs) = PacketSocket::pair()?;
        self.socket.send(&[WANTED], &[theirs.as_fd()])?;
        drop(theirs);
        let mut packet = self.socket.receive(ANSWER)?.ok_or_else(gone)?;
        let number = u32::from_ne_bytes(packet.bytes.as_slice().try_into().map_err(|_| gone())?);
        match packet.fds.pop() {
            Some(pidfd) => Ok(Monitor { connection: Connection::new(ours), process: Child { pid: number, pidfd } }),
            None => Err(io::Error::from_raw_os_error(number as i32)),
        }
    }
}

/// The packet that asks for a monitor; its end of the connection comes with it.
pub(crate) const WANTED: &[u8] = b"monitor";

/// How long the answer is: the number of the process, with its pidfd, or of an error, alone.
const ANSWER: usize = size_of::<u32>();
