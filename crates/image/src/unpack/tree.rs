//! Writing members into a directory that nothing of theirs can leave.
//!
//! Every call is relative to a descriptor of the member's parent, which is reached from the tree's root one name at a time; where
//! a name turns out to be a symbolic link, the whole way is resolved by the kernel with the tree as its root (`RESOLVE_IN_ROOT`).

mod layers;

pub(super) use layers::{remove, remove_content};

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_sys::path::openat2;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown, fsetxattr,
    fstat, ftruncate, futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::acl;
use super::budget::Budget;
use super::devices::{Device, MAX_DEVICES};
use super::entry::{Content, Entry, Kind, Numbers, Piece, Time, Xattr, split};
use super::failure::Failure;

/// A directory being filled.
pub(super) struct Tree {
    dirs: Dirs,
    late: Vec<Late>,
    /// New files take their parent's group here, so every owner must be set.
    group_inherited: bool,
    /// Device nodes to be made by somebody who may, where they are wanted.
    pub(super) devices: Option<Vec<Device>>,
    pub(super) skipped_devices: u64,
    pub(super) skipped_xattrs: u64,
}

/// What a directory gets when nothing more is put into it.
struct Late {
    path: Vec<u8>,
    mode: Option<Mode>,
    mtime: Time,
    xattrs: Vec<Xattr>,
}

impl Tree {
    /// Fills the directory `root`, which should be empty and belong to the caller; notes device nodes if asked to.
    pub(super) fn new(root: OwnedFd, devices: bool) -> Result<Self, Failure> {
        let group_inherited = inherits_group(root.as_fd()).map_err(|errno| Failure::write("looking at", b"/", errno))?;
        let dirs = Dirs { root, path: Vec::new(), chain: Vec::new(), replaces_directories: false };
        let devices = devices.then(Vec::new);
        Ok(Self { dirs, late: Vec::new(), group_inherited, devices, skipped_devices: 0, skipped_xattrs: 0 })
    }

    /// Writes one member. What an earlier member of the same name made is replaced, but for directories, which stay.
    pub(super) fn put(&mut self, entry: Entry, content: &mut dyn Content, budget: &mut Budget) -> Result<(), Failure> {
        budget.file()?;
        if entry.path.is_empty() {
            return self.top(entry, budget);
        }
        match &entry.kind {
            Kind::Directory => self.directory(entry, budget),
            Kind::File(size) => self.file(&entry, *size, content, budget),
            Kind::Symlink(text) => self.symlink(&entry, text, budget),
            Kind::Hardlink(target) => self.hard_link(&entry.path, target, budget),
            Kind::Fifo => self.fifo(&entry, budget),
            Kind::Device(numbers) => self.device(&entry, *numbers, budget),
            Kind::Socket => {
                self.skipped_devices += 1;
                Ok(())
            }
        }
    }

