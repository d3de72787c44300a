//! A volume being filled: `metadata.yaml`, `templates/` and `rootfs/` in a directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use super::backup::check_metadata;
use super::budget::Budget;
use super::devices::Device;
use super::entry::{Content, Entry, Kind};
use super::failure::Failure;
use super::layout::Sink;
use super::order::{Limits, Unpacked};
use super::tree::Tree;

/// What a volume is filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// An image, whose metadata was checked when it came.
    Image,
    /// Layers of an image, which are for hosts that give an instance all its devices.
    Layers,
    /// A backup, which brings its metadata along.
    Backup,
}

/// Takes the members that make up one volume.
pub(super) struct Volume {
    target: OwnedFd,
    origin: Origin,
    rootfs: Option<Tree>,
    templates: Option<Tree>,
    budget: Budget,
}

impl Origin {
    /// Whether device nodes are noted for somebody who may make them.
    fn notes_devices(self) -> bool {
        match self {
            Self::Image | Self::Backup => true,
            Self::Layers => false,
        }
    }
}

impl Volume {
    /// Fills the directory `target`.
    pub(super) fn new(target: OwnedFd, limits: Limits, origin: Origin) -> Self {
        Self { target, origin, rootfs: None, templates: None, budget: Budget::new(limits) }
    }

    /// The root file system's tree, to be filled and emptied.
    pub(super) fn root(&mut self) -> Result<&mut Tree, Failure> {
        tree(&mut self.rootfs, self.target.as_fd(), "rootfs", self.origin.notes_devices())
    }

    /// Takes a member of the root file system.
    pub(super) fn put(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        let tree = tree(&mut self.rootfs, self.target.as_fd(), "rootfs", self.origin.notes_devices())?;
        tree.put(entry, content, &mut self.budget)
    }

    /// Ends the volume: adds what was done to the report, and answers the device nodes that are still to be made.
    pub(super) fn finish(mut self, unpacked: &mut Unpacked) -> Result<Vec<Device>, Failure> {
        let Some(rootfs) = &mut self.rootfs else { return Err(Failure::NoRootfs) };
        rootfs.finish()?;
        unpacked.skipped_devices += rootfs.skipped_devices;
        unpacked.skipped_xattrs += rootfs.skipped_xattrs;
        let devices = rootfs.devices.take().unwrap_or_default();
        if let Some(templates) = &mut self.templates {
            templates.finish()?;
        }
        let (files, bytes) = self.budget.counted();
        unpacked.files += files;
        unpacked.bytes += bytes;
        Ok(devices)
    }
}

impl Sink for Volume {
    fn metadata(&mut self, text: Vec<u8>) -> Result<(), Failure> {
        const NAME: &str = "metadata.yaml";
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |errno| Failure::write("writing", NAME.as_bytes(), errno);
        if self.origin == Origin::Backup {
            check_metadata(&text)?;
        }
        self.budget.bytes(text.len() as u64)?;
        let file = openat(&self.target, NAME, flags, Mode::from_raw_mode(0o644)).map_err(failed)?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&file, rest).map_err(failed)?..];
        }
        Ok(())
    }

    fn template(&mut self, mut entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        // Only the host reads templates, so who owned them where the image was made means nothing.
        (entry.uid, entry.gid, entry.mode) = (0, 0, if entry.kind == Kind::Directory { 0o755 } else { 0o644 });
        entry.xattrs.clear();
        let tree = tree(&mut self.templates, self.target.as_fd(), "templates", false)?;
        tree.put(entry, content, &mut self.budget)
    }

    fn rootfs(&mut self, entry: Entry, content: &mut dyn Content) -> Result<(), Failure> {
        self.put(entry, content)
    }
}

/// The tree at a name in the target, made at its first member.
fn tree<'t>(tree: &'t mut Option<Tree>, target: BorrowedFd<'_>, name: &str, devices: bool) -> Result<&'t mut Tree, Failure> {
    match tree {
        Some(tree) => Ok(tree),
        None => {
            let failed = |errno| Failure::write("making the directory", name.as_bytes(), errno);
            match mkdirat(target, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(tree.insert(Tree::new(openat(target, name, flags, Mode::empty()).map_err(failed)?, devices)?))
        }
    }
}
