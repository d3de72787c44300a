//! Namespaces.

use std::io;
use std::ops::BitOr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A set of kinds of namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u32);

impl Namespaces {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Mounts.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u32);
    /// Control groups' root.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u32);
    /// Host and domain name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u32);
    /// System V and POSIX message queues, semaphores, shared memory.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u32);
    /// User and group ids, capabilities, keyrings.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u32);
    /// Process ids. A process that joins or makes one is itself not in it, its children are.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u32);
    /// Network.
    pub const NET: Self = Self(libc::CLONE_NEWNET as u32);
    /// Clocks. A process that makes one is itself not in it, its children and its next program are.
    pub const TIME: Self = Self(0x80);

    /// The kernel's bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Says whether all of `other` are in the set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Moves the calling thread into new namespaces.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` if there are too many.
///
/// Source: unshare(2).
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    // SAFETY: no pointers are passed, and none of our flags unshares the descriptor table, which others could rely on.
    let result = unsafe { libc::unshare(namespaces.0 as libc::c_int) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves the calling thread into these namespaces of the process behind `target`, a pidfd, or into the one namespace
/// that `target` is a descriptor of.
///
/// # Errors
/// `ESRCH` if the process is gone, `EPERM` without the capabilities there, `EINVAL` if the process has several threads
/// and a user or time namespace is to be joined.
///
/// Source: setns(2); by pidfd Linux 5.8.
pub fn join(target: BorrowedFd<'_>, namespaces: Namespaces) -> io::Result<()> {
    // SAFETY: no pointers are passed; the descriptor is open for the whole call.
    let result = unsafe { libc::setns(target.as_raw_fd(), namespaces.0 as libc::c_int) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Opens the user namespace that a namespace belongs to: capabilities there are what counts for it.
///
/// # Errors
/// `EPERM` if that is outside of our own user namespace.
///
/// Source: ioctl_ns(2), `NS_GET_USERNS`; Linux 4.9.
pub fn owner(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: the request takes no argument, and the descriptor is open for the whole call.
    let owner = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS as _) };
    if owner < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// Sets the host name of the current UTS namespace.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` there, `EINVAL` over 64 bytes.
///
/// Source: sethostname(2).
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(rustix::system::sethostname(name.as_bytes())?)
}

/// Does something in a network namespace, on a thread of its own that ends with it: sockets that are made there stay there.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` there; `EAGAIN` if no thread can be had.
///
/// Source: network_namespaces(7): a socket belongs to the namespace of the thread that made it.
pub fn in_network<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = move || join(netns, Namespaces::NET).and_then(|()| work());
        let thread = std::thread::Builder::new().name("in-network".into()).spawn_scoped(scope, inside)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the network namespace panicked")))
    })
}
