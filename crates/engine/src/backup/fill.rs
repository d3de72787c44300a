//! Making volumes from an archive: all of them in one pass through it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_base::{Bytes, Progress};
use coffer_image::{BackupRequest, BackupVolume, Form, Incoming, Limits};
use coffer_model::IdMap;
use coffer_storage::tree::{Shift, shift};
use coffer_storage::{FillError, Pool, StorageError, Volume};
use coffer_store::backup::StreamFormat;

use crate::Engine;
use crate::error::EngineError;

/// The stage under which unpacking reports its progress.
pub(super) const STAGE: &str = "create_instance_from_backup_unpack";

/// A volume to be made from an archive.
pub(super) struct Wanted {
    /// Its directory in the archive, or the file that a disk or a stream is.
    pub(super) name: String,
    /// What it becomes.
    pub(super) form: Form,
    /// Where it is made.
    pub(super) volume: Volume,
    /// The size that it has from the start, where that is said.
    pub(super) size: Option<Bytes>,
    /// The map that its files' owners went through in the archive.
    pub(super) shifted: Option<IdMap>,
}

impl Engine {
    /// Begins to receive an archive: the caller writes its bytes into the answer.
    pub(super) fn receive_archive(&self) -> Result<Incoming, EngineError> {
        let path = self.backups_path();
        let directory = std::fs::File::open(&path).map_err(|cause| EngineError::system(format!("opening {}", path.display()), cause))?;
        Ok(Incoming::begin(directory.as_fd(), None, None, Progress::default())?)
    }

    /// Makes volumes from an archive, which holds them as `streams` or as files. On failure there is none of them.
    pub(super) fn unpack_volumes(
        &self,
        pool: &dyn Pool,
        wanted: &[Wanted],
        archive: BorrowedFd<'_>,
        streams: Option<StreamFormat>,
        progress: &Progress,
    ) -> Result<(), StorageError> {
        let streams = match streams {
            None => false,
            Some(StreamFormat::Btrfs) => true,
            Some(StreamFormat::Zfs) => return self.receive_streams(pool, wanted, archive, progress),
        };
        let mut unpack = |open: &[OwnedFd]| -> Result<(), FillError> {
            let volumes = wanted.iter().zip(open);
            let volumes: Vec<BackupVolume<'_>> =
                volumes.map(|(wanted, open)| BackupVolume { name: &wanted.name, form: wanted.form, directory: open.as_fd() }).collect();
            let request = BackupRequest { archive, volumes: &volumes, streams, limits: Limits::default(), stage: STAGE };
            let unpacked = self.inner.unpacker.unpack_backup(&request, progress)?;
            if unpacked.skipped_devices + unpacked.skipped_xattrs + unpacked.skipped_members > 0 {
                tracing::info!(?unpacked, "left some things out of a backup that is imported");
            }
            for (wanted, open) in wanted.iter().zip(open) {
                if let Some(map) = wanted.shifted {
                    shift(open.as_fd(), Shift::Out(map))?;
                }
            }
            Ok(())
        };
        let made = create_all(pool, wanted, &mut Vec::new(), &mut unpack);
        if made.is_err() {
            // Those that were whole before another one failed.
            for Wanted { volume, .. } in wanted {
                if pool.exists(volume).unwrap_or(false)
                    && let Err(error) = pool.delete_volume(volume)
                {
                    tracing::warn!("taking back {volume}: {}", coffer_base::chain(&error));
                }
            }
        }
        made
    }
}

/// What fills all volumes at once, given their empty directories.
type FillAll<'a> = &'a mut dyn FnMut(&[OwnedFd]) -> Result<(), FillError>;

/// Makes several volumes that are filled in one pass through the archive: each stands only when all are whole.
fn create_all(pool: &dyn Pool, wanted: &[Wanted], open: &mut Vec<OwnedFd>, fill: FillAll<'_>) -> Result<(), StorageError> {
    let Some((first, rest)) = wanted.split_first() else { return Ok(()) };
    pool.create_sized(&first.volume, first.size, &mut |directory| {
        open.push(directory.try_clone_to_owned()?);
        if rest.is_empty() {
            let filled = fill(open);
            open.clear();
            return filled;
        }
        Ok(create_all(pool, rest, open, fill)?)
    })
}
