//! Freezing, and counting what the out-of-memory killer did.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::{Group, Version, read, write};

/// More than `cgroup.events` has. Source: cgroup-v2.rst; two keys with one digit each.
const LONGEST_EVENTS: usize = 256;

/// Stops and continues all processes of a group.
///
/// Where the version 2 tree is mounted its freezer is used, also beside version 1: it needs no controller, its processes
/// can still be killed, and it tells when they stand.
#[derive(Debug)]
pub(crate) enum Freezer {
    /// Version 2: `cgroup.events` wakes pollers.
    Unified {
        /// The group's directory.
        dir: OwnedFd,
        /// Its `cgroup.events`.
        events: OwnedFd,
    },
    /// Version 1: there is nothing to wait for.
    Legacy {
        /// The group's directory.
        dir: OwnedFd,
    },
}

impl Freezer {
    /// Opens the freezer of a group; `None` if the host has none.
    pub(crate) fn open(group: &Group) -> io::Result<Option<Self>> {
        if let Some(member) = group.unified() {
            let events = rustix::fs::openat(&member.dir, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            return Ok(Some(Self::Unified { dir: member.dir.try_clone()?, events }));
        }
        let Some(member) = group.controller("freezer") else { return Ok(None) };
        Ok(Some(Self::Legacy { dir: member.dir.try_clone()? }))
    }

    /// Starts freezing or thawing.
    pub(crate) fn set(&self, frozen: bool) -> io::Result<()> {
        match self {
            Self::Unified { dir, .. } => write(dir.as_fd(), "cgroup.freeze", if frozen { "1" } else { "0" }),
            Self::Legacy { dir } => write(dir.as_fd(), "freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
        }
    }

    /// Says whether all processes stand.
    pub(crate) fn is_frozen(&self) -> io::Result<bool> {
        match self {
            // By the very descriptor that is polled: it stays ready until it is read itself.
            Self::Unified { events, .. } => {
                let mut text = [0; LONGEST_EVENTS];
                let count = rustix::io::retry_on_intr(|| rustix::io::pread(events, &mut text[..], 0))?;
                Ok(text[..count].split(|byte| *byte == b'\n').any(|line| line == b"frozen 1"))
            }
            // FREEZING is as good as it gets here: the kernel has marked them all and none comes back to its program.
            Self::Legacy { dir } => Ok(read(dir.as_fd(), "freezer.state")?.trim() != "THAWED"),
        }
    }

    /// What wakes a poller (by priority data) when [`Freezer::is_frozen`] may have changed.
    pub(crate) fn events(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Unified { events, .. } => Some(events.as_fd()),
            Self::Legacy { .. } => None,
        }
    }
}

/// Counts the processes of a group that the out-of-memory killer ended.
pub(crate) fn oom_kills(group: &Group) -> u64 {
    let Some(member) = group.controller("memory") else { return 0 };
    let file = match member.hierarchy.version() {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    let text = read(member.dir.as_fd(), file).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