    /// Gives directories the attributes that had to wait; call it after the last member.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        for late in std::mem::take(&mut self.late) {
            self.finish_directory(&late).or_else(|errno| match errno {
                // A later member took the directory's place.
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Ok(()),
                errno => Err(Failure::write("finishing the directory", &late.path, errno)),
            })?;
        }
        Ok(())
    }

    fn finish_directory(&mut self, late: &Late) -> Result<(), Errno> {
        if late.mode.is_none() && late.xattrs.is_empty() {
            let path = if late.path.is_empty() { b".".as_slice() } else { &late.path };
            return utimensat(&self.dirs.root, path, &times(late.mtime), AtFlags::SYMLINK_NOFOLLOW);
        }
        let dir = self.dirs.open_no_links(&late.path)?;
        self.skipped_xattrs += set_xattrs(dir.as_fd(), &late.xattrs)?;
        if let Some(mode) = late.mode {
            fchmod(&dir, mode)?;
        }
        futimens(&dir, &times(late.mtime))
    }

    fn top(&mut self, entry: Entry, budget: &mut Budget) -> Result<(), Failure> {
        if entry.kind != Kind::Directory {
            return Err(Failure::refused(b"/", "the root file system's top must be a directory"));
        }
        let owner = fchown(&self.dirs.root, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        owner.map_err(|errno| Failure::write("setting the owner of", b"/", errno))?;
        self.later(Late { path: Vec::new(), mode: Some(mode(entry.mode)), mtime: entry.mtime, xattrs: entry.xattrs }, budget)
    }

    /// Remembers what a directory gets at the end.
    fn later(&mut self, late: Late, budget: &mut Budget) -> Result<(), Failure> {
        budget.hold(late.path.len() + late.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>())?;
        self.late.push(late);
        Ok(())
    }

    fn directory(&mut self, entry: Entry, budget: &mut Budget) -> Result<(), Failure> {
        let failed = |errno| Failure::write("making the directory", &entry.path, errno);
        let (above, name) = split(&entry.path);
        let plain = Mode::from_raw_mode(entry.mode & 0o777);
        let parent = self.dirs.parent(above, budget)?;
        // One that was there has whatever mode it was made with.
        let mut there = false;
        match mkdirat(parent, name, plain) {
            Ok(()) => {}
            Err(Errno::EXIST) if is_directory(parent, name).map_err(failed)? => there = true,
            Err(Errno::EXIST) => {
                self.dirs.replace(above, name, budget)?;
                mkdirat(self.dirs.parent(above, budget)?, name, plain).map_err(failed)?;
            }
            Err(errno) => return Err(failed(errno)),
        }
        let parent = self.dirs.parent(above, budget)?;
        if there || self.group_inherited || entry.uid != 0 || entry.gid != 0 {
            own(parent, name, &entry).map_err(|errno| owner_failure(&entry, errno))?;
        }
        let special = there || entry.mode & 0o7000 != 0;
        let late = Late { mode: special.then(|| mode(entry.mode)), mtime: entry.mtime, xattrs: entry.xattrs, path: entry.path };
        self.later(late, budget)
    }

    fn file(&mut self, entry: &Entry, size: u64, content: &mut dyn Content, budget: &mut Budget) -> Result<(), Failure> {
        let (above, name) = split(&entry.path);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.dirs.make(above, name, budget, |parent| openat(parent, name, flags, Mode::from_raw_mode(entry.mode & 0o777)));
        let file = file?.map_err(|errno| Failure::write("making the file", &entry.path, errno))?;
        write_content(file.as_fd(), &entry.path, size, content, budget)?;
        if self.group_inherited || entry.uid != 0 || entry.gid != 0 {
            let owner = fchown(&file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
            owner.map_err(|errno| owner_failure(entry, errno))?;
        }
        // After the owner: a change of owner takes setuid bits and capabilities away.
        if entry.mode & 0o7000 != 0 {
            fchmod(&file, mode(entry.mode)).map_err(|errno| Failure::write("setting the mode of", &entry.path, errno))?;
        }
        if !entry.xattrs.is_empty() {
            let skipped = set_xattrs(file.as_fd(), &entry.xattrs);
            self.skipped_xattrs += skipped.map_err(|errno| Failure::write("setting extended attributes of", &entry.path, errno))?;
        }
        futimens(&file, &times(entry.mtime)).map_err(|errno| Failure::write("setting the time of", &entry.path, errno))
    }

    fn symlink(&mut self, entry: &Entry, text: &[u8], budget: &mut Budget) -> Result<(), Failure> {
        let (above, name) = split(&entry.path);
        let made = self.dirs.make(above, name, budget, |parent| symlinkat(text, parent, name))?;
        made.map_err(|errno| Failure::write("making the symbolic link", &entry.path, errno))?;
        self.skipped_xattrs += entry.xattrs.len() as u64;
        self.nameless_attributes(entry, budget)
    }

    fn fifo(&mut self, entry: &Entry, budget: &mut Budget) -> Result<(), Failure> {
        let (above, name) = split(&entry.path);
        let permissions = mode(entry.mode & 0o777);
        let made = self.dirs.make(above, name, budget, |parent| mknodat(parent, name, FileType::Fifo, permissions, 0))?;
        made.map_err(|errno| Failure::write("making the pipe", &entry.path, errno))?;
        self.skipped_xattrs += entry.xattrs.len() as u64;
        self.nameless_attributes(entry, budget)
    }

    /// Makes what may be made without a right over devices; notes the rest, if it is wanted.
    fn device(&mut self, entry: &Entry, numbers: Option<Numbers>, budget: &mut Budget) -> Result<(), Failure> {
        if numbers != Some(Numbers::WHITEOUT) {
            match (&mut self.devices, numbers) {
                (Some(devices), Some(numbers)) if devices.len() < MAX_DEVICES => devices.push(Device::of(entry, numbers)),
                _ => self.skipped_devices += 1,
            }
            return Ok(());
        }
        let (above, name) = split(&entry.path);
        let permissions = mode(entry.mode & 0o777);
        let made = self.dirs.make(above, name, budget, |parent| mknodat(parent, name, FileType::CharacterDevice, permissions, 0))?;
        made.map_err(|errno| Failure::write("making the whiteout", &entry.path, errno))?;
        self.skipped_xattrs += entry.xattrs.len() as u64;
        self.nameless_attributes(entry, budget)
    }

    /// Sets owner and time of what is not opened.
    fn nameless_attributes(&mut self, entry: &Entry, budget: &mut Budget) -> Result<(), Failure> {
        let (above, name) = split(&entry.path);
        let parent = self.dirs.parent(above, budget)?;
        if self.group_inherited || entry.uid != 0 || entry.gid != 0 {
            own(parent, name, entry).map_err(|errno| owner_failure(entry, errno))?;
        }
        // After the owner, as for files. The name is one that was just made here, and no link's.
        if entry.mode & 0o7000 != 0 && !matches!(entry.kind, Kind::Symlink(_)) {
            let changed = chmodat(parent, name, mode(entry.mode), AtFlags::empty());
            changed.map_err(|errno| Failure::write("setting the mode of", &entry.path, errno))?;
        }
        let timed = utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW);
        timed.map_err(|errno| Failure::write("setting the time of", &entry.path, errno))
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8], budget: &mut Budget) -> Result<(), Failure> {
        let (above, name) = split(path);
        let (target_above, target_name) = split(target);
        if target_name.is_empty() {
            return Err(Failure::refused(path, "it is a hard link to the root directory"));
        }
        if path == target {
            return Ok(());
        }
        let missing = |errno| match errno {
            Errno::NOENT | Errno::NOTDIR => {
                Failure::refused(path, format!("it is a hard link to {}, which is not there", super::failure::printable(target)))
            }
            errno => Failure::write("making the hard link", path, errno),
        };
        let source = self.dirs.open(target_above).map_err(missing)?;
        // Without SYMLINK_FOLLOW: a hard link to a symbolic link links the link.
        let made = self.dirs.make(above, name, budget, |parent| linkat(&source, target_name, parent, name, AtFlags::empty()))?;
        made.map_err(missing)
    }
}

