//! Archives of whole instances, in LXD's layout: what stands where in them, reading their index, unpacking them.
//!
//! ```text
//!   backup/index.yaml               first; all that is known of the instance and its snapshots
//!   backup/snapshots/NAME/…         for each snapshot, the oldest first, as the instance itself:
//!   backup/container/metadata.yaml  what its image said of itself
//!   backup/container/templates/…
//!   backup/container/rootfs/…       ids as the instance knows them
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_base::Progress;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::pack::write_plan;
use crate::unpack::order::{Limits, Line, Task, Unpacked};
use crate::unpack::{UnpackError, Unpacker};

/// The member that says what the backup is.
pub const INDEX: &str = "backup/index.yaml";

/// The directory of the instance's own volume.
pub const INSTANCE: &str = "backup/container";

/// The directory of the snapshots' volumes.
pub const SNAPSHOTS: &str = "backup/snapshots";

/// The largest index that is read, in bytes.
pub const INDEX_LIMIT: usize = 4 << 20;

/// What a backup says of itself, not yet understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupTexts {
    /// Its `index.yaml`.
    pub index: String,
    /// The instance's own `backup.yaml`, if the index leaves the configuration to it.
    pub configuration: Option<String>,
}

/// A backup to unpack.
#[derive(Debug)]
pub struct BackupRequest<'a> {
    /// The archive.
    pub archive: BorrowedFd<'a>,
    /// The volumes to take from it: their directories in the archive, and the empty directories that they are put into.
    pub volumes: &'a [(String, BorrowedFd<'a>)],
    /// How much each may hold.
    pub limits: Limits,
}

impl Unpacker {
    /// Reads a backup as far as its index, without writing anything. Blocks until it is done.
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn inspect_backup(&self, archive: BorrowedFd<'_>, limits: Limits) -> Result<BackupTexts, UnpackError> {
        let heard = self.converse(Task::InspectBackup { limits }, &[archive], |_| Ok(()))?;
        match heard.last {
            Line::Inspected => Ok(BackupTexts { index: heard.text, configuration: heard.configuration }),
            line => Err(UnpackError::unexpected(line)),
        }
    }

    /// Unpacks the volumes of a backup. Blocks until it is done; what a failure leaves in the directories is the caller's to
    /// remove.
    ///
    /// Of the device nodes in it only those are made that every instance has anyway.
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn unpack_backup(&self, request: &BackupRequest<'_>, progress: &Progress) -> Result<Unpacked, UnpackError> {
        let names: Vec<&str> = request.volumes.iter().map(|(name, _)| name.as_str()).collect();
        let plan = write_plan(&names).map_err(UnpackError::Talk)?;
        let mut files = vec![request.archive, plan.as_fd()];
        files.extend(request.volumes.iter().map(|(_, directory)| *directory));
        let total = crate::receive::size_of(request.archive).map_err(UnpackError::Talk)?;
        let heard = self.converse(Task::UnpackBackup { limits: request.limits }, &files, |done| {
            progress.report("create_instance_from_backup_unpack", done, Some(total));
            progress.check()
        })?;
        let mut unpacked = match heard.last {
            Line::Unpacked(unpacked) => unpacked,
            line => return Err(UnpackError::unexpected(line)),
        };
        for device in &heard.devices {
            let rootfs = request.volumes.get(device.volume).map(|(_, directory)| open_rootfs(*directory)).transpose();
            let made = rootfs.and_then(|rootfs| rootfs.map_or(Ok(false), |rootfs| device.make(rootfs.as_fd())));
            if !made.map_err(|errno| UnpackError::Device(errno.into()))? {
                unpacked.skipped_devices += 1;
            }
        }
        Ok(unpacked)
    }
}

fn open_rootfs(volume: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(volume, "rootfs", flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}
