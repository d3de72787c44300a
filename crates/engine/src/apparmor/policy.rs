//! The kernel's policy: compiling profiles, and handing them over.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use coffer_base::run::{Program, RunError};
use coffer_sys::mount::{Restrictions, new_filesystem};
use rustix::fs::{Mode, OFlags};

/// The program that compiles profiles, of Debian's package `apparmor`.
pub(super) const COMPILER: &str = "apparmor_parser";

/// AppArmor's files, wherever the host has them: `securityfs`, mounted nowhere.
pub(super) struct Policy {
    files: OwnedFd,
}

impl Policy {
    /// Opens the policy of a kernel that has AppArmor and is told to use it.
    pub(super) fn open() -> Option<Self> {
        let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
        if enabled.trim() != "Y" {
            return None;
        }
        let mount = new_filesystem("securityfs", &[], Restrictions::default()).ok()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let files = rustix::fs::openat(&mount, "apparmor", flags, Mode::empty()).ok()?;
        Some(Self { files })
    }

    /// Gives the kernel a compiled profile, in the place of one of the same name if there is one: all that run under that
    /// are under the new one at once.
    pub(super) fn replace(&self, compiled: &[u8]) -> io::Result<()> {
        self.tell(".replace", compiled)
    }

    /// Takes a profile away; one that is not there is fine.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match self.tell(".remove", name.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Says whether the kernel has a profile of this name.
    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        let file = rustix::fs::openat(&self.files, "profiles", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut list = String::new();
        std::fs::File::from(file).read_to_string(&mut list)?;
        Ok(list.lines().any(|line| line.rsplit_once(" (").is_some_and(|(found, _)| found == name)))
    }

    /// The kernel takes a policy in one write alone.
    fn tell(&self, file: &str, bytes: &[u8]) -> io::Result<()> {
        let file = rustix::fs::openat(self.files.as_fd(), file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        let written = std::fs::File::from(file).write(bytes)?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// Compiles a profile into a file.
pub(super) fn compile(text: &str, target: &Path) -> Result<(), RunError> {
    let options = ["--quiet", "--skip-kernel-load", "--skip-cache", "--ofile"];
    Program::new(COMPILER).args(options).arg(target).input(text).run().map(drop)
}
