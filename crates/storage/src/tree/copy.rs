//! Copying a tree with all that its files are: owners, permissions, ACLs, capabilities, links, holes, devices, times.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use coffer_base::Progress;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};

use super::TreeError;
use super::attributes;
use super::data;
use super::descent::Descent;
use super::reuse::Older;
use super::walk::{Entry, Visit, link, walk};

/// How many bytes are copied between two reports of progress.
const REPORT: u64 = 16 << 20;

/// The longest path that is opened in one call.
const PATH: usize = 4000;

/// Copies everything below the directory `source` into the empty directory `target`, and the top's own attributes.
///
/// What is mounted inside the source is not copied: an empty directory stands in its place. The source may change
/// meanwhile; the target must be nobody else's.
///
/// # Errors
/// The first thing that could not be copied, and where it is.
pub fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>, progress: &Progress) -> Result<(), TreeError> {
    copy_without(source, target, None, progress)
}

/// Copies as [`copy`] does, and gives files of the tree at `older` a second name in the target where they are already what would
/// be copied. The older tree must be on the target's file system, be going away, and not change meanwhile.
///
/// # Errors
/// As [`copy`].
pub(crate) fn copy_over(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    older: BorrowedFd<'_>,
    progress: &Progress,
) -> Result<(), TreeError> {
    let older = Older::new(older).map_err(|cause| TreeError { path: Path::new(".").into(), cause })?;
    begin(source, target, None, Some(older), progress)
}

/// Copies as [`copy`] does, but for the directory of this name in the source's top.
///
/// # Errors
/// As [`copy`].
pub(crate) fn copy_without(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    without: Option<&CStr>,
    progress: &Progress,
) -> Result<(), TreeError> {
    begin(source, target, without, None, progress)
}

fn begin(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    without: Option<&CStr>,
    older: Option<Older>,
    progress: &Progress,
) -> Result<(), TreeError> {
    let start = || -> io::Result<Descent> {
        let top = rustix::fs::openat(target, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Descent::new(top)
    };
    let place = start().map_err(|cause| TreeError { path: Path::new(".").into(), cause })?;
    let (links, data) = (HashMap::new(), data::Copier::new());
    let mut copy = Copy { top: target, place, without, older, links, data, progress, done: 0, reported: 0 };
    walk(source, &mut copy)?;
    progress.report("copy", copy.done, None);
    Ok(())
}

struct Copy<'a> {
    top: BorrowedFd<'a>,
    place: Descent,
    /// A directory of the top that stays behind.
    without: Option<&'a CStr>,
    /// A tree whose files are taken over where they are the same.
    older: Option<Older>,
    /// For each file with more than one name: its first name in the target, and how many names are still to come.
    links: HashMap<(u32, u32, u64), (Vec<CString>, u32)>,
    data: data::Copier,
    progress: &'a Progress,
    done: u64,
    reported: u64,
}

impl Visit for Copy<'_> {
    fn file(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if entry.stat.stx_nlink > 1 && self.link(entry)? {
            return Ok(());
        }
        match entry.file_type() {
            FileType::RegularFile => self.regular(entry)?,
            _ => make_special(entry, self.place.current())?,
        }
        if entry.stat.stx_nlink > 1 {
            let names = self.place.names().map(CStr::to_owned).chain([entry.name.to_owned()]).collect();
            self.links.insert(entry.identity(), (names, entry.stat.stx_nlink - 1));
        }
        Ok(())
    }

    fn enter(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        rustix::fs::mkdirat(self.place.current(), entry.name, Mode::RWXU)?;
        self.place.descend(entry.name)?;
        if let Some(older) = &mut self.older {
            older.enter(entry.name);
        }
        Ok(())
    }

    fn leave(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        attributes::copy_to(entry, self.place.current())?;
        if self.place.depth() > 0 {
            self.place.ascend()?;
            self.older.as_mut().map_or(Ok(()), Older::leave)?;
        }
        Ok(())
    }

    fn mount_point(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        rustix::fs::mkdirat(self.place.current(), entry.name, attributes::mode(entry.stat))?;
        Ok(())
    }

    fn passes_over(&self, name: &CStr) -> bool {
        self.without == Some(name)
    }
}

impl Copy<'_> {
    fn regular(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.progress.check()?;
        let source = entry.open()?;
        if let Some(older) = &mut self.older
            && older.take(entry, source.as_fd(), self.place.current())?
        {
            self.count(entry);
            return Ok(());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(self.place.current(), entry.name, flags, Mode::RUSR | Mode::WUSR)?;
        self.data.copy(source.as_fd(), target.as_fd(), entry.stat.stx_size, entry.stat.stx_blocks * 512)?;
        attributes::copy_to(entry, target.as_fd())?;
        self.count(entry);
        Ok(())
    }

    fn count(&mut self, entry: &Entry<'_>) {
        self.done += entry.stat.stx_size;
        if self.done - self.reported >= REPORT {
            self.reported = self.done;
            self.progress.report("copy", self.done, None);
        }
    }

    /// Gives a file that was copied under another name this name too; false if it was not copied yet.
    fn link(&mut self, entry: &Entry<'_>) -> io::Result<bool> {
        let Some((names, left)) = self.links.get_mut(&entry.identity()) else { return Ok(false) };
        let first = open_below(self.top, names)?;
        rustix::fs::linkat(CWD, link(first.as_fd()), self.place.current(), entry.name, AtFlags::SYMLINK_FOLLOW)?;
        *left -= 1;
        if *left == 0 {
            self.links.remove(&entry.identity());
        }
        Ok(true)
    }
}

/// Makes what is neither a regular file nor a directory under its name in a directory.
pub(super) fn make_special(entry: &Entry<'_>, directory: BorrowedFd<'_>) -> io::Result<()> {
    match entry.file_type() {
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(entry.handle, c"", Vec::new())?;
            rustix::fs::symlinkat(text.as_c_str(), directory, entry.name)?;
        }
        kind @ (FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice) => {
            let device = rustix::fs::makedev(entry.stat.stx_rdev_major, entry.stat.stx_rdev_minor);
            rustix::fs::mknodat(directory, entry.name, kind, Mode::empty(), device)?;
        }
        FileType::RegularFile | FileType::Directory | FileType::Unknown => return Err(io::ErrorKind::InvalidData.into()),
    }
    attributes::copy_to_name(entry, directory, entry.name)
}

/// Opens a handle to something below the target, in as many steps as the length of the path asks for.
pub(super) fn open_below(top: BorrowedFd<'_>, names: &[CString]) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut reached: Option<OwnedFd> = None;
    let mut path: Vec<u8> = Vec::new();
    let open = |from: &Option<OwnedFd>, path: &[u8], flags| {
        let from = from.as_ref().map_or(top, AsFd::as_fd);
        coffer_sys::path::openat2(from, path, flags, Mode::empty(), resolve)
    };
    for name in names {
        if !path.is_empty() && path.len() + name.as_bytes().len() >= PATH {
            reached = Some(open(&reached, &path, flags | OFlags::DIRECTORY)?);
            path.clear();
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name.as_bytes());
    }
    // A symbolic link can have several names as well; it is opened itself, for it is the last component.
    let parent_flags = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let from = reached.as_ref().map_or(top, AsFd::as_fd);
    Ok(coffer_sys::path::openat2(from, &path[..], flags, Mode::empty(), parent_flags)?)
}
