//! Going through a tree that may change meanwhile and whose names and links mean nothing good.
//!
//! Every name is opened relative to its directory's descriptor and never followed, so nothing outside is reached: not by links,
//! and not by whoever moves directories about. What vanishes on the way is left out; what is sized anew is cut or filled up.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_model::IdRange;
use coffer_sys::path::openat2;
use rustix::fs::{FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, Stat, fstat, readlinkat, seek};
use rustix::io::Errno;

use super::attributes::{self, Record};
use super::header::{BLOCK, Header, Kind};
use super::sink::Sink;
use crate::unpack::entry::MAX_PATH;
use crate::unpack::failure::Failure;

/// Writes trees into an archive.
pub(super) struct Trees<'s, 'r> {
    sink: &'s mut Sink<'r>,
    /// The member that is being written.
    path: Vec<u8>,
    /// The host's ids that files have on disk.
    ids: Option<IdRange>,
    /// The latest time that a member has, in an archive that is the same whenever it is written.
    latest: Option<i64>,
    /// Files with several names: the first name, and how many are still to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    header: Vec<u8>,
    names: Vec<u8>,
    pub(super) files: u64,
    pub(super) skipped_sockets: u64,
}

/// A directory that is being gone through.
struct Level {
    directory: OwnedFd,
    /// Its entries, the last first.
    entries: Vec<(CString, FileType)>,
    /// How long the path to it is.
    path: usize,
}

impl<'s, 'r> Trees<'s, 'r> {
    pub(super) fn new(sink: &'s mut Sink<'r>, latest: Option<i64>) -> Self {
        let (path, header, names) = (Vec::new(), Vec::new(), Vec::new());
        Self { sink, path, ids: None, latest, links: HashMap::new(), header, names, files: 0, skipped_sockets: 0 }
    }

    /// Writes a file of this text, readable for all.
    pub(super) fn text(&mut self, name: &str, text: &[u8]) -> Result<(), Failure> {
        let kind = Kind::File(text.len() as u64);
        let header = Header { name: name.as_bytes(), kind, mode: 0o644, uid: 0, gid: 0, mtime: (0, 0), attributes: &[] };
        self.head(&header)?;
        self.sink.put(text)?;
        self.sink.pad(text.len() as u64)
    }

    /// Writes a file that is open, readable for root alone.
    pub(super) fn open(&mut self, name: &str, file: BorrowedFd<'_>) -> Result<(), Failure> {
        self.path.clear();
        self.path.extend_from_slice(name.as_bytes());
        let size = fstat(file).map_err(|errno| self.failed(errno))?.st_size.unsigned_abs();
        let kind = Kind::File(size);
        self.head(&Header { name: name.as_bytes(), kind, mode: 0o600, uid: 0, gid: 0, mtime: (0, 0), attributes: &[] })?;
        self.content(file, 0, size)?;
        self.sink.pad(size)
    }

