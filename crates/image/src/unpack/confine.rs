//! Locking the unpacker in before it reads the first hostile byte.
//!
//! The ids on disk are the instance's own (0 and up): its root is id-mapped when it is mounted, never chowned. So the unpacker
//! must write files of uid 0 without being uid 0. It runs in a user namespace whose ids are a range of the host that nothing
//! else uses, and sees the target through a mount that maps this range to 0 and up on disk. It has capabilities over that mount
//! and over nothing else. Where the target's file system has no id-mapped mounts, it stays the host's root with five
//! capabilities, again with the target as all it can see. Either way: no network, no other process, a short list of system calls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_sys::cred;
use coffer_sys::mount::{self, Change, Restrictions};
use coffer_sys::ns::Namespaces;
use coffer_sys::process::{Child, CloneOptions, Ended, clone, close_all_but, die_with_parent, signal, wait};
use coffer_sys::socket::PacketSocket;
use rustix::fs::{Mode, OFlags};

use super::failure::Failure;
use super::filter;
use super::order::Confinement;

/// The first id on the host that the unpacker runs with: far above what `/etc/subuid` and systemd give out.
const FIRST_HOST_ID: u32 = 0x8000_0000;

/// How many ids it has, and so the first id that an image cannot use.
const IDS: u32 = 0x4000_0000;

/// Capabilities that writing other people's files takes: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP.
const CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31;

/// Its limits. The address space holds the decompressors' memory several times over, and threads' stacks; a directory's chain
/// of descriptors may be as deep as a path is long; of processor time, in seconds, the largest real image takes minutes.
const LIMITS: [(&str, u64); 5] = [("as", 4 << 30), ("core", 0), ("cpu", 4 * 3600), ("nofile", 4096), ("memlock", 0)];

/// The exit status of a worker that could not lock itself in; why stands in a packet to its parent.
const NOT_LOCKED: u8 = 100;

/// Mounts that go into one packet.
const BATCH: usize = 64;

/// What a worker sees of the host's files.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sight<'a> {
    /// Its root directory; an empty one if there is none.
    pub(crate) root: Option<BorrowedFd<'a>>,
    /// Directories that it holds open, each as a mount of its own that stands nowhere: nothing leads up from it.
    pub(crate) directories: &'a [OwnedFd],
    /// Whether it may only read those, and what that takes.
    pub(crate) reads: bool,
    /// Files that it goes on using, its reporter's socket among them. Every other descriptor that it inherits is closed: those
    /// of `root` and `directories` lead to the host's own mounts, with nothing mapped.
    pub(crate) files: &'a [BorrowedFd<'a>],
}

/// The work of a locked-in process, given how it was locked in and its view of the directories; the answer is the exit status.
pub(crate) type Work<'a> = &'a dyn Fn(Confinement, Vec<OwnedFd>) -> u8;

/// Runs `work` locked in and waits for its end.
///
/// `work` reports its own result; an error here means that it did not get that far or did not end well.
pub(crate) fn run(sight: Sight<'_>, work: Work<'_>) -> Result<(), Failure> {
    let unprivileged = start(Namespaces::USER | apart(), sight, work, Confinement::Unprivileged)?;
    match unprivileged.map_and_mount(sight)? {
        Some(view) => unprivileged.finish(&view),
        None => {
            unprivileged.abandon();
            let view = View::of(sight, None)?.ok_or_else(|| Failure::confine("making its view", io::ErrorKind::Unsupported))?;
            start(apart(), sight, work, Confinement::Privileged)?.finish(&view)
        }
    }
}

/// The mounts that a worker gets.
struct View {
    root: OwnedFd,
    directories: Vec<OwnedFd>,
}

impl View {
    /// Makes the mounts, with ids mapped through a user namespace if one is given; none if a file system cannot map ids.
    fn of(sight: Sight<'_>, namespace: Option<BorrowedFd<'_>>) -> Result<Option<Self>, Failure> {
        let root = match sight.root {
            Some(root) => match view(root, namespace, false)? {
                Some(root) => root,
                None => return Ok(None),
            },
            None => empty_root()?,
        };
        let mut directories = Vec::new();
        for directory in sight.directories {
            match view(directory.as_fd(), namespace, sight.reads)? {
                Some(directory) => directories.push(directory),
                None => return Ok(None),
            }
        }
        Ok(Some(Self { root, directories }))
    }
}

/// A mount of a directory alone; none if its file system cannot map ids.
fn view(directory: BorrowedFd<'_>, namespace: Option<BorrowedFd<'_>>, readonly: bool) -> Result<Option<OwnedFd>, Failure> {
    let copy = mount::copy(directory, false).map_err(|error| Failure::confine("copying a directory's mount", error))?;
    let restrict = Restrictions { readonly, ..Restrictions::NONE };
    match mount::change(copy.as_fd(), Change { idmap: namespace, restrict, ..Change::default() }) {
        Ok(()) => Ok(Some(copy)),
        // The file system cannot, or the directory is seen through a map already.
        Err(error) if namespace.is_some() && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPERM)) => {
            Ok(None)
        }
        Err(error) => Err(Failure::confine("mapping the ids of a directory's mount", error)),
    }
}

/// What the worker is cut off from, whoever it runs as.
fn apart() -> Namespaces {
    Namespaces::MOUNT | Namespaces::PID | Namespaces::NET | Namespaces::IPC | Namespaces::UTS
}

