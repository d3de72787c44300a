//! Archives of whole instances and volumes, in LXD's layout: what stands where in them, reading their index, unpacking them.
//!
//! ```text
//!   backup/index.yaml               first; all that is known of the instance or volume and its snapshots
//!
//!   of an instance:
//!   backup/snapshots/NAME/…         for each snapshot, the oldest first, as the instance itself:
//!   backup/container/metadata.yaml  what its image said of itself
//!   backup/container/templates/…
//!   backup/container/rootfs/…       ids as the instance knows them
//!
//!   of a user's volume:
//!   backup/volume-snapshots/NAME/…  for each snapshot, the oldest first, as the volume itself:
//!   backup/volume/…                 its files, or for a disk
//!   backup/volume.img
//! ```
//!
//! An optimized one holds streams of `btrfs send` or `zfs send` in the places of directories, each based on the one before it:
//!
//! ```text
//!   backup/optimized_header.yaml    of btrfs: which subvolumes there are
//!   backup/snapshots/NAME.bin       backup/volume-snapshots/NAME.bin
//!   backup/container.bin            backup/volume.bin
//! ```

use std::os::fd::{AsFd, BorrowedFd};

use coffer_base::Progress;
use serde::{Deserialize, Serialize};

use crate::pack::write_plan;
use crate::unpack::conversation::Heard;
use crate::unpack::order::{Limits, Line, Task, Unpacked};
use crate::unpack::{UnpackError, Unpacker, devices};

/// The member that says what the backup is.
pub const INDEX: &str = "backup/index.yaml";

/// The directory of the instance's own volume.
pub const INSTANCE: &str = "backup/container";

/// The directory of the snapshots' volumes.
pub const SNAPSHOTS: &str = "backup/snapshots";

/// The directory of a user's volume.
pub const VOLUME: &str = "backup/volume";

/// The directory of the snapshots of a user's volume.
pub const VOLUME_SNAPSHOTS: &str = "backup/volume-snapshots";

/// What the name of a disk ends with.
pub const DISK_SUFFIX: &str = ".img";

/// What the name of a stream ends with.
pub const STREAM_SUFFIX: &str = ".bin";

/// The member that says which subvolumes an optimized backup holds.
pub const STREAMS_HEADER: &str = "backup/optimized_header.yaml";

/// The file in a volume that is a disk.
pub const DISK: &str = "root.img";

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

/// What a volume in an archive becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// An instance's: `metadata.yaml`, `templates/`, `rootfs/`, and nothing else.
    Instance,
    /// A user's, with files.
    Files,
    /// A user's that is a disk: one file.
    Disk,
}

/// A volume to take from an archive, as the worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) form: Form,
    pub(crate) stream: bool,
}

/// A volume to take from an archive.
#[derive(Clone, Debug)]
pub struct BackupVolume<'a> {
    /// Its directory in the archive, or the file that a disk or a stream is.
    pub name: &'a str,
    /// What it becomes.
    pub form: Form,
    /// The empty directory that it is put into.
    pub directory: BorrowedFd<'a>,
}

/// A backup to unpack.
#[derive(Debug)]
pub struct BackupRequest<'a> {
    /// The archive.
    pub archive: BorrowedFd<'a>,
    /// The volumes to take from it; of streams, each after the one that it is based on.
    pub volumes: &'a [BackupVolume<'a>],
    /// Whether they are streams of `btrfs send`.
    pub streams: bool,
    /// How much each may hold.
    pub limits: Limits,
    /// The stage under which progress is reported, in LXD's key form.
    pub stage: &'static str,
}

/// Makes the harmless ones of the device nodes that a worker left to us.
fn with_devices(heard: Heard, volumes: &[BackupVolume<'_>]) -> Result<Unpacked, UnpackError> {
    let mut unpacked = match heard.last {
        Line::Unpacked(unpacked) => unpacked,
        line => return Err(UnpackError::unexpected(line)),
    };
    devices::make_all(&heard.devices, &mut unpacked, |number| match volumes.get(number) {
        Some(BackupVolume { form: Form::Instance, directory, .. }) => devices::open_rootfs(*directory).map(Some),
        Some(BackupVolume { directory, .. }) => rustix::io::dup(*directory).map(Some),
        None => Ok(None),
    })?;
    Ok(unpacked)
}

impl Unpacker {
    /// Reads a backup as far as its index, without writing anything. Blocks until it is done.
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn inspect_backup(&self, archive: BorrowedFd<'_>, limits: Limits) -> Result<BackupTexts, UnpackError> {
        let heard = self.converse(Task::InspectBackup { limits }, &[archive], &Progress::default(), |_| ())?;
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
        let planned =
            request.volumes.iter().map(|volume| Planned { name: volume.name.to_owned(), form: volume.form, stream: request.streams });
        let plan = write_plan(&planned.collect::<Vec<_>>()).map_err(UnpackError::Talk)?;
        let mut files = vec![request.archive, plan.as_fd()];
        files.extend(request.volumes.iter().map(|volume| volume.directory));
        let total = crate::receive::size_of(request.archive).map_err(UnpackError::Talk)?;
        let heard = self.converse(Task::UnpackBackup { limits: request.limits }, &files, progress, |done| {
            progress.report(request.stage, done, Some(total))
        })?;
        with_devices(heard, request.volumes)
    }

    /// Takes out of volumes that were filled from outside by somebody else, the kernel for one, what those of a backup may not hold.
    /// Blocks until it is done.
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn settle(&self, volumes: &[BackupVolume<'_>]) -> Result<Unpacked, UnpackError> {
        let planned = volumes.iter().map(|volume| Planned { name: volume.name.to_owned(), form: volume.form, stream: false });
        let plan = write_plan(&planned.collect::<Vec<_>>()).map_err(UnpackError::Talk)?;
        let files: Vec<BorrowedFd<'_>> = [plan.as_fd()].into_iter().chain(volumes.iter().map(|volume| volume.directory)).collect();
        with_devices(self.converse(Task::Settle, &files, &Progress::default(), |_| ())?, volumes)
    }
}