/// The tree's directories, and the way from its root to the one in use.
struct Dirs {
    root: OwnedFd,
    /// The path of the directory in use.
    path: Vec<u8>,
    /// Descriptors for each of its parts, with where in `path` the part ends.
    chain: Vec<(usize, OwnedFd)>,
    /// Whether a directory with something in it may be replaced too.
    replaces_directories: bool,
}

impl Dirs {
    /// The directory at `path`, made with all above it where missing.
    fn parent(&mut self, path: &[u8], budget: &mut Budget) -> Result<BorrowedFd<'_>, Failure> {
        if path != self.path {
            self.walk(path, budget)?;
        }
        Ok(self.chain.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    fn walk(&mut self, path: &[u8], budget: &mut Budget) -> Result<(), Failure> {
        let shared = |end: usize| path.get(..end) == self.path.get(..end) && matches!(path.get(end), None | Some(b'/'));
        let keep = self.chain.iter().take_while(|(end, _)| shared(*end)).count();
        self.chain.truncate(keep);
        let mut start = self.chain.last().map_or(0, |(end, _)| end + 1);
        self.path.clear();
        self.path.extend_from_slice(&path[..start.saturating_sub(1)]);
        while start < path.len() {
            let end = path[start..].iter().position(|&byte| byte == b'/').map_or(path.len(), |at| start + at);
            let fd = self.enter(path, start, end, budget)?;
            self.chain.push((end, fd));
            self.path.clear();
            self.path.extend_from_slice(&path[..end]);
            start = end + 1;
        }
        Ok(())
    }

    /// Opens `path[start..end]` in the directory that the chain ends in.
    fn enter(&self, path: &[u8], start: usize, end: usize, budget: &mut Budget) -> Result<OwnedFd, Failure> {
        let above = self.chain.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
        let name = &path[start..end];
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(above, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                budget.file()?;
                mkdirat(above, name, Mode::from_raw_mode(0o755)).and_then(|()| openat(above, name, flags, Mode::empty()))
            }
            Err(Errno::NOTDIR | Errno::LOOP) => match self.open(&path[..end]) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                    return Err(Failure::refused(path, "what stands above it is no directory of the image"));
                }
                opened => opened,
            },
            opened => opened,
        };
        opened.map_err(|errno| Failure::write("entering", &path[..end], errno))
    }

    /// Opens a directory that exists, following links within the tree.
    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::PATH, ResolveFlags::empty())
    }

    /// Opens a directory for its attributes; a link on the way is `ELOOP`.
    fn open_no_links(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::RDONLY, ResolveFlags::NO_SYMLINKS)
    }

    fn resolve(&self, path: &[u8], flags: OFlags, more: ResolveFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        openat2(&self.root, path, flags | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// Makes something in the directory `above`; if its name is taken, once more after removing what had it.
    fn make<T>(
        &mut self,
        above: &[u8],
        name: &[u8],
        budget: &mut Budget,
        mut make: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<Result<T, Errno>, Failure> {
        match make(self.parent(above, budget)?) {
            Err(Errno::EXIST) => {
                self.replace(above, name, budget)?;
                Ok(make(self.parent(above, budget)?))
            }
            made => Ok(made),
        }
    }

    /// Removes what an earlier member made. A directory goes only if it is empty.
    fn replace(&mut self, above: &[u8], name: &[u8], budget: &mut Budget) -> Result<(), Failure> {
        let whole_directories = self.replaces_directories;
        let parent = self.parent(above, budget)?;
        let whole = [above, name].join(&b'/');
        let directory = is_directory(parent, name).map_err(|errno| Failure::write("replacing", &whole, errno))?;
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match unlinkat(parent, name, flags) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY) if whole_directories => {
                remove(parent, name, 0).map_err(|errno| Failure::write("replacing", &whole, errno))?;
            }
            Err(Errno::NOTEMPTY) => return Err(Failure::refused(&whole, "it would replace a directory that is not empty")),
            Err(errno) => return Err(Failure::write("replacing", &whole, errno)),
        }
        // A descriptor in the chain may be of what was just removed, or have been reached through it.
        self.chain.clear();
        self.path.clear();
        Ok(())
    }
}

