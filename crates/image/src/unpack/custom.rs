//! A user's volume being filled from a backup: with files, or with the one file that a disk is.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};

use super::budget::Budget;
use super::devices::Device;
use super::entry::{Content, Entry, Kind};
use super::failure::Failure;
use super::order::{Limits, Unpacked};
use super::tree::Tree;
use crate::backup::DISK;

/// Takes the members that make up one user's volume; their paths begin below it.
pub(super) struct CustomVolume {
    tree: Tree,
    budget: Budget,
    disk: bool,
    seen: bool,
}

impl CustomVolume {
    /// Fills the directory `target` with files.
    pub(super) fn of_files(target: OwnedFd, limits: Limits) -> Result<Self, Failure> {
        // The mount that the worker was given is only good for a path.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(&target, ".", flags, Mode::empty()).map_err(|errno| Failure::write("opening", b"/", errno))?;
        Ok(Self { tree: Tree::new(target, true)?, budget: Budget::new(limits), disk: false, seen: false })
    }

    /// Puts a disk into the directory `target`.
    pub(super) fn of_disk(target: OwnedFd, limits: Limits) -> Result<Self, Failure> {
        Ok(Self { disk: true, ..Self::of_files(target, limits)? })
    }

    /// Takes one member.
    pub(super) fn member(&mut self, mut entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        if self.disk {
            if !entry.path.is_empty() || !matches!(entry.kind, Kind::File(_)) {
                return Err(Failure::refused(&entry.path, "a disk must be a regular file"));
            }
            if self.seen {
                return Err(Failure::refused(DISK.as_bytes(), "it is there twice"));
            }
            // It is the daemon's own file, whoever owned it elsewhere.
            (entry.path, entry.mode, entry.uid, entry.gid) = (DISK.into(), 0o600, 0, 0);
            entry.xattrs.clear();
        }
        self.seen = true;
        self.tree.put(entry, content, &mut self.budget)
    }

    /// Ends the volume: adds what was done to the report, and answers the device nodes that are still to be made.
    pub(super) fn finish(mut self, name: &str, unpacked: &mut Unpacked) -> Result<Vec<Device>, Failure> {
        if !self.seen {
            return Err(Failure::Incomplete { what: name.to_owned() });
        }
        self.tree.finish()?;
        unpacked.skipped_devices += self.tree.skipped_devices;
        unpacked.skipped_xattrs += self.tree.skipped_xattrs;
        let (files, bytes) = self.budget.counted();
        unpacked.files += files;
        unpacked.bytes += bytes;
        Ok(self.tree.devices.take().unwrap_or_default())
    }
}