    /// Writes an empty directory that belongs to root.
    pub(super) fn directory(&mut self, name: &str) -> Result<(), Failure> {
        let name = format!("{}/", name.trim_end_matches('/'));
        self.head(&Header { name: name.as_bytes(), kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), attributes: &[] })
    }

    /// Writes what stands in `directory` under `entry`, with all below it, as `name`. False if it is not there.
    pub(super) fn tree(&mut self, directory: BorrowedFd<'_>, entry: &CStr, name: &str, ids: Option<IdRange>) -> Result<bool, Failure> {
        self.ids = ids;
        self.links.clear();
        self.path.clear();
        self.path.extend_from_slice(name.as_bytes());
        let top = match open(directory, entry, OFlags::NONBLOCK) {
            Ok(top) => top,
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::LOOP) => return Err(Failure::refused(&self.path, "it is a symbolic link")),
            Err(errno) => return Err(self.failed(errno)),
        };
        let stat = fstat(&top).map_err(|errno| self.failed(errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.regular(top.as_fd(), &stat)?,
            FileType::Directory => self.walk(top)?,
            _ => return Err(Failure::refused(&self.path, "it is neither a file nor a directory")),
        }
        Ok(true)
    }

    fn walk(&mut self, top: OwnedFd) -> Result<(), Failure> {
        let mut levels = vec![self.enter(top)?];
        while let Some(level) = levels.last_mut() {
            self.path.truncate(level.path);
            let Some((name, kind)) = level.entries.pop() else {
                levels.pop();
                continue;
            };
            self.path.push(b'/');
            self.path.extend_from_slice(name.to_bytes());
            if self.path.len() > MAX_PATH {
                return Err(Failure::refused(&self.path, format!("its path has more than {MAX_PATH} bytes; no program could open it")));
            }
            if let Some(directory) = self.entry(level.directory.as_fd(), &name, kind)? {
                let below = self.enter(directory)?;
                levels.push(below);
            }
        }
        Ok(())
    }

    /// Writes one entry; a directory is answered, opened.
    fn entry(&mut self, directory: BorrowedFd<'_>, name: &CStr, kind: FileType) -> Result<Option<OwnedFd>, Failure> {
        match kind {
            FileType::Socket => self.skipped_sockets += 1,
            FileType::RegularFile | FileType::Directory => match open(directory, name, OFlags::NONBLOCK) {
                Ok(file) => return self.opened(directory, name, file),
                Err(Errno::NOENT) => {}
                // It was something else by then: a link, a socket.
                Err(Errno::LOOP | Errno::NXIO) => self.special(directory, name)?,
                Err(errno) => return Err(self.failed(errno)),
            },
            _ => self.special(directory, name)?,
        }
        Ok(None)
    }

    /// Writes what was opened; it may be something else than its directory said.
    fn opened(&mut self, directory: BorrowedFd<'_>, name: &CStr, file: OwnedFd) -> Result<Option<OwnedFd>, Failure> {
        let stat = fstat(&file).map_err(|errno| self.failed(errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok(Some(file)),
            FileType::RegularFile if self.linked(&stat)? => {}
            FileType::RegularFile => self.regular(file.as_fd(), &stat)?,
            _ => {
                drop(file);
                self.special(directory, name)?;
            }
        }
        Ok(None)
    }

    /// Writes a directory's header and reads its names.
    fn enter(&mut self, directory: OwnedFd) -> Result<Level, Failure> {
        let stat = fstat(&directory).map_err(|errno| self.failed(errno))?;
        let records = self.records(directory.as_fd())?;
        let path = self.path.len();
        self.path.push(b'/');
        self.member(Kind::Directory, &stat, &records)?;
        self.path.truncate(path);
        let mut entries = entries(directory.as_fd()).map_err(|errno| self.failed(errno))?;
        // In an order of their own, so that the same tree gives the same archive; the last comes first.
        entries.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        Ok(Level { directory, entries, path })
    }

    fn regular(&mut self, file: BorrowedFd<'_>, stat: &Stat) -> Result<(), Failure> {
        let records = self.records(file)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let allocated = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        // Where a file system keeps holes is its own affair, and nothing that the same files have in common.
        if allocated < size
            && self.latest.is_none()
            && let Some(map) = holes(file, size).map_err(|errno| self.failed(errno))?
        {
            return self.sparse(file, stat, &map, size, &records);
        }
        self.member(Kind::File(size), stat, &records)?;
        self.content(file, 0, size)?;
        self.sink.pad(size)
    }

    /// Writes a file with holes: where its pieces belong, then the pieces.
    fn sparse(&mut self, file: BorrowedFd<'_>, stat: &Stat, map: &[(u64, u64)], size: u64, records: &[Record]) -> Result<(), Failure> {
        let mut text = format!("{}\n", map.len());
        map.iter().for_each(|(start, length)| text.push_str(&format!("{start}\n{length}\n")));
        let mut text = text.into_bytes();
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        let stored = text.len() as u64 + map.iter().map(|(_, length)| length).sum::<u64>();
        self.member(Kind::Sparse(stored, size), stat, records)?;
        self.sink.put(&text)?;
        for (start, length) in map {
            self.content(file, *start, *length)?;
        }
        self.sink.pad(stored)
    }

    /// Writes `length` bytes of a file from `start`; what is not there any more is zeros.
    fn content(&mut self, file: BorrowedFd<'_>, start: u64, length: u64) -> Result<(), Failure> {
        let (mut at, end) = (start, start + length);
        while at < end {
            let room = self.sink.room()?;
            let most = room.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let count = match rustix::io::pread(file, &mut room[..most], at) {
                Ok(0) => {
                    room[..most].fill(0);
                    most
                }
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(self.failed(errno)),
            };
            self.sink.advance(count);
            at += count as u64;
        }
        Ok(())
    }

    /// Writes what is never opened: links, pipes, devices.
    fn special(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Failure> {
        let stat = match rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(|errno| self.failed(errno))?,
        };
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => {
                self.skipped_sockets += 1;
                return Ok(());
            }
            // It appeared in the place of something else just now; as good as not there yet.
            FileType::RegularFile | FileType::Directory | FileType::Unknown => return Ok(()),
            FileType::Symlink => {
                let text = match readlinkat(directory, name, Vec::new()) {
                    Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                    text => text.map_err(|errno| self.failed(errno))?,
                };
                return if self.linked(&stat)? { Ok(()) } else { self.member(Kind::Symlink(text.to_bytes()), &stat, &[]) };
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Character(device.0, device.1),
            FileType::BlockDevice => Kind::Block(device.0, device.1),
        };
        // Devices with two names become two, because whoever unpacks may make them last.
        if matches!(kind, Kind::Fifo) && self.linked(&stat)? { Ok(()) } else { self.member(kind, &stat, &[]) }
    }

    /// Writes another name of a file that is in the archive already; false if it is not.
    fn linked(&mut self, stat: &Stat) -> Result<bool, Failure> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (stat.st_dev, stat.st_ino);
        let Some((first, left)) = self.links.get_mut(&key) else {
            #[allow(clippy::useless_conversion, reason = "the field is narrower on other architectures")]
            self.links.insert(key, (self.path.clone(), u64::from(stat.st_nlink) - 1));
            return Ok(false);
        };
        let first = first.clone();
        *left -= 1;
        if *left == 0 {
            self.links.remove(&key);
        }
        self.member(Kind::Hardlink(&first), stat, &[])?;
        Ok(true)
    }

    fn records(&mut self, file: BorrowedFd<'_>) -> Result<Vec<Record>, Failure> {
        attributes::read(file, self.ids, &mut self.names).map_err(|errno| self.failed(errno))
    }

    fn member(&mut self, kind: Kind<'_>, stat: &Stat, records: &[Record]) -> Result<(), Failure> {
        let owner = |id: u32| self.ids.map_or(id, |ids| attributes::inside(id, ids));
        let written = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
        let mtime = self.latest.map_or(written, |latest| written.min((latest, 0)));
        let (uid, gid) = (owner(stat.st_uid), owner(stat.st_gid));
        let name = std::mem::take(&mut self.path);
        let header = Header { name: &name, kind, mode: stat.st_mode, uid, gid, mtime, attributes: records };
        let written = self.head(&header);
        self.path = name;
        written
    }

    fn head(&mut self, header: &Header<'_>) -> Result<(), Failure> {
        self.files += 1;
        self.header.clear();
        header.write(&mut self.header);
        self.sink.put(&self.header)
    }

    fn failed(&self, errno: Errno) -> Failure {
        Failure::write("packing", &self.path, errno)
    }
}