/// A worker that waits for its root directory.
struct Worker {
    child: Child,
    gate: PacketSocket,
}

fn start(namespaces: Namespaces, sight: Sight<'_>, work: Work<'_>, confinement: Confinement) -> Result<Worker, Failure> {
    let (gate, inner) = PacketSocket::pair().map_err(|error| Failure::confine("making its gate", error))?;
    let options = CloneOptions { namespaces, ..CloneOptions::default() };
    let child = clone(options, || match lock(&inner, sight) {
        Ok(directories) => work(confinement, directories),
        Err(failure) => {
            let text = serde_json::to_vec(&failure).unwrap_or_default();
            // If the parent is gone, nobody is left to hear it.
            let _ = inner.send(&[&text], &[]);
            NOT_LOCKED
        }
    });
    let child = child.map_err(|error| Failure::confine("making its process", error))?;
    Ok(Worker { child, gate })
}

impl Worker {
    /// Gives the worker's ids their meaning on the host and makes its view; none if a file system cannot map ids.
    fn map_and_mount(&self, sight: Sight<'_>) -> Result<Option<View>, Failure> {
        let proc = format!("/proc/{}", self.child.pid);
        for map in ["uid_map", "gid_map"] {
            match std::fs::write(format!("{proc}/{map}"), format!("0 {FIRST_HOST_ID} {IDS}")) {
                Ok(()) => {}
                // The daemon runs in a container itself and does not have these ids.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Ok(None),
                Err(error) => return Err(Failure::confine("mapping its ids", error)),
            }
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(format!("{proc}/ns/user"), flags, Mode::empty());
        let namespace = namespace.map_err(|errno| Failure::confine("opening its user namespace", errno))?;
        View::of(sight, Some(namespace.as_fd()))
    }

    /// Lets the worker in and waits for its end.
    fn finish(self, view: &View) -> Result<(), Failure> {
        let let_in = self.let_in(view);
        let ended = wait(self.child.pidfd.as_fd()).map_err(|error| Failure::confine("waiting for it", error))?;
        match ended {
            Ended::Exited(0) => let_in.map_err(|error| Failure::confine("letting it begin", error)),
            Ended::Exited(NOT_LOCKED) => Err(self.complaint()),
            Ended::Exited(status) => Err(Failure::Ended { how: format!("status {status}") }),
            Ended::Killed(signal) => Err(Failure::Ended { how: format!("signal {signal}") }),
        }
    }

    fn let_in(&self, view: &View) -> io::Result<()> {
        self.gate.send(&[b"go"], &[view.root.as_fd()])?;
        for batch in view.directories.chunks(BATCH) {
            self.gate.send(&[b"go"], &batch.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn complaint(&self) -> Failure {
        let packet = self.gate.receive(4096).ok().flatten();
        let said = packet.and_then(|packet| serde_json::from_slice(&packet.bytes).ok());
        said.unwrap_or_else(|| Failure::Ended { how: format!("status {NOT_LOCKED}") })
    }

    /// Ends a worker that was never let in.
    fn abandon(self) {
        // It may have ended already; then there is nothing to do.
        let _ = signal(self.child.pidfd.as_fd(), libc::SIGKILL);
        let _ = wait(self.child.pidfd.as_fd());
    }
}

/// A root directory with nothing in it, for work that only reads what it holds open.
fn empty_root() -> Result<OwnedFd, Failure> {
    mount::new_filesystem("tmpfs", &[], Restrictions::ALL).map_err(|error| Failure::confine("making an empty root", io::Error::from(error)))
}

/// Locks the calling process in, in this order: its root, then its rights, then its calls. Answers its directories.
fn lock(gate: &PacketSocket, sight: Sight<'_>) -> Result<Vec<OwnedFd>, Failure> {
    let step = |name: &'static str| move |error: io::Error| Failure::confine(name, error);
    let stderr = rustix::stdio::stderr();
    let kept: Vec<BorrowedFd<'_>> = sight.files.iter().copied().chain([stderr, gate.as_fd()]).collect();
    close_all_but(&kept).map_err(step("closing what it inherited"))?;
    let waiting = |error| Failure::confine("waiting to begin", error);
    let mut given = Vec::new();
    while given.len() < 1 + sight.directories.len() {
        match gate.receive(16).map_err(waiting)? {
            Some(packet) if !packet.fds.is_empty() => given.extend(packet.fds),
            _ => return Err(waiting(io::Error::from_raw_os_error(libc::ECANCELED))),
        }
    }
    let directories = given.split_off(1);
    let root = given.pop().ok_or_else(|| waiting(io::Error::from_raw_os_error(libc::ECANCELED)))?;
    cred::become_user(0, 0, &[]).map_err(step("becoming its root"))?;
    die_with_parent().map_err(step("tying it to its parent"))?;
    mount::move_in(root.as_fd()).map_err(step("entering its root"))?;
    drop(root);
    cred::lower_limits(&LIMITS).map_err(step("setting its limits"))?;
    cred::restrict_capabilities(!CAPABILITIES).map_err(step("dropping its capabilities"))?;
    cred::set_no_new_privs().map_err(step("forbidding new rights"))?;
    filter::confine(if sight.reads { filter::READING } else { filter::WRITING }).map_err(step("filtering its system calls"))?;
    Ok(directories)
}
