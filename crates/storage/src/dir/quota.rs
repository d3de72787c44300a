//! Sizes of directories by project quotas, where the file system has them.
//!
//! A volume's project number is made from the inode number of its directory, which no other directory of the file system
//! has as long as the volume lives; should somebody else use the number already, the next free one is taken.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use coffer_base::Bytes;
use coffer_sys::quota::{self, Support};
use rustix::fs::FileType;

use crate::pool::{Enforcement, Usage};
use crate::tree::{Entry, TreeError, Visit, walk};

/// How many numbers are tried before giving up.
const ATTEMPTS: u32 = 1024;

/// What a volume holds and may hold; nothing without project quotas or if it has no project.
pub(crate) fn usage(volume: BorrowedFd<'_>) -> io::Result<Option<Usage>> {
    if quota::support(volume)? != Support::Enabled {
        return Ok(None);
    }
    match quota::project(volume)? {
        0 => Ok(None),
        project => {
            let usage = quota::project_usage(volume, project)?;
            Ok(Some(Usage { used: usage.used, exclusive: None, limit: usage.limit }))
        }
    }
}

/// Limits a volume, giving it and all that is in it a project number first if it has none.
pub(crate) fn limit(volume: BorrowedFd<'_>, size: Option<Bytes>) -> Result<Enforcement, TreeError> {
    let here = |cause| TreeError { path: Path::new(".").into(), cause };
    match quota::support(volume).map_err(here)? {
        Support::Enabled => {}
        Support::NoKernel => return Ok(Enforcement::Ignored("the kernel has no quotas")),
        Support::NotEnabled => return Ok(Enforcement::Ignored("the file system is not mounted with project quotas (prjquota)")),
        Support::NoFileSystem => return Ok(Enforcement::Ignored("the file system has no project quotas")),
    }
    let mut project = quota::project(volume).map_err(here)?;
    if project == 0 {
        if size.is_none() {
            return Ok(Enforcement::Enforced);
        }
        project = free_project(volume).map_err(here)?;
        walk(volume, &mut Assign { project })?;
    }
    quota::set_project_limit(volume, project, size.map(|size| size.0)).map_err(here)?;
    Ok(Enforcement::Enforced)
}

/// Lets what is made in a new directory count for an old one's project.
pub(crate) fn inherit(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    if quota::support(old)? != Support::Enabled {
        return Ok(());
    }
    match quota::project(old)? {
        0 => Ok(()),
        project => quota::set_project(new, project, true),
    }
}

/// Lets everything in another directory count for a volume's project too.
pub(crate) fn share(volume: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<(), TreeError> {
    let here = |cause| TreeError { path: Path::new(".").into(), cause };
    if quota::support(volume).map_err(here)? != Support::Enabled {
        return Ok(());
    }
    match quota::project(volume).map_err(here)? {
        0 => Ok(()),
        project => walk(other, &mut Assign { project }),
    }
}

/// Lifts the limit of a volume that is going away, so that its number means nothing any more.
pub(crate) fn release(volume: BorrowedFd<'_>) -> io::Result<()> {
    if quota::support(volume)? != Support::Enabled {
        return Ok(());
    }
    match quota::project(volume)? {
        0 => Ok(()),
        project => quota::set_project_limit(volume, project, None),
    }
}

fn free_project(volume: BorrowedFd<'_>) -> io::Result<u32> {
    let inode = rustix::fs::fstat(volume)?.st_ino;
    // The lower half of the number is enough to start from.
    let first = (inode & u64::from(u32::MAX >> 1)) as u32;
    for number in (first..).take(ATTEMPTS as usize).filter(|number| *number != 0) {
        let usage = quota::project_usage(volume, number)?;
        if usage.used == 0 && usage.limit.is_none() {
            return Ok(number);
        }
    }
    Err(io::Error::other("no free project number was found"))
}

/// Gives everything a project number.
struct Assign {
    project: u32,
}

impl Visit for Assign {
    fn file(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        // Links and devices take no space of their own to speak of, and cannot be opened.
        match entry.file_type() {
            FileType::RegularFile => quota::set_project(entry.open()?.as_fd(), self.project, false),
            _ => Ok(()),
        }
    }

    fn enter(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        quota::set_project(entry.handle, self.project, true)
    }

    fn leave(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        // The top is left without having been entered; for the others this changes nothing.
        quota::set_project(entry.handle, self.project, true)
    }

    fn mount_point(&mut self, _entry: &Entry<'_>) -> io::Result<()> {
        Ok(())
    }
}
