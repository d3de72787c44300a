//! What is done with paths and open files. Every walk stays in the root, and this process has no other.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use coffer_sftp::{Attributes, Flags, Names, Status};
use coffer_sys::path::{Root, kind_of};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::connection::{Denied, Result};
use super::line;

/// Most bytes of names in one answer.
const NAMES: usize = 32 << 10;

/// Reads a path as a client writes it: bytes.
pub(super) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The absolute path that is meant, without `.` and `..`; links are not looked at.
pub(super) fn absolute(bytes: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for component in path(bytes).components() {
        match component {
            Component::Normal(name) => parts.push(name.as_bytes()),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    let mut path = vec![b'/'];
    path.extend(parts.join(&b'/'));
    path
}

/// Opens a regular file. The attributes are given to one that is made, before anybody else sees it under its name with content.
pub(super) fn open(root: &Root, path: &Path, flags: Flags, attributes: &Attributes) -> Result<File> {
    let access = match (flags.has(Flags::READ), flags.has(Flags::WRITE) || flags.has(Flags::APPEND)) {
        (_, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
        (true, true) => OFlags::RDWR,
    };
    let file = match flags.has(Flags::CREATE) {
        true => create(root, path, flags, access, attributes)?,
        false => existing(root, path, access)?,
    };
    if flags.has(Flags::TRUNCATE) && access != OFlags::RDONLY && rustix::fs::fstat(&file)?.st_size > 0 {
        rustix::fs::ftruncate(&file, 0)?;
    }
    if flags.has(Flags::APPEND) {
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    }
    Ok(file)
}

fn create(root: &Root, path: &Path, flags: Flags, access: OFlags, attributes: &Attributes) -> Result<File> {
    let mode = attributes.permissions().unwrap_or(0o644);
    let made = match root.create_file(path, mode & 0o777) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !flags.has(Flags::EXCLUSIVE) => match existing(root, path, access) {
            // The name is a link that leads to nothing.
            Err(Denied { status: Status::NoSuchFile, .. }) => root.create_at_links_end(path, access, mode & 0o777)?,
            there => return there,
        },
        made => made?,
    };
    let given = Attributes { mode: (mode & 0o7000 != 0).then_some(mode), owner: attributes.owner, ..Attributes::default() };
    set_open(made.as_fd(), &given)?;
    Ok(made)
}

fn existing(root: &Root, path: &Path, access: OFlags) -> Result<File> {
    root.open_in_place(path, access).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => {
            Denied::new(Status::NotRegular, "it is a device, a named pipe or a socket; only regular files have content here")
        }
        _ => error.into(),
    })
}

/// Writes all of it.
pub(super) fn write(file: &File, offset: u64, data: &[u8]) -> Result<()> {
    use std::os::unix::fs::FileExt;
    Ok(file.write_all_at(data, offset)?)
}

/// Makes a directory.
pub(super) fn make_directory(root: &Root, path: &Path, attributes: &Attributes) -> Result<()> {
    let mode = attributes.permissions().unwrap_or(0o755);
    root.create_dir(path, mode & 0o777)?;
    if attributes.owner.is_some() || mode & 0o7000 != 0 {
        let given = Attributes { mode: (mode & 0o7000 != 0).then_some(mode), owner: attributes.owner, ..Attributes::default() };
        set_open(root.strict()?.open_directory(path)?.as_fd(), &given)?;
    }
    Ok(())
}

/// Renames, never over something.
pub(super) fn rename_new(root: &Root, from: &Path, to: &Path) -> Result<()> {
    match root.rename_new(from, to) {
        // A file system that cannot promise it: then by two names, which works for what is no directory.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            root.hard_link(from, to)?;
            Ok(root.remove_file(from)?)
        }
        renamed => Ok(renamed?),
    }
}

/// Says what is at a path.
pub(super) fn look(root: &Root, path: &Path, follow: bool) -> Result<Attributes> {
    let stat = if follow { root.metadata_followed(path) } else { root.metadata(path) };
    Ok(attributes(&stat?))
}

/// What the kernel says of a file, in the protocol's words.
pub(super) fn attributes(stat: &Stat) -> Attributes {
    let seconds = |seconds: i64| u32::try_from(seconds).unwrap_or(if seconds < 0 { 0 } else { u32::MAX });
    Attributes {
        size: Some(stat.st_size.cast_unsigned()),
        owner: Some((stat.st_uid, stat.st_gid)),
        mode: Some(stat.st_mode),
        times: Some((seconds(stat.st_atime), seconds(stat.st_mtime))),
    }
}

