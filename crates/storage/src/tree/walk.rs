//! Going through a tree, which may change meanwhile, and calling a visitor at each thing in it.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::TreeError;
use super::descent::Descent;

/// One thing in a tree.
pub(crate) struct Entry<'a> {
    /// Its name; `.` for the tree's top.
    pub(crate) name: &'a CStr,
    /// A handle (`O_PATH`) to exactly this thing, whatever its name means by now; a real descriptor for a directory
    /// that is left.
    pub(crate) handle: BorrowedFd<'a>,
    /// What it is.
    pub(crate) stat: &'a Statx,
}

/// What is done at each thing in a tree.
pub(crate) trait Visit {
    /// Something that is no directory.
    fn file(&mut self, entry: &Entry<'_>) -> io::Result<()>;

    /// A directory, before what is in it.
    fn enter(&mut self, entry: &Entry<'_>) -> io::Result<()>;

    /// A directory, after what is in it; the top too, which is not entered.
    fn leave(&mut self, entry: &Entry<'_>) -> io::Result<()>;

    /// A directory where something is mounted, which is not gone into.
    fn mount_point(&mut self, entry: &Entry<'_>) -> io::Result<()>;

    /// Says whether a directory of the tree's top is passed over as if it were not there.
    fn passes_over(&self, _name: &CStr) -> bool {
        false
    }
}

/// A directory that is being gone through.
struct Frame {
    stat: Statx,
    pending: Vec<CString>,
}

impl Entry<'_> {
    /// Its type.
    pub(crate) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.stx_mode.into())
    }

    /// Device and inode.
    pub(crate) fn identity(&self) -> (u32, u32, u64) {
        (self.stat.stx_dev_major, self.stat.stx_dev_minor, self.stat.stx_ino)
    }

    /// Opens exactly this thing for reading.
    ///
    /// Only for regular files and directories: opening a device would act on it.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::CLOEXEC;
        Ok(rustix::fs::open(link(self.handle), flags, Mode::empty())?)
    }
}

/// The path by which this process reaches what a descriptor is open on.
pub(crate) fn link(handle: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

/// Goes through the tree below `top`. Things that vanish meanwhile are passed over.
pub(crate) fn walk(top: BorrowedFd<'_>, visit: &mut dyn Visit) -> Result<(), TreeError> {
    let at = |descent: &Descent, name: &CStr, cause: io::Error| TreeError { path: descent.path(name).into(), cause };
    let start = || -> io::Result<(Descent, Frame)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(top, c".", flags, Mode::empty())?;
        let stat = statx(top.as_fd())?;
        Ok((Descent::new(top)?, Frame { stat, pending: Vec::new() }))
    };
    let (mut descent, frame) = start().map_err(|cause| TreeError { path: Path::new(".").into(), cause })?;
    let mut frames = vec![frame];
    files(&descent, &mut frames, visit)?;
    while let Some(frame) = frames.last_mut() {
        if let Some(name) = frame.pending.pop() {
            if descent.depth() == 0 && visit.passes_over(&name) {
                continue;
            }
            match enter(&mut descent, &name, visit) {
                Ok(Some(frame)) => {
                    frames.push(frame);
                    files(&descent, &mut frames, visit)?;
                }
                Ok(None) => {}
                Err(cause) => return Err(at(&descent, &name, cause)),
            }
            continue;
        }
        let entry = Entry { name: c".", handle: descent.current(), stat: &frame.stat };
        visit.leave(&entry).map_err(|cause| at(&descent, c".", cause))?;
        frames.pop();
        if !frames.is_empty() {
            descent.ascend().map_err(|cause| at(&descent, c"..", cause))?;
        }
    }
    Ok(())
}

/// Visits what is no directory in the current one, and notes the directories.
fn files(descent: &Descent, frames: &mut [Frame], visit: &mut dyn Visit) -> Result<(), TreeError> {
    let Some(frame) = frames.last_mut() else { return Ok(()) };
    let at = |name: &CStr, cause: io::Error| TreeError { path: descent.path(name).into(), cause };
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(descent.current(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| at(c".", errno.into()))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            frame.pending.push(name.to_owned());
            continue;
        }
        let Some((handle, stat)) = look(descent.current(), name).map_err(|cause| at(name, cause))? else { continue };
        let entry = Entry { name, handle: handle.as_fd(), stat: &stat };
        if entry.file_type() == FileType::Directory {
            frame.pending.push(name.to_owned());
        } else if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            visit.file(&entry).map_err(|cause| at(name, cause))?;
        }
    }
    Ok(())
}

/// Goes into a directory; nothing if it vanished or something is mounted there.
fn enter(descent: &mut Descent, name: &CStr, visit: &mut dyn Visit) -> io::Result<Option<Frame>> {
    let Some((handle, stat)) = look(descent.current(), name)? else { return Ok(None) };
    let entry = Entry { name, handle: handle.as_fd(), stat: &stat };
    match entry.file_type() {
        FileType::Directory => {}
        // Something else took the place of the directory.
        _ => {
            visit.file(&entry)?;
            return Ok(None);
        }
    }
    if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        visit.mount_point(&entry)?;
        return Ok(None);
    }
    match descent.descend(name) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let stat = statx(descent.current())?;
    visit.enter(&Entry { name, handle: descent.current(), stat: &stat })?;
    Ok(Some(Frame { stat, pending: Vec::new() }))
}

fn look(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<(OwnedFd, Statx)>> {
    let handle = match rustix::fs::openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let stat = statx(handle.as_fd())?;
    Ok(Some((handle, stat)))
}

fn statx(handle: BorrowedFd<'_>) -> io::Result<Statx> {
    Ok(rustix::fs::statx(handle, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?)
}
