//! The daemon's hold on a file server.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coffer_sys::process;
use coffer_sys::socket::PacketSocket;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::order::{CONNECTION, Confinement, IdRange, Line, MOST, Order};

/// How long a server may take to end by itself. It takes no more than a blink, unless the kernel holds it in a call.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a server may take until it is locked in.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The program, copied into memory and sealed, so that nobody can change what runs as root on behalf of an instance.
#[derive(Debug)]
pub struct FileProgram(OwnedFd);

/// Where the files are.
#[derive(Debug)]
pub enum Place<'a> {
    /// In a running instance.
    Running {
        /// Its init.
        init: BorrowedFd<'a>,
        /// It has a user namespace.
        mapped: bool,
    },
    /// In a stopped instance's volume.
    Stopped {
        /// Its root directory.
        root: BorrowedFd<'a>,
        /// Its ids; absent, they are the host's.
        ids: Option<IdRange>,
        /// The ids on disk are the instance's own.
        idmapped: bool,
    },
}

/// Why no server was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be started.
    #[error("starting the file server")]
    Spawn(#[source] io::Error),
    /// Talking to it failed.
    #[error("talking to the file server")]
    Talk(#[source] io::Error),
    /// It ended without saying why, or said nothing in time.
    #[error("the file server did not say that it is ready")]
    Silent,
    /// It could not lock itself in, and so did not begin.
    #[error("confining the file server: {step}: {}", io::Error::from_raw_os_error(*errno))]
    Confine {
        /// The step that failed.
        step: String,
        /// The kernel's error number.
        errno: i32,
    },
}

/// A file server that runs. Dropping it ends it.
#[derive(Debug)]
pub struct FileServer {
    control: Mutex<Option<PacketSocket>>,
    child: Mutex<Option<Child>>,
    ended: OwnedFd,
    confinement: Confinement,
}

impl FileProgram {
    /// Copies the program at `path`, a path of the host's own installation.
    ///
    /// # Errors
    /// What opening and reading the file gives.
    pub fn load(path: &Path) -> io::Result<Self> {
        let mut source = File::open(path)?;
        let mut copy = File::from(process::memory_file("coffer-files")?);
        io::copy(&mut source, &mut copy)?;
        rustix::fs::fchmod(&copy, rustix::fs::Mode::from_raw_mode(0o500))?;
        process::seal(copy.as_fd())?;
        Ok(Self(copy.into()))
    }

    /// Starts a server and waits until it is locked in.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(&self, place: &Place<'_>) -> Result<FileServer, StartError> {
        let (ours, theirs) = PacketSocket::pair().map_err(StartError::Spawn)?;
        let child = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
            .arg0("coffer-files")
            .env_clear()
            .current_dir("/")
            .stdin(theirs.into_fd())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(StartError::Spawn)?;
        let ended = process::pidfd_open(child.id()).map_err(StartError::Spawn)?;
        // From here on dropping it ends the process.
        let mut server =
            FileServer { control: Mutex::new(None), child: Mutex::new(Some(child)), ended, confinement: Confinement::Unprivileged };
        let (order, descriptor) = match *place {
            Place::Running { init, mapped } => (Order::Running { mapped }, init),
            Place::Stopped { root, ids, idmapped } => (Order::Stopped { ids, idmapped }, root),
        };
        let text = serde_json::to_vec(&order).map_err(|error| StartError::Talk(error.into()))?;
        ours.send(&[&text], &[descriptor]).map_err(StartError::Talk)?;
        if !readable(ours.as_fd(), START_PATIENCE).map_err(StartError::Talk)? {
            return Err(StartError::Silent);
        }
        let packet = ours.receive(MOST).map_err(StartError::Talk)?.ok_or(StartError::Silent)?;
        match serde_json::from_slice(&packet.bytes) {
            Ok(Line::Ready(confinement)) => server.confinement = confinement,
            Ok(Line::Failed { step, errno }) => return Err(StartError::Confine { step, errno }),
            Err(_) => return Err(StartError::Silent),
        }
        server.control = Mutex::new(Some(ours));
        Ok(server)
    }
}

impl FileServer {
    /// Whose rights it has.
    #[must_use]
    pub fn confinement(&self) -> Confinement {
        self.confinement
    }

    /// Hands it a blocking stream to speak SFTP on. It holds `held` as long as it does.
    ///
    /// # Errors
    /// `EPIPE` if it has ended.
    pub fn serve(&self, stream: BorrowedFd<'_>, held: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let control = control.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let fds: Vec<BorrowedFd<'_>> = [Some(stream), held].into_iter().flatten().collect();
        control.send(&[CONNECTION], &fds)
    }

    /// Says whether it still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        !readable(self.ended.as_fd(), Duration::ZERO).unwrap_or(true)
    }

    /// The process, to wait for its end; it is not the one that is locked in but that one's parent.
    #[must_use]
    pub fn process(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Ends it and waits until nothing of it is left that would keep a file system busy.
    pub fn end(&self) {
        drop(self.control.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // What does not end by itself is killed, and what it started with it.
        if !readable(self.ended.as_fd(), PATIENCE).unwrap_or(false) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until a descriptor is readable; a pidfd is when its process has ended.
fn readable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
