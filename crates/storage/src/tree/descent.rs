//! A chain of open directories from the top of a tree down, of which only the lowest few are kept open.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// How many directories of one chain are open at most, so that no depth of a tree exhausts descriptors.
const OPEN: usize = 48;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory in a tree and the way from the top to it.
pub(crate) struct Descent {
    levels: Vec<Level>,
}

struct Level {
    directory: Option<OwnedFd>,
    identity: (u64, u64),
    name: CString,
}

impl Descent {
    /// Starts at the top.
    pub(crate) fn new(top: OwnedFd) -> io::Result<Self> {
        let identity = identity(top.as_fd())?;
        Ok(Self { levels: vec![Level { directory: Some(top), identity, name: c".".into() }] })
    }

    /// The directory where it stands now.
    pub(crate) fn current(&self) -> BorrowedFd<'_> {
        self.levels.last().and_then(|level| level.directory.as_ref()).expect("the lowest level is always open").as_fd()
    }

    /// How far below the top it stands.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// Goes into a directory of the current one. `EXDEV` if something is mounted there.
    pub(crate) fn descend(&mut self, name: &CStr) -> io::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let directory = coffer_sys::path::openat2(self.current(), name, FLAGS, Mode::empty(), resolve)?;
        let identity = identity(directory.as_fd())?;
        self.levels.push(Level { directory: Some(directory), identity, name: name.to_owned() });
        if let Some(far) = self.levels.len().checked_sub(OPEN + 1) {
            // The top stays open: its caller's descriptor may be all that leads to it.
            self.levels[far.max(1)].directory = None;
        }
        Ok(())
    }

    /// Goes back up. `ESTALE` if the way up does not lead where it came from, because somebody moved directories about.
    pub(crate) fn ascend(&mut self) -> io::Result<CString> {
        let lowest = self.levels.len() - 1;
        let Some(parent) = lowest.checked_sub(1) else { return Err(io::ErrorKind::InvalidInput.into()) };
        if self.levels[parent].directory.is_none() {
            let directory = rustix::fs::openat(self.current(), c"..", FLAGS, Mode::empty())?;
            if identity(directory.as_fd())? != self.levels[parent].identity {
                return Err(rustix::io::Errno::STALE.into());
            }
            self.levels[parent].directory = Some(directory);
        }
        Ok(self.levels.pop().map(|level| level.name).unwrap_or_default())
    }

    /// The names from the top to the current directory.
    pub(crate) fn names(&self) -> impl Iterator<Item = &CStr> {
        self.levels[1..].iter().map(|level| level.name.as_c_str())
    }

    /// The way from the top to something in the current directory, for messages.
    pub(crate) fn path(&self, name: &CStr) -> PathBuf {
        let mut path: PathBuf = self.names().map(|name| OsStr::from_bytes(name.to_bytes())).collect();
        path.push(OsStr::from_bytes(name.to_bytes()));
        path
    }
}

fn identity(directory: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}
