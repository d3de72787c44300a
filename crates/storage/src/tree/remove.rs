//! Removing a tree.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::TreeError;
use super::descent::Descent;

/// How often a directory that is not empty after it was emptied is gone through again.
const PASSES: usize = 3;

/// Removes `name` from a directory, with all that is in it. Does nothing if it is not there.
///
/// # Errors
/// `EXDEV` where something is mounted; what was removed until then is gone.
pub fn remove(directory: BorrowedFd<'_>, name: &OsStr) -> Result<(), TreeError> {
    let top = CString::new(name.as_bytes()).map_err(|error| TreeError { path: Path::new(name).into(), cause: error.into() })?;
    let fail = |cause: io::Error| TreeError { path: Path::new(".").into(), cause };
    match unlink(directory, &top, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
        Err(error) => return Err(fail(error)),
    }
    let start = || -> io::Result<Descent> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Descent::new(rustix::fs::openat(directory, top.as_c_str(), flags, Mode::empty())?)
    };
    let mut descent = start().map_err(fail)?;
    empty(&mut descent)?;
    unlink(directory, &top, AtFlags::REMOVEDIR).map_err(fail)
}

/// Removes everything below the top.
fn empty(descent: &mut Descent) -> Result<(), TreeError> {
    let mut frames = vec![files(descent)?];
    let mut passes = 0;
    while let Some(pending) = frames.last_mut() {
        if let Some(name) = pending.pop() {
            match descent.descend(&name) {
                Ok(()) => frames.push(files(descent)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(TreeError { path: descent.path(&name).into(), cause }),
            }
            continue;
        }
        frames.pop();
        if descent.depth() == 0 {
            break;
        }
        let name = descent.ascend().map_err(|cause| TreeError { path: descent.path(c"..").into(), cause })?;
        match unlink(descent.current(), &name, AtFlags::REMOVEDIR) {
            Ok(()) => passes = 0,
            // Some file systems lose their place in a directory that shrinks under them.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && passes < PASSES => {
                passes += 1;
                frames.last_mut().expect("the parent's frame").push(name);
            }
            Err(cause) => return Err(TreeError { path: descent.path(&name).into(), cause }),
        }
    }
    Ok(())
}

/// Removes what is no directory from the current directory, and names the directories.
fn files(descent: &Descent) -> Result<Vec<CString>, TreeError> {
    let fail = |name: &CStr, cause: io::Error| TreeError { path: descent.path(name).into(), cause };
    let directory = descent.current();
    let mut directories = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| fail(c".", errno.into()))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            directories.push(name.to_owned());
            continue;
        }
        match unlink(directory, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => directories.push(name.to_owned()),
            Err(error) => return Err(fail(name, error)),
        }
    }
    Ok(directories)
}

/// Removes one name, taking away the flags that forbid it (`chattr +i`, `+a`) if there are some.
fn unlink(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, flags) {
        Err(Errno::PERM) => {}
        other => return Ok(other?),
    }
    allow_changes(directory);
    let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let regular = |stat: rustix::fs::Stat| matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory);
    if rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(regular)
        && let Ok(file) = rustix::fs::openat(directory, name, open, Mode::empty())
    {
        allow_changes(file.as_fd());
    }
    Ok(rustix::fs::unlinkat(directory, name, flags)?)
}

/// Clears the immutable and append-only flags; that it did not work shows in the next call.
fn allow_changes(file: BorrowedFd<'_>) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(file) {
        let _ = rustix::fs::ioctl_setflags(file, flags.difference(IFlags::IMMUTABLE | IFlags::APPEND));
    }
}
