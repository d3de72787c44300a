//! Making of a directory that a stream filled what a volume may be: nothing stays in it that an archive could not have put there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown, futimens, openat, statat,
    unlinkat,
};
use rustix::io::Errno;

use super::super::backup::check_metadata;
use super::super::devices::Device;
use super::super::entry::{Entry, Kind, Time};
use super::super::failure::Failure;
use super::super::order::Unpacked;
use super::super::tree::remove;
use super::apply::{Target, failed, forget_list};
use crate::backup::{DISK, Form};
use crate::metadata::MAX_SIZE;
use crate::unpack::acl;

/// How deep a tree may be: deeper than any path can name.
pub(in crate::unpack) const DEEPEST: usize = 2100;

/// What an instance's directory holds; besides that there may be what its old server kept there.
const OF_INSTANCES: [&[u8]; 3] = [b"metadata.yaml", b"templates", b"rootfs"];

impl Target {
    /// Ends the volume: adds what was left out to the report, and answers the device nodes that are still to be made.
    pub(in crate::unpack) fn finish(self, form: Form, unpacked: &mut Unpacked) -> Result<Vec<Device>, Failure> {
        let top = self.top();
        let fail = |errno| failed("looking through", b"/", errno);
        match form {
            Form::Instance => {
                for name in names(top).map_err(fail)?.iter().filter(|name| !OF_INSTANCES.contains(&name.as_slice())) {
                    remove(top, name, 0).map_err(|errno| failed("removing", name, errno))?;
                    unpacked.skipped_members += u64::from(name != b"backup.yaml");
                }
                if kind(top, b"rootfs").map_err(fail)? != Some(FileType::Directory) {
                    return Err(Failure::NoRootfs);
                }
                metadata(top)?;
                templates(top)?;
                close(top, Mode::RWXU).map_err(fail)?;
            }
            Form::Disk => {
                for name in names(top).map_err(fail)?.iter().filter(|name| name.as_slice() != DISK.as_bytes()) {
                    remove(top, name, 0).map_err(|errno| failed("removing", name, errno))?;
                }
                own_file(top, DISK.as_bytes(), 0o600)?;
                close(top, Mode::RWXU).map_err(fail)?;
            }
            Form::Files => {}
        }
        unpacked.skipped_xattrs += self.skipped_xattrs;
        let mut found = Vec::new();
        if !self.nodes.is_empty() {
            let below: &[u8] = if form == Form::Instance { b"rootfs" } else { b"." };
            let root = directory(top, below).map_err(fail)?;
            self.nodes_of(root.as_fd(), &mut Vec::new(), 0, &mut found, unpacked).map_err(fail)?;
        }
        Ok(found)
    }

    /// Takes away the files that stand for nodes, and says where they were.
    fn nodes_of(
        &self,
        above: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        depth: usize,
        found: &mut Vec<Device>,
        unpacked: &mut Unpacked,
    ) -> Result<(), Errno> {
        if depth > DEEPEST {
            return Err(Errno::NAMETOOLONG);
        }
        for name in names(above)? {
            let stat = statat(above, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.nodes_of(directory(above, &name)?.as_fd(), path, depth + 1, found, unpacked)?,
                FileType::RegularFile => {
                    if let Some(numbers) = self.nodes.get(&stat.st_ino) {
                        unlink_keeping_times(above, &name)?;
                        match numbers {
                            Some(numbers) => found.push(Device::of(&entry(path, &stat), *numbers)),
                            None => unpacked.skipped_devices += 1,
                        }
                    }
                }
                _ => {}
            }
            path.truncate(length);
        }
        Ok(())
    }
}

/// Checks an instance's `metadata.yaml`, and makes it the daemon's.
fn metadata(top: BorrowedFd<'_>) -> Result<(), Failure> {
    const NAME: &[u8] = b"metadata.yaml";
    let fail = |errno| failed("reading", NAME, errno);
    if kind(top, NAME).map_err(fail)?.is_none() {
        return Ok(());
    }
    own_file(top, NAME, 0o644)?;
    let file = openat(top, NAME, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    let mut text = vec![0; MAX_SIZE + 1];
    let mut length = 0;
    while length < text.len() {
        match rustix::io::read(&file, &mut text[length..]).map_err(fail)? {
            0 => break,
            count => length += count,
        }
    }
    if length > MAX_SIZE {
        return Err(Failure::refused(NAME, format!("it has more than {MAX_SIZE} bytes")));
    }
    check_metadata(&text[..length])
}

/// Makes the templates the daemon's: plain files that everybody may read.
fn templates(top: BorrowedFd<'_>) -> Result<(), Failure> {
    const NAME: &[u8] = b"templates";
    let fail = |errno| failed("looking through", NAME, errno);
    match kind(top, NAME).map_err(fail)? {
        None => Ok(()),
        Some(FileType::Directory) => {
            chmod_and_own(top, NAME, 0o755).map_err(fail)?;
            let templates = directory(top, NAME).map_err(fail)?;
            names(templates.as_fd()).map_err(fail)?.iter().try_for_each(|name| own_file(templates.as_fd(), name, 0o644))
        }
        Some(_) => Err(Failure::refused(NAME, "it must be a directory")),
    }
}

/// Makes a file the daemon's, if it is one and nobody can reach it by another name.
fn own_file(directory: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<(), Failure> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| failed("looking at", name, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink != 1 {
        return Err(Failure::refused(name, "it must be a regular file with one name"));
    }
    chmod_and_own(directory, name, mode).map_err(|errno| failed("closing", name, errno))
}

fn chmod_and_own(directory: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<(), Errno> {
    chownat(directory, name, Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::SYMLINK_NOFOLLOW)?;
    chmodat(directory, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
    let file = openat(directory, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    forget_list(file.as_fd(), acl::ACCESS)
}

/// Makes a volume's top the daemon's.
fn close(top: BorrowedFd<'_>, mode: Mode) -> Result<(), Errno> {
    forget_list(top, acl::ACCESS)?;
    forget_list(top, acl::DEFAULT)?;
    fchown(top, Some(Uid::ROOT), Some(Gid::ROOT))?;
    fchmod(top, mode)
}

pub(in crate::unpack) fn unlink_keeping_times(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(directory)?;
    unlinkat(directory, name, AtFlags::empty())?;
    let time = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
    let (last_access, last_modification) = (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
    futimens(directory, &Timestamps { last_access, last_modification })
}

pub(in crate::unpack) fn entry(path: &[u8], stat: &Stat) -> Entry {
    Entry {
        path: path.to_vec(),
        kind: Kind::Device(None),
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
        xattrs: Vec::new(),
    }
}

fn kind(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<FileType>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(in crate::unpack) fn directory(above: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(above, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The names in a directory, all read before any of them is taken away.
pub(in crate::unpack) fn names(directory: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}
