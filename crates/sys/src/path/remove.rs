//! Removing trees, however deep, without following a link.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// How deep a tree is removed in place; what is deeper is first moved up, so that descriptors do not run out.
const DEEP: usize = 100;

pub(super) fn tree(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says EISDIR for a directory, other systems and some file systems EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut moved = 0;
    loop {
        let before = moved;
        empty_dir(top.as_fd(), top.as_fd(), 0, &mut moved)?;
        // What was moved up lies in the top directory under new names; it may itself be deep again.
        if moved == before {
            break;
        }
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn empty_dir(top: BorrowedFd<'_>, dir: BorrowedFd<'_>, depth: usize, moved: &mut u64) -> io::Result<()> {
    let names: Vec<CString> =
        Dir::read_from(dir)?.map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect::<Result<_, _>>()?;
    for name in names.iter().filter(|name| name.as_c_str() != c"." && name.as_c_str() != c"..") {
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        if depth >= DEEP {
            move_up(dir, name, top, moved)?;
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        empty_dir(top, below.as_fd(), depth + 1, moved)?;
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Moves `name` to the top directory under a name that is free there.
fn move_up(dir: BorrowedFd<'_>, name: &CString, top: BorrowedFd<'_>, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match rustix::fs::renameat_with(dir, name, top, format!(".coffer-removed-{moved}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return Ok(other?),
        }
    }
}
