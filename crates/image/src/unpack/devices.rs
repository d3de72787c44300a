//! Device nodes of images and backups: the worker may not make them, so it tells the daemon, which makes the harmless ones.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_sys::path::openat2;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::fs::{chownat, fstat, futimens, makedev, mknodat, utimensat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Numbers, Time, split};
use super::order::Unpacked;
use crate::unpack::UnpackError;

/// Device nodes that one tree may have; no real one comes near.
pub(super) const MAX_DEVICES: usize = 4096;

/// The devices that an instance has anyway: null, zero, full, random, urandom, tty, console, ptmx. Others stay out, because what
/// stands in a file system is all that keeps an instance from a disk of the host if its device rules are ever wrong.
const HARMLESS: &[(u32, u32)] = &[(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];

/// A device node that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    /// Which of the volumes it belongs to.
    pub(crate) volume: usize,
    path: Vec<u8>,
    numbers: Numbers,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
}

impl Device {
    pub(super) fn of(entry: &Entry, numbers: Numbers) -> Self {
        let Entry { path, mode, uid, gid, mtime, .. } = entry;
        Self { volume: 0, path: path.clone(), numbers, mode: *mode, uid: *uid, gid: *gid, mtime: *mtime }
    }

    /// The same node as it is seen from a directory that it is below; none if it is not.
    pub(super) fn below(mut self, directory: &[u8]) -> Option<Self> {
        self.path = self.path.strip_prefix(directory)?.strip_prefix(b"/")?.to_vec();
        Some(self)
    }

    /// Makes the node in a root file system; false if it is not one of the harmless ones or its place is taken.
    fn make(&self, rootfs: BorrowedFd<'_>) -> Result<bool, Errno> {
        if !self.numbers.character || !HARMLESS.contains(&(self.numbers.major, self.numbers.minor)) {
            return Ok(false);
        }
        let (above, name) = split(&self.path);
        let parent = match directory(rootfs, above) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            parent => parent?,
        };
        let before = fstat(&parent)?;
        match mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), makedev(self.numbers.major, self.numbers.minor)) {
            Err(Errno::EXIST) => return Ok(false),
            made => made?,
        }
        chownat(&parent, name, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        // By a descriptor: the name is never followed, and a device is never opened.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = openat2(&parent, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)?;
        let link = coffer_sys::path::own_link(node.as_fd());
        // Its directory has its own list by now, and passed it on.
        match rustix::fs::removexattr(link.as_str(), "system.posix_acl_access") {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::chmod(link.as_str(), Mode::from_raw_mode(self.mode & 0o7777))?;
        utimensat(&parent, name, &times(self.mtime.seconds, self.mtime.nanoseconds), AtFlags::SYMLINK_NOFOLLOW)?;
        let nanoseconds = u32::try_from(before.st_mtime_nsec).unwrap_or(0);
        futimens(&parent, &times(before.st_mtime, nanoseconds))?;
        Ok(true)
    }
}

/// Makes the nodes that a worker asked for, each in the directory that it belongs to, and counts those that are left out.
pub(crate) fn make_all(
    devices: &[Device],
    unpacked: &mut Unpacked,
    root_of: impl Fn(usize) -> Result<Option<OwnedFd>, Errno>,
) -> Result<(), UnpackError> {
    for device in devices {
        let made = root_of(device.volume).and_then(|root| root.map_or(Ok(false), |root| device.make(root.as_fd())));
        if !made.map_err(|errno| UnpackError::Device(errno.into()))? {
            unpacked.skipped_devices += 1;
        }
    }
    Ok(())
}

/// Opens the root file system in a volume.
pub(crate) fn open_rootfs(volume: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(volume, "rootfs", flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn directory(rootfs: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b".".as_slice() } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(rootfs, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn times(seconds: i64, nanoseconds: u32) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
