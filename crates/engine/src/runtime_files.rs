//! Directories whose content lasts only as long as what runs: kept in memory, as such files are elsewhere in `/run`.
//!
//! A start makes half a dozen sockets and small files there. On a disk each waits for the file system's journal, and they would
//! be left over when the host goes down.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coffer_sys::mount::{self, FsOption, Restrictions};
use rustix::fs::{Mode, OFlags};

use crate::Engine;

/// A directory in memory.
struct InMemory {
    name: &'static str,
    mode: &'static str,
    /// At most so much may be in it. Those of instances are sockets, which take nothing; a privileged one's root could write more.
    size: &'static str,
}

const IN_MEMORY: [InMemory; 2] =
    [InMemory { name: "run", mode: "0700", size: "64m" }, InMemory { name: "devlxd", mode: "0711", size: "128k" }];

/// Where the directories in memory are.
pub(crate) fn in_memory(state: &Path) -> impl Iterator<Item = PathBuf> {
    IN_MEMORY.iter().map(|directory| state.join(directory.name))
}

impl Engine {
    /// Puts the directories of what runs into memory, unless something that runs has files there. Without it they stay on the
    /// disk, where all works too.
    pub fn keep_runtime_files_in_memory(&self) {
        for directory in &IN_MEMORY {
            let path = self.inner.settings.dir.join(directory.name);
            if let Err(cause) = put_in_memory(&path, directory) {
                tracing::warn!("{} stays on the disk: {cause}", path.display());
            }
        }
    }

    /// Takes the directories off again when nothing runs any more.
    pub(crate) fn release_runtime_files(&self) {
        for path in in_memory(&self.inner.settings.dir) {
            if let Err(cause) = release(&self.inner.settings.dir, &path) {
                tracing::warn!("unmounting {}: {cause}", path.display());
            }
        }
    }
}

fn put_in_memory(path: &Path, directory: &InMemory) -> io::Result<()> {
    let opened = open(path)?;
    if mount::filesystem_type(opened.as_fd())? == mount::magic::TMPFS || std::fs::read_dir(path)?.next().is_some() {
        return Ok(());
    }
    let options = [FsOption::Text("mode", directory.mode), FsOption::Text("size", directory.size)];
    let memory = mount::new_filesystem("tmpfs", &options, Restrictions::NO_EFFECTS)?;
    mount::attach(memory.as_fd(), opened.as_fd())
}

fn release(state: &Path, path: &Path) -> io::Result<()> {
    let id = |path: &Path| mount::mount_id(open(path)?.as_fd());
    if id(state)? == id(path)? { Ok(()) } else { mount::detach_path(path) }
}

fn open(path: &Path) -> io::Result<std::os::fd::OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}
