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
use coffer_sys::process::{Child, CloneOptions, Ended, clone, die_with_parent, signal, wait};
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

/// Runs `work` locked in, with `target` as its root directory (an empty one if there is none), and waits for its end.
///
/// `work` reports its own result; an error here means that it did not get that far or did not end well.
pub(super) fn run(target: Option<BorrowedFd<'_>>, work: &dyn Fn(Confinement) -> u8) -> Result<(), Failure> {
    let unprivileged = start(Namespaces::USER | apart(), work, Confinement::Unprivileged)?;
    match unprivileged.map_and_mount(target)? {
        Some(root) => unprivileged.finish(root.as_fd()),
        None => {
            unprivileged.abandon();
            let root = match target {
                Some(target) => mount::copy(target, false).map_err(|error| Failure::confine("copying the target's mount", error))?,
                None => empty_root()?,
            };
            start(apart(), work, Confinement::Privileged)?.finish(root.as_fd())
        }
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

fn start(namespaces: Namespaces, work: &dyn Fn(Confinement) -> u8, confinement: Confinement) -> Result<Worker, Failure> {
    let (gate, inner) = PacketSocket::pair().map_err(|error| Failure::confine("making its gate", error))?;
    let options = CloneOptions { namespaces, cgroup: None };
    let child = clone(options, || match lock(&inner) {
        Ok(()) => work(confinement),
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
    /// Gives the worker's ids their meaning on the host and makes its root; none if the file system cannot map ids.
    fn map_and_mount(&self, target: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>, Failure> {
        let proc = format!("/proc/{}", self.child.pid);
        for map in ["uid_map", "gid_map"] {
            match std::fs::write(format!("{proc}/{map}"), format!("0 {FIRST_HOST_ID} {IDS}")) {
                Ok(()) => {}
                // The daemon runs in a container itself and does not have these ids.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Ok(None),
                Err(error) => return Err(Failure::confine("mapping its ids", error)),
            }
        }
        let Some(target) = target else { return empty_root().map(Some) };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = rustix::fs::open(format!("{proc}/ns/user"), flags, Mode::empty());
        let namespace = namespace.map_err(|errno| Failure::confine("opening its user namespace", errno))?;
        let root = mount::copy(target, false).map_err(|error| Failure::confine("copying the target's mount", error))?;
        match mount::change(root.as_fd(), Change { idmap: Some(namespace.as_fd()), ..Change::default() }) {
            Ok(()) => Ok(Some(root)),
            // The file system cannot, or the target is seen through a map already.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::EPERM)) => Ok(None),
            Err(error) => Err(Failure::confine("mapping the ids of the target's mount", error)),
        }
    }

    /// Lets the worker in and waits for its end.
    fn finish(self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let let_in = self.gate.send(&[b"go"], &[root]);
        let ended = wait(self.child.pidfd.as_fd()).map_err(|error| Failure::confine("waiting for it", error))?;
        match ended {
            Ended::Exited(0) => let_in.map_err(|error| Failure::confine("letting it begin", error)),
            Ended::Exited(NOT_LOCKED) => Err(self.complaint()),
            Ended::Exited(status) => Err(Failure::Ended { how: format!("status {status}") }),
            Ended::Killed(signal) => Err(Failure::Ended { how: format!("signal {signal}") }),
        }
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

/// Locks the calling process in, in this order: its root, then its rights, then its calls.
fn lock(gate: &PacketSocket) -> Result<(), Failure> {
    let let_in = gate.receive(16).map_err(|error| Failure::confine("waiting to begin", error))?;
    let root = let_in.and_then(|packet| packet.fds.into_iter().next());
    let root = root.ok_or_else(|| Failure::confine("waiting to begin", io::Error::from_raw_os_error(libc::ECANCELED)))?;
    let step = |name: &'static str| move |error: io::Error| Failure::confine(name, error);
    cred::become_user(0, 0, &[]).map_err(step("becoming its root"))?;
    die_with_parent().map_err(step("tying it to its parent"))?;
    mount::move_in(root.as_fd()).map_err(step("entering its root"))?;
    drop(root);
    cred::lower_limits(&LIMITS).map_err(step("setting its limits"))?;
    cred::restrict_capabilities(!CAPABILITIES).map_err(step("dropping its capabilities"))?;
    cred::set_no_new_privs().map_err(step("forbidding new rights"))?;
    filter::confine().map_err(step("filtering its system calls"))
}
