//! Control groups of an instance, on hosts with version 1, version 2 or both.

mod device_filter;
mod devices;
mod event;
mod figures;
mod hierarchy;
mod limits;
mod list;
mod stats;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_runtime_spec::{IdMap, Stage};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::failed::{At, Failed};

pub(crate) use devices::{DeviceRules, Rule};
pub(crate) use event::{Freezer, oom_kills, remove_when_empty};
pub use figures::{DiskTraffic, Figures, ProcessorTime, figures};
pub(crate) use hierarchy::leave_callers;
pub use hierarchy::{Hierarchies, Hierarchy, Version};
pub use list::{children, is_occupied};
pub use stats::{Stats, stats};

/// The control groups of one instance: the same path in every hierarchy.
#[derive(Debug)]
pub(crate) struct Group {
    path: String,
    members: Vec<Member>,
}

/// The group in one hierarchy.
#[derive(Debug)]
pub(crate) struct Member {
    /// The hierarchy.
    pub(crate) hierarchy: Hierarchy,
    /// The group's directory.
    pub(crate) dir: OwnedFd,
}

impl Group {
    /// Makes the group in every hierarchy. What an earlier instance of that name left behind is removed first.
    pub(crate) fn create(hierarchies: Hierarchies, path: &str) -> Result<Self, Failed> {
        let mut group = Self { path: path.to_owned(), members: Vec::new() };
        for hierarchy in hierarchies.0 {
            let made = hierarchy.create(path).at(Stage::Cgroup, || format!("making {path} in {}", hierarchy.name()));
            match made {
                Ok(dir) => group.members.push(Member { hierarchy, dir }),
                Err(error) => {
                    group.destroy();
                    return Err(error);
                }
            }
        }
        Ok(group)
    }

    /// Its path, the same in every hierarchy.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The group in the version 2 tree, where there is one.
    pub(crate) fn unified(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.hierarchy.version() == Version::V2)
    }

    /// The group where this controller is.
    pub(crate) fn controller(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.hierarchy.controls(name))
    }

    /// The group in all hierarchies.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// Opens the files of the version 1 groups that a process joins by writing `0`. Root opens them, because who opened
    /// them is who is asked for permission; the process itself writes, because moving another one waits for a grace
    /// period of 11 ms.
    pub(crate) fn open_tasks(&self) -> Result<Vec<OwnedFd>, Failed> {
        let version1 = self.members.iter().filter(|member| member.hierarchy.version() == Version::V1);
        version1.map(|member| open_write(member.dir.as_fd(), "tasks").at(Stage::Cgroup, || self.told(member, "tasks"))).collect()
    }

    /// Gives the instance's root the groups where it may make its own: the version 2 tree and systemd's. Limits stay ours.
    pub(crate) fn delegate(&self, idmap: &IdMap) -> Result<(), Failed> {
        let IdMap::Mapped { .. } = idmap else { return Ok(()) };
        let (Some(uid), Some(gid)) = (idmap.host_uid(0), idmap.host_gid(0)) else { return Ok(()) };
        for member in self.members.iter().filter(|member| member.hierarchy.delegated()) {
            let files: &[String] = &member.hierarchy.delegated_files();
            for file in std::iter::once("").chain(files.iter().map(String::as_str)) {
                let flags = if file.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
                match rustix::fs::chownat(&member.dir, file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error).at(Stage::Cgroup, || self.told(member, file)),
                }
            }
        }
        Ok(())
    }

    /// Opens the version 2 group that an exec starts in: the group itself, or a leaf of ours where the instance has
    /// handed controllers down, because then the group may hold no process.
    pub(crate) fn exec_leaf(&self) -> io::Result<Option<OwnedFd>> {
        let Some(member) = self.unified() else { return Ok(None) };
        match rustix::fs::mkdirat(&member.dir, EXEC_LEAF, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => open_dir(member.dir.as_fd(), EXEC_LEAF).map(Some),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the group with everything below, in every hierarchy, and the directories above where they are empty.
    pub(crate) fn destroy(&self) {
        for member in &self.members {
            member.hierarchy.remove(&self.path);
        }
    }

    fn told(&self, member: &Member, file: &str) -> String {
        format!("{} of {} in {}", if file.is_empty() { "directory" } else { file }, self.path, member.hierarchy.name())
    }
}

/// The group below an instance's own that execs run in where its own may hold no processes.
const EXEC_LEAF: &str = ".exec";

/// Writes a file of a control group.
pub(crate) fn write(dir: BorrowedFd<'_>, file: &str, text: &str) -> io::Result<()> {
    let fd = open_write(dir, file)?;
    rustix::io::write(fd, text.as_bytes())?;
    Ok(())
}

/// Reads a file of a control group.
pub(crate) fn read(dir: BorrowedFd<'_>, file: &str) -> io::Result<String> {
    let fd = rustix::fs::openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = vec![0; 4096];
    let mut length = 0;
    loop {
        match rustix::io::read(&fd, &mut text[length..])? {
            0 => break,
            count => length += count,
        }
        if length == text.len() {
            text.resize(length * 2, 0);
        }
    }
    text.truncate(length);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads a file that holds one number; none if it is not there or holds a word (`max`).
pub(crate) fn number(dir: BorrowedFd<'_>, file: &str) -> Option<u64> {
    let fd = rustix::fs::openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // The kernel gives all of so short a text at once.
    let mut text = [0; 32];
    let count = rustix::io::read(&fd, &mut text[..]).ok()?;
    std::str::from_utf8(&text[..count]).ok()?.trim().parse().ok()
}

fn open_write(dir: BorrowedFd<'_>, file: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_dir(dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, path, flags, Mode::empty())?)
}

/// Removes a group and those below it, lowest first.
fn remove_tree(parent: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(error) => return Err(error.into()),
    }
    let dir = open_dir(parent, name)?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let below = entry.file_name().to_string_lossy();
        if entry.file_type() == FileType::Directory && below != "." && below != ".." {
            remove_tree(dir.as_fd(), &below)?;
        }
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
