//! Doing what a command says in one directory, which nothing leads out of.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_sys::path::openat2;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fremovexattr, fsetxattr, fstat, ftruncate, futimens, linkat, mkdirat, mknodat, openat, renameat_with, statat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;

use super::super::budget::Budget;
use super::super::devices::MAX_DEVICES;
use super::super::entry::{Numbers, Time, split};
use super::super::failure::Failure;
use super::super::tree::{is_kept_xattr, remove_content};
use super::command::Command;
use crate::unpack::acl;

/// How much is copied at once.
const PIECE: usize = 128 << 10;

/// A directory that a stream fills.
pub(in crate::unpack) struct Target {
    top: OwnedFd,
    /// The file that was written to last.
    writing: Option<(Vec<u8>, OwnedFd)>,
    /// Files that stand for nodes that are not made here: what they are to be; nothing for sockets, which stay out.
    pub(super) nodes: HashMap<u64, Option<Numbers>>,
    pub(super) skipped_xattrs: u64,
}

impl Target {
    /// Fills a directory that is empty.
    pub(in crate::unpack) fn new(directory: &OwnedFd) -> Result<Self, Failure> {
        // The mount that the worker was given is only good for a path.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = openat(directory, ".", flags, Mode::empty()).map_err(|errno| Failure::write("opening", b"/", errno))?;
        Ok(Self { top, writing: None, nodes: HashMap::new(), skipped_xattrs: 0 })
    }

