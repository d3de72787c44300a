//! What a tree of several layers needs: taking away what a lower layer made.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::{BorrowedFd, Failure, OwnedFd, Tree};
use std::os::fd::AsFd;

/// How deep a directory may lie below one that is removed: deeper than any path can name.
const DEEPEST: usize = 2100;

impl Tree {
    /// From now on a member takes the place of a whole directory, if it has a directory's name: that is a lower layer's.
    pub(in super::super) fn replace_directories(&mut self) {
        self.dirs.replaces_directories = true;
    }

    /// Takes away what is at `name` in the directory `above`; nothing there is no error.
    pub(in super::super) fn white_out(&mut self, above: &[u8], name: &[u8]) -> Result<(), Failure> {
        let whole = [above, name].join(&b'/');
        let Some(parent) = self.lower(above)? else { return Ok(()) };
        remove(parent.as_fd(), name, 0).map_err(|errno| Failure::write("taking away", &whole, errno))
    }

    /// Takes away everything in the directory `path`; one that is not there is no error.
    pub(in super::super) fn empty(&mut self, path: &[u8]) -> Result<(), Failure> {
        let Some(directory) = self.lower(path)? else { return Ok(()) };
        remove_content(directory.as_fd(), 0).map_err(|errno| Failure::write("emptying", path, errno))
    }

    /// Opens a directory of a lower layer.
    fn lower(&mut self, path: &[u8]) -> Result<Option<OwnedFd>, Failure> {
        // Descriptors in the chain may be of what is about to go.
        self.dirs.chain.clear();
        self.dirs.path.clear();
        match self.dirs.resolve(path, OFlags::RDONLY, super::ResolveFlags::empty()) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(Failure::write("entering", path, errno)),
        }
    }
}

/// Removes a name with all below it. Links are removed, never followed.
pub(in super::super) fn remove(parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(parent, name, flags, Mode::empty())?;
    remove_content(directory.as_fd(), depth + 1)?;
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes all below a directory.
pub(in super::super) fn remove_content(directory: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
    if depth > DEEPEST {
        return Err(Errno::NAMETOOLONG);
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.iter().try_for_each(|name| remove(directory, name, depth))
}
