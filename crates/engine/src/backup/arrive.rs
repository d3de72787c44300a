//! Making volumes of an archive whose streams only the kernel can read: those of ZFS.
//!
//! The archive is unpacked as any other, locked in, into files that nobody sees. What the streams made is then looked through,
//! locked in too. Between the two the kernel believes what it reads, which is why the server has to be told to do this at all.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use coffer_base::Progress;
use coffer_image::backup::DISK;
use coffer_image::{BackupRequest, BackupVolume, Form, Limits};
use coffer_model::PoolName;
use coffer_storage::tree::{Shift, shift};
use coffer_storage::{FillError, Pool, StorageError, require_room};
use coffer_store::backup::StreamFormat;
use rustix::fs::{Mode, OFlags, openat};
use uuid::Uuid;

use super::fill::{STAGE, Wanted};
use crate::Engine;
use crate::error::EngineError;
use crate::instance::files::private_directory;

/// The server's key that says whether the kernel reads such streams.
const POLICY: &str = "backups.zfs_streams";

/// Where streams stand until they are received, below the directory of all backups.
const ARRIVING: &str = "arriving";

impl Engine {
    /// Refuses streams that this server does not read, or that the pool cannot receive.
    pub(super) fn require_readable(&self, streams: Option<StreamFormat>, pool: &PoolName) -> Result<(), EngineError> {
        match streams {
            None | Some(StreamFormat::Btrfs) => return Ok(()),
            Some(StreamFormat::Zfs) => {}
        }
        let instead = "export it without --optimized-storage";
        let driver = self.pool_driver(pool)?;
        if driver.foreign().is_none() {
            let (pool, driver) = (driver.name(), driver.driver());
            return Err(EngineError::Refused(format!(
                "the backup holds streams of zfs send, which a pool of driver zfs alone can receive, and storage pool {pool} is of driver {driver}: {instead}"
            )));
        }
        if !self.server_config()?.flag(POLICY, false) {
            return Err(EngineError::Refused(format!(
                "the backup holds streams of zfs send, which the host's kernel reads as they are: set {POLICY}=true on the server if whoever wrote it is trusted as root is, or {instead}"
            )));
        }
        Ok(())
    }

    /// Makes volumes of the streams in an archive. On failure there is none of them.
    pub(super) fn receive_streams(
        &self,
        pool: &dyn Pool,
        wanted: &[Wanted],
        archive: BorrowedFd<'_>,
        progress: &Progress,
    ) -> Result<(), StorageError> {
        let Some((_, last)) = wanted.split_last().map(|(last, rest)| (rest, last)) else { return Ok(()) };
        let failed = |cause: FillError| StorageError::Fill { pool: pool.name().clone(), volume: last.volume.clone(), cause };
        let power = pool.foreign().ok_or_else(|| failed(format!("storage pool {} receives no streams", pool.name()).into()))?;
        let streams = self.streams_in(wanted, archive, progress).map_err(failed)?;
        for (wanted, stream) in wanted.iter().zip(&streams) {
            require_room(pool, &wanted.volume, stream.metadata().map_err(|cause| failed(cause.into()))?.len())?;
        }
        let streams = wanted.iter().map(|wanted| wanted.volume.clone()).zip(streams).collect();
        power.receive_foreign(streams, &mut |number, top| {
            let Wanted { name, form, shifted, .. } = &wanted[number];
            if let Some(map) = shifted {
                shift(top, Shift::Out(*map))?;
            }
            let unpacked = self.inner.unpacker.settle(&[BackupVolume { name, form: *form, directory: top }])?;
            if unpacked.skipped_devices + unpacked.skipped_members > 0 {
                tracing::info!(?unpacked, "left some things out of a backup that is imported");
            }
            Ok(())
        })
    }

    /// The streams in an archive, as files that have no names any more.
    fn streams_in(&self, wanted: &[Wanted], archive: BorrowedFd<'_>, progress: &Progress) -> Result<Vec<File>, FillError> {
        let room = Room::make(&self.backups_path().join(ARRIVING))?;
        let directories = (0..wanted.len()).map(|number| room.directory(number)).collect::<Result<Vec<OwnedFd>, _>>()?;
        let place = |(wanted, directory)| {
            let (wanted, directory): (&Wanted, &OwnedFd) = (wanted, directory);
            BackupVolume { name: wanted.name.as_str(), form: Form::Disk, directory: directory.as_fd() }
        };
        let volumes: Vec<BackupVolume<'_>> = wanted.iter().zip(&directories).map(place).collect();
        let request = BackupRequest { archive, volumes: &volumes, streams: false, limits: Limits::default(), stage: STAGE };
        self.inner.unpacker.unpack_backup(&request, progress)?;
        let open = |directory: &OwnedFd| -> Result<File, FillError> {
            Ok(openat(directory, DISK, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?.into())
        };
        directories.iter().map(open).collect()
    }

    /// Removes what a kill left of the above.
    pub(super) fn sweep_arriving(&self) -> Result<(), EngineError> {
        let path = self.backups_path().join(ARRIVING);
        match std::fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::system(format!("removing {}", path.display()), cause))
            }
            _ => Ok(()),
        }
    }
}

/// Directories that are gone when this value is.
struct Room(PathBuf);

impl Room {
    fn make(above: &Path) -> std::io::Result<Self> {
        private_directory(above)?;
        let path = above.join(Uuid::new_v4().to_string());
        private_directory(&path)?;
        Ok(Self(path))
    }

    fn directory(&self, number: usize) -> std::io::Result<OwnedFd> {
        let path = self.0.join(number.to_string());
        private_directory(&path)?;
        Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("removing {}: {error}", self.0.display());
        }
    }
}
