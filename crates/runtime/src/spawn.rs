//! Starting a monitor.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use coffer_runtime_spec::Connection;
use coffer_sys::process::{self, Child};
use coffer_sys::socket::PacketSocket;

/// The monitor's program, copied into memory and sealed.
///
/// Nothing that runs as root on behalf of an instance is executed from a file that something inside could get open for
/// writing by `/proc/PID/exe`, and all monitors share the pages of the one copy.
#[derive(Debug)]
pub struct MonitorProgram(OwnedFd);

impl MonitorProgram {
    /// Copies the program at `path`, a path of the host's own installation.
    ///
    /// # Errors
    /// What opening and reading the file gives.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut source = File::open(path)?;
        let mut copy = File::from(process::memory_file("coffer-monitor")?);
        io::copy(&mut source, &mut copy)?;
        rustix::fs::fchmod(&copy, rustix::fs::Mode::from_raw_mode(0o500))?;
        process::seal(copy.as_fd())?;
        Ok(Self(copy.into()))
    }

    /// Starts a monitor in this process's own control groups. It waits for its first request on the connection; when that
    /// closes before a start, it ends.
    ///
    /// # Errors
    /// `EAGAIN`, `EMFILE`, `ENOMEM`.
    pub fn spawn(&self) -> io::Result<Monitor> {
        let (ours, theirs) = PacketSocket::pair()?;
        let process = self.execute(&["serve"], theirs)?;
        Ok(Monitor { connection: Connection::new(ours), process })
    }

    /// Executes the program with these arguments and the socket as its standard input.
    pub(crate) fn execute(&self, arguments: &[&str], socket: PacketSocket) -> io::Result<Child> {
        // Executed by its descriptor, so the path that it is known by cannot be swapped; no closure runs between fork and
        // exec, so the standard library uses posix_spawn, which does not copy our page tables.
        let child = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
            .arg0("coffer-monitor")
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(socket.into_fd())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Nobody else waits for it, so its number is its own until then.
        Ok(Child { pid: child.id(), pidfd: process::pidfd_open(child.id())? })
    }
}

/// A monitor that this process has started.
#[derive(Debug)]
pub struct Monitor {
    /// The conversation with it. It ends when the monitor does.
    pub connection: Connection,
    /// The process, a child of this one. Whoever lives on must wait for it after the connection has ended
    /// ([`process::wait`] is short then), or it stays as a zombie; when this process ends before, init takes it over.
    pub process: Child,
}
