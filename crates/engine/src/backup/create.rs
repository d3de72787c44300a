//! Making a backup: a file in the state directory that holds all of an instance or volume.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use coffer_base::fault;
use coffer_image::{Compressor, PackRequest, Packed};
use coffer_model::{Backup, BackupName, BackupOwner, Time};
use coffer_storage::Pool;
use rustix::fs::{FileType, OFlags};

use super::content::Room;
use super::keep::News;
use super::moment::Moment;
use super::{Held, files};
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::image::publish::shifted;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::CreateBackup;

/// The stage under which packing reports its progress.
const STAGE: &str = "create_backup";

impl Engine {
    /// Makes a backup in an operation, also while an instance runs.
    ///
    /// # Errors
    /// If there is no such instance or volume, the name is taken, or the compression is unknown.
    pub fn create_backup(&self, caller: &Caller, owner: &BackupOwner, request: CreateBackup) -> Result<OperationView, EngineError> {
        let taken: Vec<BackupName> = self.backups(owner)?.into_iter().map(|backup| backup.name).collect();
        let compressor = self.compressor(request.compressor, "backups.compression_algorithm")?;
        let name = match &request.name {
            Some(name) if taken.contains(name) => return Err(EngineError::exists("backup", format_args!("{}/{name}", owner.name()))),
            Some(name) => name.clone(),
            None => next_name(&taken)?,
        };
        let new = super::operation(words(owner), owner, &name);
        let (engine, caller, owner) = (self.clone(), caller.clone(), owner.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            engine.back_up(&owner, &name, &request, compressor, operation)?;
            engine.backup_lifecycle(&owner, &name, News::Created, &caller);
            Ok(())
        }))
    }

    fn back_up(
        &self,
        owner: &BackupOwner,
        name: &BackupName,
        request: &CreateBackup,
        compressor: Compressor,
        operation: &OperationHandle,
    ) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system(format!("{owner}: backing it up"), cause);
        let directory = self.ensure_backup_directory(owner)?;
        let file = files::unnamed(directory.as_fd()).map_err(cut)?;
        let (packed, optimized) = self.pack_backup(owner, request, compressor, Some(directory.as_fd()), file.as_fd(), operation)?;
        rustix::fs::fdatasync(&file).map_err(|errno| cut(errno.into()))?;
        fault::point("backup.packed").map_err(cut)?;
        files::name(directory.as_fd(), file.as_fd(), name).map_err(cut)?;
        fault::point("backup.stored").map_err(cut)?;
        let backup = Backup {
            name: name.clone(),
            created_at: Time::now(),
            expires_at: request.expires_at,
            without_snapshots: request.without_snapshots,
            optimized,
            size: packed.size,
        };
        let recorded = self.inner.store.write(|tx| coffer_store::kept_backup::insert(tx, owner, &backup));
        if let Err(error) = recorded {
            files::remove(directory.as_fd(), name).map_err(cut)?;
            return Err(error.into());
        }
        self.inner.expiry.notify_one();
        fault::point("backup.recorded").map_err(cut)
    }

    /// Says what an operation needs to know that writes a backup into a file of the client's.
    ///
    /// # Errors
    /// If there is no such instance or volume.
    pub fn new_backup_to_file(&self, caller: &Caller, owner: &BackupOwner) -> Result<NewOperation, EngineError> {
        self.backups(owner)?;
        Ok(super::operation_on(words(owner), owner).by(caller))
    }

    /// Writes a backup into a file of the client's, also while an instance runs. It is not kept.
    ///
    /// # Errors
    /// If that is no file open for writing, or the backup cannot be made; the file then holds its beginning.
    pub fn back_up_to_file(
        &self,
        owner: &BackupOwner,
        request: &CreateBackup,
        file: &OwnedFd,
        operation: &OperationHandle,
    ) -> Result<(), EngineError> {
        let cut = |errno: rustix::io::Errno| EngineError::system(format!("{owner}: backing it up"), errno);
        let kind = FileType::from_raw_mode(rustix::fs::fstat(file).map_err(cut)?.st_mode);
        let access = rustix::fs::fcntl_getfl(file).map_err(cut)? & OFlags::ACCMODE;
        // Whatever else it was could make the packer wait for somebody, while it holds the instance.
        if kind != FileType::RegularFile || access == OFlags::RDONLY {
            return Err(EngineError::Refused("what was handed over is no regular file that is open for writing".into()));
        }
        let compressor = self.compressor(request.compressor, "backups.compression_algorithm")?;
        let directory = if request.optimized { Some(self.ensure_backup_directory(owner)?) } else { None };
        self.pack_backup(owner, request, compressor, directory.as_ref().map(AsFd::as_fd), file.as_fd(), operation)?;
        let action = match owner {
            BackupOwner::Instance { .. } => "instance-backup-retrieved",
            BackupOwner::Volume { .. } => "storage-volume-backup-retrieved",
        };
        // It never had a name.
        let (source, requestor) = (format!("{}/backups", owner.url()), operation.view().requestor);
        self.events().lifecycle(Some(owner.project()), action, source, requestor.as_ref());
        Ok(())
    }

    /// Packs a backup; answers also whether it is in the storage driver's own format.
    fn pack_backup(
        &self,
        owner: &BackupOwner,
        request: &CreateBackup,
        compressor: Compressor,
        directory: Option<BorrowedFd<'_>>,
        output: BorrowedFd<'_>,
        operation: &OperationHandle,
    ) -> Result<(Packed, bool), EngineError> {
        let held = self.hold_to_pack(owner)?;
        let driver = self.driver_of(&held)?;
        // Where the driver has no format of its own, a backup is as good as one in it.
        let power = if request.optimized { driver.streams() } else { None };
        let power = power.filter(|_| !ids_are_shifted(&held));
        let room = power.zip(directory).map(|(power, directory)| Room { power, directory });
        let packed = self.pack_held(held, request, compressor, output, room.as_ref(), operation)?;
        if packed.skipped_sockets > 0 {
            tracing::debug!("left {} sockets out of the backup of {owner}", packed.skipped_sockets);
        }
        Ok((packed, room.is_some()))
    }

    fn driver_of(&self, held: &Held<'_>) -> Result<Arc<dyn Pool>, EngineError> {
        match held {
            Held::Instance(_, instance) => self.pool_driver(&instance.pool),
            Held::Volume { place, .. } => self.pool_driver(&place.pool),
        }
    }

    fn pack_held(
        &self,
        held: Held<'_>,
        request: &CreateBackup,
        compressor: Compressor,
        output: BorrowedFd<'_>,
        room: Option<&Room<'_>>,
        operation: &OperationHandle,
    ) -> Result<Packed, EngineError> {
        // Snapshots hold still by themselves.
        let mut moment = self.moment_of(held)?;
        let content = self.content(&moment, !request.without_snapshots, room)?;
        // All that is read is a snapshot, opened and written down: whoever waits for the instance can have it.
        moment.share();
        let still = match &moment {
            Moment::Itself(Held::Instance(claim, instance)) => self.hold_still(claim, instance)?,
            Moment::Itself(Held::Volume { .. }) | Moment::Snapshot(_) | Moment::Kept(..) => None,
        };
        fault::point("backup.held").map_err(|cause| EngineError::system("backing up", cause))?;
        let directories: Vec<_> = content.views.iter().map(AsFd::as_fd).collect();
        let files: Vec<_> = content.files.iter().map(AsFd::as_fd).collect();
        let (members, directories, files) = (&content.members, &directories, &files);
        let request = PackRequest { members, directories, files, compressor, reproducible: None, output, stage: STAGE };
        let packed = operation.cancellable(|| Ok(self.inner.unpacker.pack(&request, &operation.progress())?));
        drop(still);
        packed
        // The views go before the moment does.
    }
}

fn words(owner: &BackupOwner) -> &'static str {
    match owner {
        BackupOwner::Instance { .. } => "Backing up instance",
        BackupOwner::Volume { .. } => "Backing up storage volume",
    }
}

/// Says whether files have other ids on disk than the instance knows: a stream would carry them along.
fn ids_are_shifted(held: &Held<'_>) -> bool {
    match held {
        Held::Instance(_, instance) => shifted(&instance.config).is_some(),
        Held::Volume { .. } => false,
    }
}

/// The first of `backup0`, `backup1`, … that is free.
fn next_name(taken: &[BackupName]) -> Result<BackupName, EngineError> {
    for number in 0..=taken.len() {
        let name: BackupName = format!("backup{number}").parse()?;
        if !taken.contains(&name) {
            return Ok(name);
        }
    }
    Err(EngineError::Refused("no free name was found; give the backup one".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled() {
        let names = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<BackupName>>();
        assert_eq!(next_name(&[]).unwrap().as_str(), "backup0");
        assert_eq!(next_name(&names(&["backup0", "mine", "backup2"])).unwrap().as_str(), "backup1");
        assert_eq!(next_name(&names(&["backup0", "backup1"])).unwrap().as_str(), "backup2");
    }
}
