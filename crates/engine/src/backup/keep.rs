//! Reading, renaming, handing out and deleting backups; forgetting those whose time is over or whose making was cut.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use coffer_model::{Backup, BackupName, BackupOwner, Time};
use coffer_store::kept_backup;

use super::files;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::OperationView;
use crate::volume::VolumePlace;

impl Engine {
    /// Lists the backups of an instance or volume in the order in which they were made.
    ///
    /// # Errors
    /// If there is no such instance or volume.
    pub fn backups(&self, owner: &BackupOwner) -> Result<Vec<Backup>, EngineError> {
        self.require_owner(owner)?;
        Ok(self.inner.store.read(|conn| kept_backup::of_owner(conn, owner))?)
    }

    /// Reads one backup.
    ///
    /// # Errors
    /// If there is no such instance or volume, or backup.
    pub fn backup(&self, owner: &BackupOwner, name: &BackupName) -> Result<Backup, EngineError> {
        self.require_owner(owner)?;
        let found = self.inner.store.read(|conn| kept_backup::get(conn, owner, name))?;
        found.ok_or_else(|| EngineError::not_found("backup", format_args!("{}/{name}", owner.name())))
    }

    /// Opens a backup's file to hand it out, and tells that; answers its size in bytes too.
    ///
    /// # Errors
    /// If there is no such instance or volume, or backup, or its file cannot be opened.
    pub fn export_backup(&self, caller: &Caller, owner: &BackupOwner, name: &BackupName) -> Result<(File, u64), EngineError> {
        self.backup(owner, name)?;
        let directory = self.backup_directory(owner)?;
        let opened = files::open(directory.as_fd(), name)
            .map_err(|cause| EngineError::system(format!("opening backup {}/{name}", owner.name()), cause))?;
        self.backup_lifecycle(owner, name, News::Retrieved, caller);
        Ok(opened)
    }

    /// Renames a backup in an operation.
    ///
    /// # Errors
    /// If there is no such instance or volume, or backup, or the new name is taken.
    pub fn rename_backup(
        &self,
        caller: &Caller,
        owner: &BackupOwner,
        name: &BackupName,
        new: BackupName,
    ) -> Result<OperationView, EngineError> {
        self.backup(owner, name)?;
        if self.backup(owner, &new).is_ok() {
            return Err(EngineError::exists("backup", format_args!("{}/{new}", owner.name())));
        }
        let words = match owner {
            BackupOwner::Instance { .. } => "Renaming instance backup",
            BackupOwner::Volume { .. } => "Renaming storage volume backup",
        };
        let operation = super::operation(words, owner, name);
        let (engine, caller, owner, name) = (self.clone(), caller.clone(), owner.clone(), name.clone());
        Ok(self.operations().spawn(operation.by(&caller), move |_| {
            let failed = |cause| EngineError::system(format!("renaming backup {}/{name}", owner.name()), cause);
            let _held = engine.hold(&owner, "renaming a backup of")?;
            let directory = engine.backup_directory(&owner)?;
            let file = files::open(directory.as_fd(), &name).map_err(failed)?.0;
            // Both names for a moment: whichever the store knows when this is cut has its file, and the other is swept.
            files::name(directory.as_fd(), file.as_fd(), &new).map_err(failed)?;
            engine.inner.store.write(|tx| kept_backup::rename(tx, &owner, &name, &new))?;
            files::remove(directory.as_fd(), &name).map_err(failed)?;
            let action = match owner {
                BackupOwner::Instance { .. } => "instance-backup-renamed",
                BackupOwner::Volume { .. } => "storage-volume-backup-renamed",
            };
            let source = format!("{}/backups/{new}", owner.url());
            engine.events().renamed(Some(owner.project()), action, source, &name, Some(&caller));
            Ok(())
        }))
    }

    /// Deletes a backup in an operation.
    ///
    /// # Errors
    /// If there is no such instance or volume, or backup.
    pub fn delete_backup(&self, caller: &Caller, owner: &BackupOwner, name: &BackupName) -> Result<OperationView, EngineError> {
        self.backup(owner, name)?;
        let words = match owner {
            BackupOwner::Instance { .. } => "Deleting instance backup",
            BackupOwner::Volume { .. } => "Deleting storage volume backup",
        };
        let operation = super::operation(words, owner, name);
        let (engine, caller, owner, name) = (self.clone(), caller.clone(), owner.clone(), name.clone());
        Ok(self.operations().spawn(operation.by(&caller), move |_| {
            engine.forget_backup(&owner, &name)?;
            engine.backup_lifecycle(&owner, &name, News::Deleted, &caller);
            Ok(())
        }))
    }

