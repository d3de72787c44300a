//! Files of an older tree that a copy can take over, because they are already what they would become.
//!
//! Only what is equal to the last byte is taken: times and sizes can be set at will by who changed a file, and giving back what
//! was there before is what a restore is for.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags};

use super::attributes;
use super::descent::Descent;
use super::walk::{Entry, link};

/// How much of two files is compared at once.
const PIECE: usize = 128 << 10;

/// An older tree, gone through beside the one that is copied.
pub(super) struct Older {
    place: Descent,
    /// How many directories above the present one are not there in the older tree.
    lost: usize,
    pieces: [Vec<u8>; 2],
}

impl Older {
    /// Starts at the top.
    pub(super) fn new(top: BorrowedFd<'_>) -> io::Result<Self> {
        let top = rustix::fs::openat(top, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { place: Descent::new(top)?, lost: 0, pieces: [vec![0; PIECE], vec![0; PIECE]] })
    }

    /// Goes into a directory, which may not be there.
    pub(super) fn enter(&mut self, name: &CStr) {
        if self.lost > 0 || self.place.descend(name).is_err() {
            self.lost += 1;
        }
    }

    /// Goes back up.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        if self.lost > 0 {
            self.lost -= 1;
            return Ok(());
        }
        self.place.ascend().map(drop)
    }

    /// The older tree's directory at this place, if it is there.
    pub(super) fn here(&self) -> Option<BorrowedFd<'_>> {
        (self.lost == 0).then(|| self.place.current())
    }

    /// Opens the regular file of this name at this place, if there is one.
    pub(super) fn open(&self, name: &CStr) -> io::Result<Option<OwnedFd>> {
        let Some(handle) = self.handle(name) else { return Ok(None) };
        let stat = rustix::fs::statx(&handle, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        let older = Entry { name, handle: handle.as_fd(), stat: &stat };
        if older.file_type() == FileType::RegularFile { older.open().map(Some) } else { Ok(None) }
    }

    fn handle(&self, name: &CStr) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.here().and_then(|here| rustix::fs::openat(here, name, flags, Mode::empty()).ok())
    }

    /// Says whether the file of this name at this place is all that the entry is, to the last byte.
    ///
    /// A file with several names never is: which of them belong together may have changed. Nor is one with holes, whose
    /// comparing could take long.
    pub(super) fn has(&mut self, entry: &Entry<'_>, content: BorrowedFd<'_>) -> io::Result<bool> {
        self.equal(entry, content).map(|found| found.is_some())
    }

    /// Gives the file of the older tree that is all that the entry is the same name in `target` too; false if there is none.
    ///
    /// Which are equal, [`Older::has`] says.
    pub(super) fn take(&mut self, entry: &Entry<'_>, content: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<bool> {
        let Some(handle) = self.equal(entry, content)? else { return Ok(false) };
        // It may carry a flag that forbids new names (`chattr +i`), or belong to another project: then it is copied.
        Ok(rustix::fs::linkat(CWD, link(handle.as_fd()), target, entry.name, AtFlags::SYMLINK_FOLLOW).is_ok())
    }

    /// The file of this name at this place if it is all that the entry is.
    fn equal(&mut self, entry: &Entry<'_>, content: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
        if entry.stat.stx_nlink != 1 || entry.stat.stx_blocks * 512 < entry.stat.stx_size {
            return Ok(None);
        }
        let Some(handle) = self.handle(entry.name) else { return Ok(None) };
        let stat = rustix::fs::statx(&handle, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        if !alike(entry.stat, &stat) || !attributes::same_xattrs(entry.handle, handle.as_fd())? {
            return Ok(None);
        }
        let older = Entry { name: entry.name, handle: handle.as_fd(), stat: &stat }.open()?;
        Ok(if self.same_content(content, &older)? { Some(handle) } else { None })
    }

    fn same_content(&mut self, one: BorrowedFd<'_>, other: &OwnedFd) -> io::Result<bool> {
        let [first, second] = &mut self.pieces;
        let mut at = 0;
        loop {
            let count = fill(one, first, at)?;
            if fill(other.as_fd(), second, at)? != count || first[..count] != second[..count] {
                return Ok(false);
            }
            if count < PIECE {
                return Ok(true);
            }
            at += count as u64;
        }
    }
}

/// Says whether two regular files are the same in all but their content and extended attributes.
fn alike(one: &Statx, other: &Statx) -> bool {
    let what = |stat: &Statx| (stat.stx_mode, stat.stx_uid, stat.stx_gid, stat.stx_nlink, stat.stx_size);
    let when = |stat: &Statx| (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
    FileType::from_raw_mode(one.stx_mode.into()) == FileType::RegularFile && what(one) == what(other) && when(one) == when(other)
}

/// Reads until the buffer is full or the file ends.
pub(super) fn fill(file: BorrowedFd<'_>, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer[count..], at + count as u64))? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}
