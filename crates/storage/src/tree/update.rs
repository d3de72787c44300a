//! Making a copy of an earlier state of a tree into a copy of a later one, so that what did not change stays shared with
//! whatever the earlier copy is shared with.
//!
//! What changed is known where the source's file system tells it exactly; elsewhere each file is compared to the last byte. A
//! file that changed is made anew out of the old one's blocks, of which only those are written that differ.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use coffer_base::Progress;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::copy::{make_special, open_below};
use super::descent::Descent;
use super::reuse::Older;
use super::walk::{Entry, Visit, link, walk};
use super::{TreeError, attributes, data, remove};

/// What is known of the change from one state of a tree to a later one.
pub(crate) struct Change<'a> {
    /// The tree as it was earlier.
    pub(crate) earlier: BorrowedFd<'a>,
    /// The inodes of the later tree in which anything differs from the earlier one; inodes of both have the same numbers.
    pub(crate) inodes: &'a HashSet<u64>,
}

/// Makes everything below `target`, which is a copy of an earlier state of `source`, what is below `source` now, and gives its
/// top the attributes that the source's has. Without a word about what changed any tree may be at `target`.
///
/// # Errors
/// The first thing that could not be done, and where it is. The target is neither state then.
pub(crate) fn update(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    change: Option<&Change<'_>>,
    progress: &Progress,
) -> Result<(), TreeError> {
    let open = |top: BorrowedFd<'_>| -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(top, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    };
    let start = || -> io::Result<Update<'_>> {
        let earlier = change.map(|change| Older::new(change.earlier)).transpose()?;
        let mut update = Update {
            top: target,
            place: Descent::new(open(target)?)?,
            present: Older::new(target)?,
            earlier,
            change,
            levels: Vec::new(),
            links: HashMap::new(),
            data: data::Copier::new(),
            progress,
        };
        let stat = rustix::fs::fstat(source)?;
        update.begin_level(source, stat.st_ino)?;
        Ok(update)
    };
    let mut update = start().map_err(|cause| TreeError { path: Path::new(".").into(), cause })?;
    walk(source, &mut update)
}

struct Update<'a> {
    top: BorrowedFd<'a>,
    place: Descent,
    /// The target again, to compare with.
    present: Older,
    earlier: Option<Older>,
    change: Option<&'a Change<'a>>,
    levels: Vec<Level>,
    /// For each file with more than one name that was met: its first name in the target.
    links: HashMap<(u32, u32, u64), Vec<CString>>,
    data: data::Copier,
    progress: &'a Progress,
}

/// A directory that is being gone through.
struct Level {
    /// It is the same directory as the one at its place in the earlier tree.
    same: bool,
    /// Something in it was put, replaced or removed in the target.
    touched: bool,
}

impl Visit for Update<'_> {
    fn file(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.progress.check()?;
        let linked = entry.stat.stx_nlink > 1;
        if linked && let Some(names) = self.links.get(&entry.identity()) {
            let first = open_below(self.top, names)?;
            return self.link(entry, &first);
        }
        if !self.is_known_same(entry) {
            match entry.file_type() {
                FileType::RegularFile => self.regular(entry)?,
                FileType::Directory | FileType::Unknown => return Err(io::ErrorKind::InvalidData.into()),
                _ => {
                    self.clear(entry.name)?;
                    make_special(entry, self.place.current())?;
                }
            }
        }
        if linked {
            let names = self.place.names().map(CStr::to_owned).chain([entry.name.to_owned()]).collect();
            self.links.insert(entry.identity(), names);
        }
        Ok(())
    }

    fn enter(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        match self.place.descend(entry.name) {
            Ok(()) => {}
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
                self.clear(entry.name)?;
                rustix::fs::mkdirat(self.place.current(), entry.name, Mode::RWXU)?;
                self.place.descend(entry.name)?;
            }
            Err(error) => return Err(error),
        }
        self.present.enter(entry.name);
        if let Some(earlier) = &mut self.earlier {
            earlier.enter(entry.name);
        }
        self.begin_level(entry.handle, entry.stat.stx_ino)
    }

    fn leave(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let level = self.levels.pop().unwrap_or(Level { same: false, touched: true });
        if level.touched || !level.same || self.has_changed(entry.stat.stx_ino) {
            attributes::remove_others(entry.handle, self.place.current())?;
            attributes::copy_to(entry, self.place.current())?;
        }
        if self.place.depth() > 0 {
            self.place.ascend()?;
            self.present.leave()?;
            self.earlier.as_mut().map_or(Ok(()), Older::leave)?;
        }
        Ok(())
    }

    fn mount_point(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.clear(entry.name)?;
        Ok(rustix::fs::mkdirat(self.place.current(), entry.name, attributes::mode(entry.stat))?)
    }
}