    /// Forgets a backup and then removes its file, which is swept at the next start if this is cut between.
    fn forget_backup(&self, owner: &BackupOwner, name: &BackupName) -> Result<(), EngineError> {
        self.inner.store.write(|tx| kept_backup::delete(tx, owner, name))?;
        let directory = self.backup_directory(owner)?;
        files::remove(directory.as_fd(), name)
            .map_err(|cause| EngineError::system(format!("removing backup {}/{name}", owner.name()), cause))
    }

    /// Refuses what is not there, or not whole.
    fn require_owner(&self, owner: &BackupOwner) -> Result<(), EngineError> {
        match owner {
            BackupOwner::Instance { project, name } => self.load(project, name).map(drop),
            BackupOwner::Volume { pool, key } => self.custom_volume(&VolumePlace { pool: pool.clone(), key: key.clone() }).map(drop),
        }
    }

    /// Removes files that no backup's record knows and records whose file is gone: something was cut off.
    pub(crate) fn sweep_backups(&self) -> Result<(), EngineError> {
        self.sweep_arriving()?;
        let known = self.inner.store.read(kept_backup::list)?;
        for (directory, name) in self.backup_files()? {
            let path = self.backups_path().join(&directory).join(&name);
            if !known.iter().any(|owned| owned.owner.directory() == directory && owned.backup.name.as_str() == name) {
                tracing::info!("removing {}, which belongs to no backup", path.display());
                std::fs::remove_file(&path).map_err(|cause| EngineError::system(format!("removing {}", path.display()), cause))?;
            }
        }
        self.remove_empty_directories();
        let file = |owned: &kept_backup::Owned| self.backups_path().join(owned.owner.directory()).join(owned.backup.name.as_str());
        for owned in known.iter().filter(|owned| !file(owned).exists()) {
            tracing::warn!("forgetting backup {} of {}, whose file is gone", owned.backup.name, owned.owner);
            self.inner.store.write(|tx| kept_backup::delete(tx, &owned.owner, &owned.backup.name))?;
        }
        Ok(())
    }

    /// Deletes backups when their time is over, until the daemon ends.
    pub async fn expire_backups(&self) {
        loop {
            let engine = self.clone();
            let next = tokio::task::spawn_blocking(move || engine.delete_expired_backups()).await;
            let next = match next {
                Ok(Ok(next)) => next,
                Ok(Err(error)) => {
                    tracing::error!("deleting expired backups: {}", coffer_base::chain(&error));
                    None
                }
                Err(_) => return,
            };
            let due = async {
                match next {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.inner.expiry.notified() => {}
                () = self.shutdown_requested() => return,
            }
        }
    }

    /// Deletes what has expired; answers how long it is until the next does.
    fn delete_expired_backups(&self) -> Result<Option<Duration>, EngineError> {
        let now = Time::now();
        let mut next: Option<Duration> = None;
        for owned in self.inner.store.read(kept_backup::list)? {
            let Some(expiry) = owned.backup.expires_at else { continue };
            if expiry <= now {
                tracing::info!("deleting backup {} of {}, whose time is over", owned.backup.name, owned.owner);
                self.forget_backup(&owned.owner, &owned.backup.name)?;
            } else {
                let left = Duration::try_from(expiry.duration_since(now)).unwrap_or_default();
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        Ok(next)
    }

    /// Tells what happened to a backup.
    pub(super) fn backup_lifecycle(&self, owner: &BackupOwner, name: &BackupName, news: News, caller: &Caller) {
        let action = match (owner, news) {
            (BackupOwner::Instance { .. }, News::Created) => "instance-backup-created",
            (BackupOwner::Instance { .. }, News::Retrieved) => "instance-backup-retrieved",
            (BackupOwner::Instance { .. }, News::Deleted) => "instance-backup-deleted",
            (BackupOwner::Volume { .. }, News::Created) => "storage-volume-backup-created",
            (BackupOwner::Volume { .. }, News::Retrieved) => "storage-volume-backup-retrieved",
            (BackupOwner::Volume { .. }, News::Deleted) => "storage-volume-backup-deleted",
        };
        self.events().lifecycle(Some(owner.project()), action, format!("{}/backups/{name}", owner.url()), Some(caller));
    }
}

/// What happened to a backup.
#[derive(Debug, Clone, Copy)]
pub(super) enum News {
    Created,
    Retrieved,
    Deleted,
}
