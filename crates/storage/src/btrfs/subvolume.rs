//! Subvolumes with others nested in them, as containers make who use btrfs themselves.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use coffer_sys::btrfs;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::tree::{self, TreeError};

/// A subvolume nested in another one, at whatever depth.
struct Nested {
    id: u64,
    /// Where it stands below the outermost one.
    path: PathBuf,
}

/// Says whether a subvolume has others nested in it.
pub(super) fn has_children(subvolume: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(!btrfs::children(subvolume, btrfs::subvolume_id(subvolume)?)?.is_empty())
}

/// Removes one subvolume, in which none is nested, together with its quota group.
pub(super) fn destroy(any: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    btrfs::destroy_subvolume(any, id)?;
    // Newer kernels do this themselves, and others refuse as long as the subvolume is being cleaned away.
    let _ = btrfs::remove_quota_group(any, id);
    Ok(())
}

/// Makes a writable snapshot with snapshots of all nested subvolumes in it, which stay read-only if they were.
pub(super) fn clone_tree(source: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    btrfs::create_snapshot(directory, name, source, false)?;
    let top = open_below(directory, Path::new(name))?;
    let mut read_only = Vec::new();
    for nested in nested(source)? {
        let Some(from) = open_unless_gone(source, &nested.path)? else { continue };
        let parent = nested.path.parent().unwrap_or(Path::new(""));
        let Some(place) = open_unless_gone(top.as_fd(), parent)? else { continue };
        let name = nested.path.file_name().unwrap_or_default();
        // The snapshot has an empty directory where the nested subvolume is.
        match rustix::fs::unlinkat(&place, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        btrfs::create_snapshot(place.as_fd(), name, from.as_fd(), false)?;
        if btrfs::is_read_only(from.as_fd())? {
            read_only.push(open_below(place.as_fd(), Path::new(name))?);
        }
    }
    for subvolume in read_only {
        btrfs::set_read_only(subvolume.as_fd(), true)?;
    }
    Ok(())
}

/// Removes a name from a directory of ours: a subvolume with all that is nested in it, or an ordinary tree.
pub(super) fn remove(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), TreeError> {
    let fail = |cause| TreeError { path: Path::new(name).into(), cause };
    let top = match open_unless_gone(directory, Path::new(name)) {
        Ok(None) => return Ok(()),
        Ok(Some(top)) => top,
        // A file, or a link: nothing that a subvolume could be in.
        Err(_) => return tree::remove(directory, name),
    };
    if !btrfs::is_subvolume(top.as_fd()).map_err(fail)? {
        return tree::remove(directory, name);
    }
    let all = || -> io::Result<u64> {
        btrfs::set_read_only(top.as_fd(), false)?;
        let mut inner = nested(top.as_fd())?;
        // The outer ones first, so that the inner ones can be removed from them.
        for nested in &inner {
            if let Some(opened) = open_unless_gone(top.as_fd(), &nested.path)? {
                btrfs::set_read_only(opened.as_fd(), false)?;
            }
        }
        while let Some(innermost) = inner.pop() {
            destroy(top.as_fd(), innermost.id)?;
        }
        btrfs::subvolume_id(top.as_fd())
    };
    let id = all().map_err(fail)?;
    drop(top);
    destroy(directory, id).map_err(fail)
}

/// Everything nested in a subvolume, the outer ones before the inner ones.
fn nested(subvolume: BorrowedFd<'_>) -> io::Result<Vec<Nested>> {
    let mut found: Vec<Nested> = Vec::new();
    let mut next = 0;
    let (mut id, mut base) = (btrfs::subvolume_id(subvolume)?, PathBuf::new());
    loop {
        for child in btrfs::children(subvolume, id)? {
            let directory: OsString = btrfs::directory_path(subvolume, id, child.directory)?;
            found.push(Nested { id: child.id, path: base.join(directory).join(child.name) });
        }
        let Some(nested) = found.get(next) else { return Ok(found) };
        (id, base) = (nested.id, nested.path.clone());
        next += 1;
    }
}

fn open_unless_gone(directory: BorrowedFd<'_>, path: &Path) -> io::Result<Option<OwnedFd>> {
    match open_below(directory, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Opens a directory below another one; the path comes from the file system and is followed through no link.
fn open_below(directory: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let path = if path.as_os_str().is_empty() { b"." } else { path.as_os_str().as_bytes() };
    Ok(coffer_sys::path::openat2(directory, path, flags, Mode::empty(), resolve)?)
}
