//! Everything about a file but its name and content: owner, permissions, extended attributes, times.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Statx, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::walk::{Entry, link};

/// Gives an open file or directory all that the entry has.
pub(super) fn copy_to(entry: &Entry<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let stat = entry.stat;
    // The owner first: changing it clears set-id bits and capabilities.
    rustix::fs::fchown(target, Some(uid(stat)), Some(gid(stat)))?;
    copy_xattrs(entry.handle, |name, value| rustix::fs::fsetxattr(target, name, value, XattrFlags::empty()))?;
    rustix::fs::fchmod(target, mode(stat))?;
    // Times last: all the rest changes them.
    Ok(rustix::fs::futimens(target, &times(stat))?)
}

/// Gives something that must not be opened (a link, a device) all that the entry has.
pub(super) fn copy_to_name(entry: &Entry<'_>, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let stat = entry.stat;
    rustix::fs::chownat(directory, name, Some(uid(stat)), Some(gid(stat)), AtFlags::SYMLINK_NOFOLLOW)?;
    let target = rustix::fs::openat(
        directory,
        name,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let path = link(target.as_fd());
    copy_xattrs(entry.handle, |name, value| rustix::fs::setxattr(path.as_str(), name, value, XattrFlags::empty()))?;
    if entry.file_type() != FileType::Symlink {
        rustix::fs::chmod(path.as_str(), mode(stat))?;
    }
    Ok(rustix::fs::utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// All permission bits of a file, the special ones included.
pub(super) fn mode(stat: &Statx) -> Mode {
    Mode::from_raw_mode(u32::from(stat.stx_mode) & 0o7777)
}

/// Calls `set` with each extended attribute worth keeping.
fn copy_xattrs(source: BorrowedFd<'_>, mut set: impl FnMut(&CStr, &[u8]) -> Result<(), Errno>) -> io::Result<()> {
    for name in names(source)? {
        if let Some(value) = value(source, &name)? {
            set(&name, &value).map_err(|errno| io::Error::other(Refused { name: name.clone(), cause: errno.into() }))?;
        }
    }
    Ok(())
}

/// Takes away from an open file or directory the extended attributes that the other one does not have.
pub(super) fn remove_others(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let wanted = names(source)?;
    for name in names(target)?.into_iter().filter(|name| !wanted.contains(name)) {
        match rustix::fs::fremovexattr(target, name.as_c_str()) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Says whether two files have the same extended attributes, of those worth keeping.
pub(super) fn same_xattrs(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let (mut first, mut second) = (names(one)?, names(other)?);
    first.sort();
    second.sort();
    if first != second {
        return Ok(false);
    }
    for name in &first {
        if value(one, name)? != value(other, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The target's file system does not take an attribute.
#[derive(Debug, thiserror::Error)]
#[error("setting extended attribute {}", name.to_string_lossy())]
struct Refused {
    name: std::ffi::CString,
    #[source]
    cause: io::Error,
}

/// The names of the extended attributes that belong to the file rather than to the file system it is on.
pub(super) fn names(source: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::CString>> {
    let path = link(source);
    let mut buffer = vec![0; 256];
    let length = loop {
        match rustix::fs::listxattr(path.as_str(), &mut buffer[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 16, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
    };
    let kept = |name: &[u8]| {
        let prefixes: [&[u8]; 4] = [b"user.", b"trusted.", b"security.", b"system.posix_acl_"];
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    Ok(buffer[..length].split(|byte| *byte == 0).filter(|name| kept(name)).filter_map(|name| std::ffi::CString::new(name).ok()).collect())
}

/// The value of an extended attribute; nothing if it is gone.
pub(super) fn value(source: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let path = link(source);
    let mut buffer = vec![0; 256];
    loop {
        match rustix::fs::getxattr(path.as_str(), name, &mut buffer[..]) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 16, 0),
            Err(Errno::NODATA) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn uid(stat: &Statx) -> Uid {
    Uid::from_raw(stat.stx_uid)
}

fn gid(stat: &Statx) -> Gid {
    Gid::from_raw(stat.stx_gid)
}

fn times(stat: &Statx) -> Timestamps {
    let time = |time: &rustix::fs::StatxTimestamp| Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec.into() };
    Timestamps { last_access: time(&stat.stx_atime), last_modification: time(&stat.stx_mtime) }
}
