//! Freezing, and counting what the out-of-memory killer did.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use super::{Group, Hierarchies, Version, read, write};

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
            Self::Unified { events, .. } => has_event(events, "frozen 1"),
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

/// Removes a group in every hierarchy, and those above it that are empty, as soon as nobody is in it; leaves it where that
/// takes too long. Where there is no version 2 tree to tell, it is tried once.
pub(crate) fn remove_when_empty(path: &str, patience: Duration) {
    let Ok(hierarchies) = Hierarchies::find() else { return };
    let deadline = Instant::now() + patience;
    let unified = hierarchies.all().iter().find(|hierarchy| hierarchy.version() == Version::V2);
    let dir = unified.and_then(|hierarchy| hierarchy.group(path).ok());
    let events = dir.and_then(|dir| rustix::fs::openat(dir, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok());
    if let Some(events) = events {
        while has_event(&events, "populated 1").unwrap_or(false) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(left) = Timespec::try_from(left) else { break };
            let mut polled = [PollFd::new(&events, PollFlags::PRI)];
            if rustix::event::poll(&mut polled, Some(&left)).unwrap_or(0) == 0 {
                break;
            }
        }
    }
    for hierarchy in hierarchies.all() {
        hierarchy.remove(path);
    }
}

/// Says whether `cgroup.events` has a line. By the very descriptor that is polled: it stays ready until it is read itself.
fn has_event(events: &OwnedFd, wanted: &str) -> io::Result<bool> {
    let mut text = [0; LONGEST_EVENTS];
    let count = rustix::io::retry_on_intr(|| rustix::io::pread(events, &mut text[..], 0))?;
    Ok(text[..count].split(|byte| *byte == b'\n').any(|line| line == wanted.as_bytes()))
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