impl Update<'_> {
    fn has_changed(&self, inode: u64) -> bool {
        self.change.is_none_or(|change| change.inodes.contains(&inode))
    }

    /// Says whether it is known that the target has this already: a thing that did not change has its names where it had them,
    /// so it is at this name of the same directory.
    fn is_known_same(&self, entry: &Entry<'_>) -> bool {
        self.levels.last().is_some_and(|level| level.same) && !self.has_changed(entry.stat.stx_ino)
    }

    /// Begins a directory: removes from the target's what the source's no longer has.
    fn begin_level(&mut self, source: BorrowedFd<'_>, inode: u64) -> io::Result<()> {
        let earlier = self.earlier.as_ref().and_then(Older::here);
        let same = match earlier {
            Some(earlier) => rustix::fs::fstat(earlier)?.st_ino == inode,
            None => false,
        };
        self.levels.push(Level { same, touched: false });
        if same && !self.has_changed(inode) {
            return Ok(());
        }
        let wanted = names(source)?;
        for name in names(self.place.current())?.difference(&wanted) {
            self.clear(name)?;
        }
        Ok(())
    }

    /// Prepares the current directory of the target for a change in it: what is made there inherits no list of permissions. All
    /// that the directory is to have it gets when it is left.
    fn touch(&mut self) -> io::Result<()> {
        let Some(level) = self.levels.last_mut().filter(|level| !level.touched) else { return Ok(()) };
        level.touched = true;
        match rustix::fs::fremovexattr(self.place.current(), c"system.posix_acl_default") {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes whatever has a name in the current directory of the target.
    fn clear(&mut self, name: &CStr) -> io::Result<()> {
        self.touch()?;
        remove(self.place.current(), OsStr::from_bytes(name.to_bytes())).map_err(|error| error.cause)
    }

    /// Gives the current name to a file of the target, unless it is its name already.
    fn link(&mut self, entry: &Entry<'_>, file: &OwnedFd) -> io::Result<()> {
        let wanted = rustix::fs::fstat(file)?;
        let there = rustix::fs::statat(self.place.current(), entry.name, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|there| (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino)) {
            return Ok(());
        }
        self.clear(entry.name)?;
        Ok(rustix::fs::linkat(CWD, link(file.as_fd()), self.place.current(), entry.name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Makes a regular file what the source's is.
    fn regular(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let source = entry.open()?;
        let is_known = self.levels.last().is_some_and(|level| level.same);
        if !is_known && self.present.has(entry, source.as_fd())? {
            return Ok(());
        }
        self.touch()?;
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let new = rustix::fs::openat(self.place.current(), c".", flags, Mode::RUSR | Mode::WUSR)?;
        match self.present.open(entry.name)? {
            Some(old) => self.data.copy_onto(source.as_fd(), old.as_fd(), new.as_fd(), entry.stat.stx_size)?,
            None => self.data.copy(source.as_fd(), new.as_fd(), entry.stat.stx_size, entry.stat.stx_blocks * 512)?,
        }
        attributes::copy_to(entry, new.as_fd())?;
        self.link(entry, &new)
    }
}

/// The names in a directory.
fn names(directory: BorrowedFd<'_>) -> io::Result<HashSet<CString>> {
    // A description of our own: its position is somebody else's to move in the one that was given.
    let own = rustix::fs::openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut found = HashSet::new();
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(&own, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.insert(name.to_owned());
        }
    }
    Ok(found)
}