/// Sets attributes of what is at a path.
pub(super) fn set(root: &Root, path: &Path, attributes: &Attributes, follow: bool) -> Result<()> {
    let handle = if follow { root.handle_followed(path) } else { root.handle(path) }?;
    let kind = kind_of(&rustix::fs::fstat(&handle)?);
    if let Some(size) = attributes.size {
        rustix::fs::ftruncate(existing(root, path, OFlags::WRONLY)?, size)?;
    }
    if let Some((uid, gid)) = attributes.owner {
        rustix::fs::chownat(&handle, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    }
    if let Some(mode) = attributes.permissions() {
        let mode = Mode::from_raw_mode(mode);
        match kind {
            FileType::Symlink => return Err(Denied::new(Status::Unsupported, "symbolic links have no permissions of their own")),
            FileType::Directory => rustix::fs::fchmod(root.open_directory(path)?, mode)?,
            FileType::RegularFile => rustix::fs::fchmod(existing(root, path, OFlags::RDONLY)?, mode)?,
            _ => {
                // By its name, for it must not be opened; whatever takes its place meanwhile is in this root too.
                let (directory, name) = root.parent(path)?;
                rustix::fs::chmodat(&directory, name, mode, AtFlags::empty())?;
            }
        }
    }
    if let Some(times) = attributes.times {
        rustix::fs::utimensat(&handle, "", &timestamps(times), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

/// Sets attributes of what is open. The owner comes first: a change of owner takes set-id bits away.
pub(super) fn set_open(file: BorrowedFd<'_>, attributes: &Attributes) -> Result<()> {
    if let Some(size) = attributes.size {
        rustix::fs::ftruncate(file, size)?;
    }
    if let Some((uid, gid)) = attributes.owner {
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    if let Some(mode) = attributes.permissions() {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    if let Some(times) = attributes.times {
        rustix::fs::futimens(file, &timestamps(times))?;
    }
    Ok(())
}

fn timestamps((read, written): (u32, u32)) -> Timestamps {
    let time = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    Timestamps { last_access: time(read), last_modification: time(written) }
}

/// A directory that is being listed.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    entries: Dir,
}

/// Opens a directory to list it.
pub(super) fn open_directory(root: &Root, path: &Path) -> Result<Directory> {
    let fd = root.open_directory(path)?;
    Ok(Directory { entries: Dir::new(fd.try_clone()?)?, fd })
}

impl Directory {
    /// The next names; none at the end.
    pub(super) fn next(&mut self) -> Result<Names> {
        let mut names = Names::default();
        while names.length() < NAMES {
            let Some(entry) = self.entries.read() else { break };
            let entry = entry?;
            // What has gone meanwhile is not there any more.
            let Ok(stat) = rustix::fs::statat(&self.fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let name = entry.file_name().to_bytes();
            names.add(name, &line::listed(name, &stat), &attributes(&stat));
        }
        Ok(names)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute_without_leaving() {
        for (path, expect) in [("", "/"), (".", "/"), ("..", "/"), ("/a//b/./c", "/a/b/c"), ("a/../../b", "/b"), ("/a/b/..", "/a")] {
            assert_eq!(absolute(path.as_bytes()), expect.as_bytes(), "{path}");
        }
    }

    #[test]
    fn what_has_no_content_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.make_node("pipe", FileType::Fifo, 0o600, 0, 0).unwrap();
        root.symlink("pipe", "link").unwrap();
        let denied = |path: &str, flags| open(&root, Path::new(path), flags, &Attributes::default()).unwrap_err().status;
        // Opened the usual way, each of these would wait for ever.
        assert_eq!(denied("pipe", Flags::READ), Status::NotRegular);
        assert_eq!(denied("link", Flags::WRITE | Flags::CREATE), Status::NotRegular);
        assert_eq!(denied(".", Flags::READ), Status::IsADirectory);
        assert_eq!(denied("none", Flags::READ), Status::NoSuchFile);
    }

    #[test]
    fn attributes_are_for_what_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let mode = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        let flags = Flags::WRITE | Flags::CREATE | Flags::TRUNCATE;
        let made = open(&root, Path::new("file"), flags, &mode(0o600)).unwrap();
        write(&made, 0, b"content").unwrap();
        open(&root, Path::new("file"), flags, &mode(0o777)).unwrap();
        let stat = root.metadata("file").unwrap();
        assert_eq!((stat.st_mode & 0o7777, stat.st_size), (0o600, 0));
        assert_eq!(open(&root, Path::new("file"), flags | Flags::EXCLUSIVE, &mode(0o777)).unwrap_err().status, Status::Exists);
        root.symlink("nothing/yet", "link").unwrap();
        assert_eq!(open(&root, Path::new("link"), flags, &mode(0o777)).unwrap_err().status, Status::NoSuchFile);
        root.symlink("target", "other").unwrap();
        open(&root, Path::new("other"), flags, &mode(0o640)).unwrap();
        assert_eq!(root.metadata("target").unwrap().st_mode & 0o7777, 0o640);
    }

    #[test]
    fn what_is_appended_stands_behind() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let append = |text: &[u8]| {
            let file = open(&root, Path::new("log"), Flags::WRITE | Flags::APPEND | Flags::CREATE, &Attributes::default()).unwrap();
            write(&file, 0, text).unwrap();
        };
        append(b"one\n");
        append(b"two\n");
        assert_eq!(root.read("log", 100).unwrap(), b"one\ntwo\n");
    }
}