fn open(directory: BorrowedFd<'_>, name: &CStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    openat2(directory, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
}

fn entries(directory: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut listing = RawDir::new(directory, &mut buffer);
    let mut entries = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            let kind = match entry.file_type() {
                // The file system does not say; opening it tells.
                FileType::Unknown => kind_of(directory, entry.file_name())?,
                kind => kind,
            };
            entries.push((entry.file_name().to_owned(), kind));
        }
    }
    Ok(entries)
}

fn kind_of(directory: BorrowedFd<'_>, name: &CStr) -> Result<FileType, Errno> {
    let stat = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    match stat {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode)),
        Err(Errno::NOENT) => Ok(FileType::RegularFile),
        Err(errno) => Err(errno),
    }
}

/// The pieces between a file's holes, the end of the file as an empty one; none if the file system cannot tell or there are none.
fn holes(file: BorrowedFd<'_>, size: u64) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    let mut map = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            Err(Errno::NXIO) => size,
            Err(Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        if data == size {
            break;
        }
        let end = match seek(file, SeekFrom::Hole(data)) {
            Ok(end) => end.clamp(data, size),
            // It was made shorter just now.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        map.push((data, end - data));
        at = end;
    }
    if map == [(0, size)] {
        return Ok(None);
    }
    if at < size || map.is_empty() {
        map.push((size, 0));
    }
    Ok(Some(map))
}
