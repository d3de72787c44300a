//! Where a caller is: walking as it walks, with its rights and in its root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::IdMap;
use coffer_sys::cred;
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::path::openat2;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::caller::{Caller, Rights};

/// Capabilities with which the kernel lets a caller pass over the modes of files. Source: linux/capability.h.
pub(super) const DAC_OVERRIDE: u8 = 1;
pub(super) const DAC_READ_SEARCH: u8 = 2;

/// Source: linux/fcntl.h, `AT_FDCWD`.
const WORKING_DIRECTORY: i32 = -100;

/// The descriptor that paths begin at; `None` for the working directory.
pub(super) fn directory(argument: u64) -> Option<i32> {
    // The kernel takes the low half.
    Some(argument as i32).filter(|number| *number != WORKING_DIRECTORY)
}

/// Goes where the caller is, for good, and walks from here on as its files' owner without any capability.
pub(super) fn enter(caller: &Caller, rights: &Rights, directory: Option<i32>) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let root = caller.file("root", flags)?;
    let place = match directory {
        None => caller.file("cwd", flags)?,
        Some(number) => open_file(caller, number, flags)?,
    };
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    rustix::process::fchdir(&place)?;
    rustix::process::umask(Mode::from_raw_mode(rights.umask));
    cred::walk_as(rights.uid, rights.gid, &rights.groups, 0)
}

/// Where a caller is, held open: what a process needs to be there too.
pub(super) struct Place {
    /// Its namespaces but those of users and processes.
    namespaces: Vec<(OwnedFd, Namespaces)>,
    /// The one of processes.
    processes: OwnedFd,
    root: OwnedFd,
    directory: OwnedFd,
}

impl Place {
    /// Opens where a caller is.
    pub(super) fn open(caller: &Caller) -> io::Result<Self> {
        let mut namespaces = Vec::new();
        for (name, kind) in [
            ("mnt", Namespaces::MOUNT),
            ("uts", Namespaces::UTS),
            ("ipc", Namespaces::IPC),
            ("net", Namespaces::NET),
            ("cgroup", Namespaces::CGROUP),
            ("time", Namespaces::TIME),
        ] {
            match caller.file(&format!("ns/{name}"), OFlags::RDONLY) {
                Ok(namespace) => namespaces.push((namespace, kind)),
                // A kernel without this kind.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok(Self {
            namespaces,
            processes: caller.file("ns/pid", OFlags::RDONLY)?,
            root: caller.file("root", flags)?,
            directory: caller.file("cwd", flags)?,
        })
    }

    /// Has the children of this process be born where the caller was.
    pub(super) fn share_processes(&self) -> io::Result<()> {
        ns::join(self.processes.as_fd(), Namespaces::PID)
    }

    /// Goes there, for good, with all rights still.
    pub(super) fn enter(&self) -> io::Result<()> {
        for (namespace, kind) in &self.namespaces {
            ns::join(namespace.as_fd(), *kind)?;
        }
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        Ok(rustix::process::fchdir(&self.directory)?)
    }
}

/// Opens what one of the caller's descriptors is of, anew.
pub(super) fn open_file(caller: &Caller, number: i32, flags: OFlags) -> io::Result<OwnedFd> {
    caller.file(&format!("fd/{number}"), flags).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Errno::BADF.into(),
        _ => error,
    })
}

/// Opens a path for the caller, in whose place this process is. The links of `/proc` that lead anywhere are none of its own here.
pub(super) fn open(path: impl rustix::path::Arg, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?)
}

/// Says whether a file's owner and group are of the instance: only then do a caller's capabilities count for it.
///
/// Source: user_namespaces(7).
pub(super) fn belongs(idmap: &IdMap, stat: &Stat) -> bool {
    idmap.has_host_uid(stat.st_uid) && idmap.has_host_gid(stat.st_gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_working_directory_is_known_whatever_the_high_half_holds() {
        assert_eq!(directory(0xffff_ff9c), None);
        assert_eq!(directory(0xffff_ffff_ffff_ff9c), None);
        assert_eq!(directory(3), Some(3));
        assert_eq!(directory(u64::MAX), Some(-1));
    }
}
