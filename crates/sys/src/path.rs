//! Walks by openat2 that cannot leave a root.
//!
//! Paths that a container, an image, a backup or a caller of the API chose are always a [`Root`] and a path in it. A
//! leading `/` and `..` end at the root, symbolic links are resolved inside it, and magic links of `/proc` are refused.

mod handle;
mod remove;
#[cfg(test)]
mod tests;

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timestamps, Uid};
use rustix::io::Errno;

pub use handle::{kind_of, openat2, own_link, reopen};

/// A directory that no walk leaves.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    resolve: ResolveFlags,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// What it is; [`FileType::Unknown`] is never given.
    pub kind: FileType,
}

impl Root {
    /// Opens a directory of the host. The path must come from us, not from outside.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let dir = rustix::fs::open(path.as_ref(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self::from_fd(dir))
    }

    /// Makes an open directory the root of walks.
    #[must_use]
    pub fn from_fd(dir: OwnedFd) -> Self {
        Self { dir, resolve: ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS }
    }

    /// The same root once more.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.try_clone()?, resolve: self.resolve })
    }

    /// The same root, but a path with a symbolic link anywhere is refused with `ELOOP`.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn strict(&self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.try_clone()?, resolve: self.resolve | ResolveFlags::NO_SYMLINKS })
    }

    /// The same root, but a path that leads over a mount point is refused with `EXDEV`.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn within_mount(&self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.try_clone()?, resolve: self.resolve | ResolveFlags::NO_XDEV })
    }

    /// Opens a directory below as a root of its own; links are followed inside this root.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`.
    pub fn dir(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let dir = self.walk(path.as_ref(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { dir, resolve: self.resolve })
    }

    /// Opens a handle (`O_PATH`) to whatever is there; a link in the last place is the link itself.
    ///
    /// # Errors
    /// `ENOENT`, `ELOOP`.
    pub fn handle(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.walk(path.as_ref(), OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Opens a handle (`O_PATH`) to whatever is there, a link in the last place followed too.
    ///
    /// # Errors
    /// `ENOENT`, `ELOOP`.
    pub fn handle_followed(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.walk(path.as_ref(), OFlags::PATH, Mode::empty())
    }

    /// Opens a regular file for reading. Anything else, a device or a pipe, is not even touched.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` if it is no regular file.
    pub fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_regular(path.as_ref(), OFlags::RDONLY)
    }

    /// Opens a regular file as it is to be accessed, also where there is no `/proc` to open handles again by. Anything else is
    /// not even touched, unless somebody puts it in the file's place at that moment; then it is refused once it is open.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`; `EINVAL` if it is no regular file, `EAGAIN` if somebody changes what is there all the time.
    pub fn open_in_place(&self, path: impl AsRef<Path>, access: OFlags) -> io::Result<File> {
        let path = path.as_ref();
        for _ in 0..100 {
            let before = rustix::fs::fstat(self.handle_followed(path)?)?;
            match kind_of(&before) {
                FileType::RegularFile => {}
                FileType::Directory => return Err(Errno::ISDIR.into()),
                _ => return Err(Errno::INVAL.into()),
            }
            // Opening a pipe or a terminal that came in between does not wait for its other end.
            let file = self.walk(path, access | OFlags::NONBLOCK | OFlags::NOCTTY, Mode::empty())?;
            let now = rustix::fs::fstat(&file)?;
            if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino) {
                return Ok(file.into());
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Makes a regular file where a link leads to nothing, and opens it.
    ///
    /// # Errors
    /// `ENOENT` if the directory is missing; `EINVAL` if something else came in between.
    pub fn create_at_links_end(&self, path: impl AsRef<Path>, access: OFlags, mode: u32) -> io::Result<File> {
        let flags = access | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.walk(path.as_ref(), flags, Mode::from_raw_mode(mode))?;
        match kind_of(&rustix::fs::fstat(&file)?) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Opens a directory to be listed and changed itself.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn open_directory(&self, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
        self.walk(path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens an existing regular file for reading and writing.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` if it is no regular file.
    pub fn open_file_for_writing(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_regular(path.as_ref(), OFlags::RDWR)
    }

    fn open_regular(&self, path: &Path, access: OFlags) -> io::Result<File> {
        let handle = self.handle_followed(path)?;
        if kind_of(&rustix::fs::fstat(&handle)?) != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        Ok(reopen(handle.as_fd(), access)?.into())
    }

    /// Makes a new file for writing.
    ///
    /// # Errors
    /// `EEXIST` if the name is taken, by a link that leads nowhere too.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        let (dir, name) = self.parent(path.as_ref())?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// Opens a regular file for writing with nothing in it, made if it is not there.
    ///
    /// # Errors
    /// `EINVAL` if it is there and no regular file.
    pub fn create_or_empty_file(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        match self.create_file(path.as_ref(), mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = self.open_regular(path.as_ref(), OFlags::RDWR)?;
                file.set_len(0)?;
                Ok(file)
            }
            other => other,
        }
    }

    /// Reads a regular file of at most `most` bytes.
    ///
    /// # Errors
    /// `EFBIG` if it is longer, and as [`Root::open_file`].
    pub fn read(&self, path: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most { Err(Errno::FBIG.into()) } else { Ok(bytes) }
    }

    /// Replaces a file by one with these bytes, so that whoever reads it sees the old or the new ones, also after a crash.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS`; the old file stays then.
    pub fn replace_file(&self, path: impl AsRef<Path>, bytes: &[u8], mode: u32) -> io::Result<()> {
        let (dir, name) = self.parent(path.as_ref())?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(".new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file: File = rustix::fs::openat(&dir, &temporary, flags, Mode::from_raw_mode(mode))?.into();
        let written = rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(io::Error::from);
        let written = written.and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| Ok(rustix::fs::renameat(&dir, &temporary, &dir, name)?));
        if renamed.is_err() {
            let _ = rustix::fs::unlinkat(&dir, &temporary, AtFlags::empty());
        }
        renamed
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` if the parent is missing.
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        let (dir, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode))?)
    }

    /// Makes a directory and those above it where they are missing, and opens it.
    ///
    /// # Errors
    /// `ENOTDIR` if something on the way is there and no directory.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let path = path.as_ref();
        match self.dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_dir_all(parent, mode)?;
        }
        match self.create_dir(path, mode) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.dir(path),
        }
    }

    /// Makes a symbolic link with any text.
    ///
    /// # Errors
    /// `EEXIST`.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::symlinkat(target.as_ref(), &dir, name)?)
    }

    /// Gives a file a second name. A link in the last place is linked itself.
    ///
    /// # Errors
    /// `EEXIST`, `EXDEV` across file systems.
    pub fn hard_link(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from.as_ref())?;
        let (to_dir, to_name) = self.parent(to.as_ref())?;
        Ok(rustix::fs::linkat(&from_dir, from_name, &to_dir, to_name, AtFlags::empty())?)
    }

    /// Renames, over an existing file too.
    ///
    /// # Errors
    /// `ENOENT`, `EXDEV` across file systems, `ENOTEMPTY` over a full directory.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::empty())
    }

    /// Renames, but never over something.
    ///
    /// # Errors
    /// `EEXIST`, and as [`Root::rename`].
    pub fn rename_new(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        self.rename_with(from.as_ref(), to.as_ref(), RenameFlags::NOREPLACE)
    }

    /// Lets two files or directories change places at once.
    ///
    /// # Errors
    /// `ENOENT` if one is missing.
    pub fn exchange(&self, one: impl AsRef<Path>, other: impl AsRef<Path>) -> io::Result<()> {
        self.rename_with(one.as_ref(), other.as_ref(), RenameFlags::EXCHANGE)
    }

    fn rename_with(&self, from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        Ok(rustix::fs::renameat_with(&from_dir, from_name, &to_dir, to_name, flags)?)
    }

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`.
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let (dir, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR)?)
    }

    /// Removes a file or a directory with everything in it. Links are removed, never followed. Nothing there is fine.
    ///
    /// # Errors
    /// `EBUSY` if something in it is a mount point, `EROFS`, `EPERM` for immutable files.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        match self.parent(path.as_ref()) {
            Ok((dir, name)) => remove::tree(dir.as_fd(), name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads a symbolic link.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` if it is no link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let (dir, name) = self.parent(path.as_ref())?;
        let text = rustix::fs::readlinkat(&dir, name, Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(text.as_bytes())))
    }

    /// Says what is there; a link in the last place is the link itself.
    ///
    /// # Errors
    /// `ENOENT`, `ELOOP`.
    pub fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.handle(path)?)?)
    }

    /// Says what is there, a link in the last place followed too.
    ///
    /// # Errors
    /// `ENOENT`, `ELOOP`.
    pub fn metadata_followed(&self, path: impl AsRef<Path>) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(self.handle_followed(path)?)?)
    }

    /// Says whether something is there, be it a link that leads nowhere.
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.handle(path).is_ok()
    }

    /// Lists a directory without `.` and `..`, in no order.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub fn entries(&self, path: impl AsRef<Path>) -> io::Result<Vec<Entry>> {
        let dir = self.walk(path.as_ref(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in Dir::new(dir.try_clone()?)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?),
                kind => kind,
            };
            entries.push(Entry { name: OsStr::from_bytes(name.to_bytes()).to_owned(), kind });
        }
        Ok(entries)
    }

    /// Changes owner and group; a link in the last place is changed itself.
    ///
    /// # Errors
    /// `ENOENT`, `EPERM`.
    pub fn change_owner(&self, path: impl AsRef<Path>, uid: u32, gid: u32) -> io::Result<()> {
        let handle = self.handle(path)?;
        Ok(rustix::fs::chownat(&handle, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?)
    }

    /// Changes the permission bits; the file must not be a link.
    ///
    /// # Errors
    /// `ENOENT`; `EOPNOTSUPP` for a link.
    pub fn change_mode(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        let handle = self.handle(path)?;
        if kind_of(&rustix::fs::fstat(&handle)?) == FileType::Symlink {
            return Err(Errno::OPNOTSUPP.into());
        }
        // fchmod(2) wants more than an O_PATH handle; the handle's own magic link cannot be swapped by others.
        Ok(rustix::fs::chmod(own_link(handle.as_fd()), Mode::from_raw_mode(mode))?)
    }

    /// Changes the times; a link in the last place is changed itself.
    ///
    /// # Errors
    /// `ENOENT`, `EPERM`.
    pub fn change_times(&self, path: impl AsRef<Path>, times: &Timestamps) -> io::Result<()> {
        let (dir, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::utimensat(&dir, name, times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes a device node, a named pipe or a socket file.
    ///
    /// # Errors
    /// `EEXIST`; `EPERM` without `CAP_MKNOD`.
    pub fn make_node(&self, path: impl AsRef<Path>, kind: FileType, mode: u32, major: u32, minor: u32) -> io::Result<()> {
        let (dir, name) = self.parent(path.as_ref())?;
        Ok(rustix::fs::mknodat(&dir, name, kind, Mode::from_raw_mode(mode), rustix::fs::makedev(major, minor))?)
    }

    /// Opens the directory that holds the last component of `path`, for calls that take a name in it.
    ///
    /// # Errors
    /// `EINVAL` if the path does not end with a name; `ENOENT`, `ENOTDIR`, `ELOOP` for what is above it.
    pub fn parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let Some(Component::Normal(name)) = path.components().next_back() else { return Err(Errno::INVAL.into()) };
        let above = path.parent().unwrap_or(Path::new(""));
        Ok((self.walk(above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?, name))
    }

    fn walk(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
        Ok(openat2(&self.dir, &path, flags | OFlags::CLOEXEC, mode, self.resolve)?)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}