fn write_content(file: BorrowedFd<'_>, path: &[u8], size: u64, content: &mut dyn Content, budget: &mut Budget) -> Result<(), Failure> {
    let failed = |errno| Failure::write("writing", path, errno);
    let (mut at, mut holes) = (0_u64, false);
    while let Some(piece) = content.piece()? {
        match piece {
            Piece::Hole(length) => {
                at += length;
                holes = true;
            }
            Piece::Bytes(mut bytes) => {
                budget.bytes(bytes.len() as u64)?;
                while !bytes.is_empty() {
                    let written = if holes { rustix::io::pwrite(file, bytes, at) } else { rustix::io::write(file, bytes) };
                    let written = written.map_err(failed)?;
                    at += written as u64;
                    bytes = &bytes[written..];
                }
            }
        }
    }
    if holes { ftruncate(file, size).map_err(failed) } else { Ok(()) }
}

fn owner_failure(entry: &Entry, errno: Errno) -> Failure {
    if errno == Errno::INVAL {
        return Failure::refused(&entry.path, format!("its owner {}:{} is beyond the ids that an instance can have", entry.uid, entry.gid));
    }
    Failure::write("setting the owner of", &entry.path, errno)
}

fn own(parent: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Errno> {
    chownat(parent, name, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)), AtFlags::SYMLINK_NOFOLLOW)
}

fn is_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Says whether what is made in `dir` gets the directory's group: its setgid bit or a mount option may ask for that.
fn inherits_group(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    const PROBE: &str = ".probe";
    if fstat(dir)?.st_mode & 0o2000 != 0 {
        return Ok(true);
    }
    mkdirat(dir, PROBE, Mode::RWXU)?;
    let inherited = inherits_group_within(dir, PROBE);
    unlinkat(dir, PROBE, AtFlags::REMOVEDIR)?;
    inherited
}

fn inherits_group_within(dir: BorrowedFd<'_>, probe: &str) -> Result<bool, Errno> {
    let inner = format!("{probe}/{probe}");
    chownat(dir, probe, None, Some(Gid::from_raw(1)), AtFlags::SYMLINK_NOFOLLOW)?;
    mkdirat(dir, &inner, Mode::RWXU)?;
    let group = statat(dir, &inner, AtFlags::SYMLINK_NOFOLLOW)?.st_gid;
    unlinkat(dir, &inner, AtFlags::REMOVEDIR)?;
    Ok(group != 0)
}

/// Sets the attributes that an instance may have; says how many were left out.
///
/// `trusted.*` and the labels of security modules belong to the host. A capability is never left out silently: `ping` would
/// stop working without a word.
fn set_xattrs(file: BorrowedFd<'_>, xattrs: &[Xattr]) -> Result<u64, Errno> {
    let mut skipped = 0;
    for (name, value) in xattrs {
        match is_kept_xattr(name).then(|| fsetxattr(file, name.as_slice(), value, XattrFlags::empty())) {
            Some(Ok(())) => {}
            Some(Err(Errno::OPNOTSUPP)) | None => skipped += 1,
            Some(Err(errno)) => return Err(errno),
        }
    }
    Ok(skipped)
}

/// Says whether an instance may have an attribute of this name.
pub(super) fn is_kept_xattr(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") || name == acl::ACCESS || name == acl::DEFAULT
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits & 0o7777)
}

fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}