    pub(in crate::unpack) fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }

    /// Takes away all that an earlier stream made.
    pub(super) fn empty(&mut self) -> Result<(), Failure> {
        self.writing = None;
        self.nodes.clear();
        remove_content(self.top.as_fd(), 0).map_err(|errno| Failure::write("emptying", b"/", errno))
    }

    /// Does one command that copies nothing.
    pub(super) fn apply(&mut self, command: &Command, budget: &mut Budget) -> Result<(), Failure> {
        match command {
            Command::MakeFile { path } => self.make(path, budget, |target, parent, name| target.make_file(parent, name).map(drop)),
            Command::MakeDirectory { path } => self.make(path, budget, |_, parent, name| {
                mkdirat(parent, name, Mode::RWXU)?;
                forget_lists(parent, name, OFlags::DIRECTORY)
            }),
            Command::MakeNode { path, numbers } => self.stand_in(path, Some(*numbers), budget),
            Command::MakeSocket { path } => self.stand_in(path, None, budget),
            Command::MakeFifo { path } => {
                self.make(path, budget, |_, parent, name| mknodat(parent, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0))
            }
            Command::Symlink { path, text } => self.make(path, budget, |_, parent, name| symlinkat(text.as_slice(), parent, name)),
            Command::Link { path, existing } => {
                let (old, old_name) = self.parent(existing)?;
                self.make(path, budget, |_, parent, name| linkat(&old, old_name, parent, name, AtFlags::empty()))
            }
            Command::Rename { path, to } => {
                self.writing = None;
                let (old, old_name) = self.parent(path)?;
                self.at(to, "renaming to", |parent, name| renameat_with(&old, old_name, parent, name, RenameFlags::empty()))
            }
            Command::Unlink { path } => {
                self.writing = None;
                self.at(path, "removing", |parent, name| unlinkat(parent, name, AtFlags::empty()))
            }
            Command::RemoveDirectory { path } => {
                self.writing = None;
                self.at(path, "removing", |parent, name| unlinkat(parent, name, AtFlags::REMOVEDIR))
            }
            Command::Write { path, at, data } => {
                budget.bytes(data.len() as u64)?;
                let file = self.write_to(path)?;
                write_all(file.as_fd(), data, *at).map_err(|errno| failed("writing", path, errno))
            }
            Command::Truncate { path, size } => {
                let file = self.write_to(path)?;
                ftruncate(file, *size).map_err(|errno| failed("setting the size of", path, errno))
            }
            Command::SetXattr { path, name, value } => {
                self.xattr(path, name, &|file| match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                    Err(Errno::OPNOTSUPP) => Ok(false),
                    set => set.map(|()| true),
                })
            }
            Command::RemoveXattr { path, name } => self.xattr(path, name, &|file| match fremovexattr(file, name.as_slice()) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(true),
                Err(errno) => Err(errno),
            }),
            Command::Mode { path, mode } => self.mode(path, Mode::from_raw_mode(*mode)),
            Command::Owner { path, uid, gid } => {
                let (uid, gid) = (Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)));
                let owned = match path.as_slice() {
                    b"" => fchown(&self.top, uid, gid),
                    _ => self.place(path).and_then(|(parent, name)| chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)),
                };
                owned.map_err(|errno| failed("setting the owner of", path, errno))
            }
            Command::Times { path, accessed, modified } => {
                let times = Timestamps { last_access: time(*accessed), last_modification: time(*modified) };
                let set = match path.as_slice() {
                    b"" => futimens(&self.top, &times),
                    _ => self.place(path).and_then(|(parent, name)| utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)),
                };
                set.map_err(|errno| failed("setting the times of", path, errno))
            }
            Command::Subvolume { .. } | Command::Snapshot { .. } | Command::Clone { .. } | Command::End => {
                Err(Failure::refused(b"", "a command of the stream stands where it means nothing"))
            }
        }
    }

    /// Copies part of a file of this directory, or of the one of an earlier stream, into another one.
    pub(super) fn copy(&mut self, command: &Command, from: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
        let Command::Clone { path, at, length, from: source, from_at, .. } = command else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (parent, name) = place(from.unwrap_or(self.top.as_fd()), source).map_err(|errno| failed("opening", source, errno))?;
        let source = open_regular(parent.as_fd(), name, flags).map_err(|errno| failed("opening", source, errno))?;
        let target = self.write_to(path)?;
        let mut buffer = vec![0; PIECE];
        let (mut done, fail) = (0_u64, |errno| failed("copying into", path, errno));
        while done < *length {
            let wanted = usize::try_from(*length - done).unwrap_or(PIECE).min(PIECE);
            let begin = from_at.checked_add(done).ok_or_else(|| fail(Errno::OVERFLOW))?;
            let count = rustix::io::pread(&source, &mut buffer[..wanted], begin).map_err(fail)?;
            if count == 0 {
                return Err(fail(Errno::NODATA));
            }
            write_all(target.as_fd(), &buffer[..count], at.checked_add(done).ok_or_else(|| fail(Errno::OVERFLOW))?).map_err(fail)?;
            done += count as u64;
        }
        Ok(())
    }

    fn make(
        &mut self,
        path: &[u8],
        budget: &mut Budget,
        make: impl FnOnce(&Self, BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), Failure> {
        budget.file()?;
        let (parent, name) = self.parent(path)?;
        make(self, parent.as_fd(), name).map_err(|errno| failed("making", path, errno))
    }

    fn make_file(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
        forget_list(file.as_fd(), acl::ACCESS)?;
        Ok(file)
    }

    /// Makes a file in the place of a node that only the daemon may make, or that stays out.
    fn stand_in(&mut self, path: &[u8], numbers: Option<Numbers>, budget: &mut Budget) -> Result<(), Failure> {
        if self.nodes.len() >= MAX_DEVICES {
            return Err(Failure::Limit { limit: MAX_DEVICES as u64, unit: "device nodes and sockets".into() });
        }
        budget.file()?;
        let (parent, name) = self.parent(path)?;
        let made = self.make_file(parent.as_fd(), name).and_then(|file| fstat(&file));
        let stat = made.map_err(|errno| failed("making", path, errno))?;
        self.nodes.insert(stat.st_ino, numbers);
        Ok(())
    }

    fn at(&self, path: &[u8], doing: &str, act: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<(), Errno>) -> Result<(), Failure> {
        let (parent, name) = self.parent(path)?;
        act(parent.as_fd(), name).map_err(|errno| failed(doing, path, errno))
    }

    fn xattr(&mut self, path: &[u8], name: &[u8], act: &dyn Fn(BorrowedFd<'_>) -> Result<bool, Errno>) -> Result<(), Failure> {
        let fail = |errno| failed("setting an extended attribute of", path, errno);
        // Links and pipes have none that an instance may set.
        if is_kept_xattr(name)
            && let Some(file) = self.open_with_xattrs(path).map_err(fail)?
            && act(file.as_fd()).map_err(fail)?
        {
            return Ok(());
        }
        self.skipped_xattrs += 1;
        Ok(())
    }

    fn open_with_xattrs(&self, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        if path.is_empty() {
            return self.top.try_clone().map(Some).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        let (parent, name) = self.place(path)?;
        let kind = FileType::from_raw_mode(statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Ok(None);
        }
        openat(&parent, name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map(Some)
    }

    fn mode(&self, path: &[u8], mode: Mode) -> Result<(), Failure> {
        let set = || {
            if path.is_empty() {
                return fchmod(&self.top, mode);
            }
            let (parent, name) = self.place(path)?;
            match FileType::from_raw_mode(statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
                FileType::Symlink => Ok(()),
                _ => chmodat(&parent, name, mode, AtFlags::empty()),
            }
        };
        set().map_err(|errno| failed("setting the permissions of", path, errno))
    }

    /// The file that is written to, which stays open for what comes next.
    fn write_to(&mut self, path: &[u8]) -> Result<&OwnedFd, Failure> {
        if self.writing.as_ref().is_none_or(|(open, _)| open != path) {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = self.place(path).and_then(|(parent, name)| open_regular(parent.as_fd(), name, flags));
            self.writing = Some((path.to_vec(), opened.map_err(|errno| failed("opening", path, errno))?));
        }
        Ok(&self.writing.as_ref().expect("it was opened just now").1)
    }

    fn parent<'p>(&self, path: &'p [u8]) -> Result<(OwnedFd, &'p [u8]), Failure> {
        self.place(path).map_err(|errno| failed("entering the directory of", path, errno))
    }

    fn place<'p>(&self, path: &'p [u8]) -> Result<(OwnedFd, &'p [u8]), Errno> {
        place(self.top.as_fd(), path)
    }
}

/// The directory that a path ends in, and the name there. The top itself has none.
fn place<'p>(top: BorrowedFd<'_>, path: &'p [u8]) -> Result<(OwnedFd, &'p [u8]), Errno> {
    let (above, name) = split(path);
    if name.is_empty() {
        return Err(Errno::INVAL);
    }
    let above: &[u8] = if above.is_empty() { b"." } else { above };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok((openat2(top, above, flags, Mode::empty(), resolve)?, name))
}

fn open_regular(parent: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let file = openat(parent, name, flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(Errno::INVAL),
    }
}

/// Takes away the lists that something new has from its directory: the stream says all that it has.
fn forget_lists(parent: BorrowedFd<'_>, name: &[u8], kind: OFlags) -> Result<(), Errno> {
    let made = openat(parent, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind, Mode::empty())?;
    forget_list(made.as_fd(), acl::ACCESS)?;
    forget_list(made.as_fd(), acl::DEFAULT)
}

pub(super) fn forget_list(file: BorrowedFd<'_>, list: &[u8]) -> Result<(), Errno> {
    match fremovexattr(file, list) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(file, bytes, at)?;
        at += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

fn time(time: Time) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() }
}

/// What cannot be done is the stream's fault, unless the disk is full or fails.
pub(in crate::unpack) fn failed(doing: &str, path: &[u8], errno: Errno) -> Failure {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO | Errno::ROFS | Errno::NOMEM | Errno::NOSYS => {
            Failure::write(doing, path, errno)
        }
        errno => Failure::refused(path, format!("{doing} it is not possible: {errno}")),
    }
}
