//! Reading, renaming, handing out and deleting backups; forgetting those whose time is over or whose making was cut.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use coffer_model::{BackupName, Instance, InstanceBackup, InstanceName, ProjectName, Time};

use super::files;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};

impl Engine {
    /// Lists an instance's backups in the order in which they were made.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn backups(&self, project: &ProjectName, instance: &InstanceName) -> Result<Vec<InstanceBackup>, EngineError> {
        self.load(project, instance)?;
        Ok(self.inner.store.read(|conn| coffer_store::instance_backup::of_instance(conn, project, instance))?)
    }

    /// Reads one backup.
    ///
    /// # Errors
    /// If there is no such instance or backup.
    pub fn backup(&self, project: &ProjectName, instance: &InstanceName, name: &BackupName) -> Result<InstanceBackup, EngineError> {
        Ok(self.load_backup(project, instance, name)?.1)
    }

    /// Opens a backup's file to hand it out; answers its size in bytes too.
    ///
    /// # Errors
    /// If there is no such instance or backup, or its file cannot be opened.
    pub fn export_backup(&self, project: &ProjectName, instance: &InstanceName, name: &BackupName) -> Result<(File, u64), EngineError> {
        let (instance, _) = self.load_backup(project, instance, name)?;
        let directory = self.backup_directory(&instance)?;
        files::open(directory.as_fd(), name).map_err(|cause| EngineError::system(format!("opening backup {}/{name}", instance.name), cause))
    }

    /// Renames a backup in an operation.
    ///
    /// # Errors
    /// If there is no such instance or backup, or the new name is taken.
    pub fn rename_backup(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        name: &BackupName,
        new: BackupName,
    ) -> Result<OperationView, EngineError> {
        let (instance, _) = self.load_backup(project, instance, name)?;
        if self.load_backup(project, &instance.name, &new).is_ok() {
            return Err(EngineError::exists("backup", format_args!("{}/{new}", instance.name)));
        }
        let operation = backup_operation("Renaming instance backup", &instance, name);
        let (engine, caller, name) = (self.clone(), caller.clone(), name.clone());
        Ok(self.operations().spawn(operation.by(&caller), move |_| {
            let failed = |cause| EngineError::system(format!("renaming backup {}/{name}", instance.name), cause);
            let _claim = engine.inner.cells.get(&instance.project, &instance.name).claim("renaming a backup of")?;
            let directory = engine.backup_directory(&instance)?;
            let file = files::open(directory.as_fd(), &name).map_err(failed)?.0;
            // Both names for a moment: whichever the store knows when this is cut has its file, and the other is swept.
            files::name(directory.as_fd(), file.as_fd(), &new).map_err(failed)?;
            engine.inner.store.write(|tx| coffer_store::instance_backup::rename(tx, &instance.project, &instance.name, &name, &new))?;
            files::remove(directory.as_fd(), &name).map_err(failed)?;
            let source = format!("/1.0/instances/{}/backups/{new}", instance.name);
            engine.events().renamed(Some(&instance.project), "instance-backup-renamed", source, &name, Some(&caller));
            Ok(())
        }))
    }

    /// Deletes a backup in an operation.
    ///
    /// # Errors
    /// If there is no such instance or backup.
    pub fn delete_backup(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        name: &BackupName,
    ) -> Result<OperationView, EngineError> {
        let (instance, _) = self.load_backup(project, instance, name)?;
        let operation = backup_operation("Deleting instance backup", &instance, name);
        let (engine, caller, name) = (self.clone(), caller.clone(), name.clone());
        Ok(self.operations().spawn(operation.by(&caller), move |_| {
            engine.forget_backup(&instance, &name)?;
            engine.backup_lifecycle(&instance, &name, "instance-backup-deleted", &caller);
            Ok(())
        }))
    }

    /// Forgets a backup and then removes its file, which is swept at the next start if this is cut between.
    fn forget_backup(&self, instance: &Instance, name: &BackupName) -> Result<(), EngineError> {
        self.inner.store.write(|tx| coffer_store::instance_backup::delete(tx, &instance.project, &instance.name, name))?;
        let directory = self.backup_directory(instance)?;
        files::remove(directory.as_fd(), name)
            .map_err(|cause| EngineError::system(format!("removing backup {}/{name}", instance.name), cause))
    }

    fn load_backup(
        &self,
        project: &ProjectName,
        instance: &InstanceName,
        name: &BackupName,
    ) -> Result<(Instance, InstanceBackup), EngineError> {
        let loaded = self.load(project, instance)?;
        let found = self.inner.store.read(|conn| coffer_store::instance_backup::get(conn, project, instance, name))?;
        Ok((loaded.instance, found.ok_or_else(|| EngineError::not_found("backup", format_args!("{instance}/{name}")))?))
    }

    /// Removes the files of an instance's backups; the store forgets them with the instance.
    pub(crate) fn remove_backup_files(&self, instance: &Instance) {
        let path = self.backups_path().join(instance.key());
        match std::fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => tracing::warn!("removing {}: {cause}", path.display()),
            _ => {}
        }
    }

    /// Brings the files of an instance's backups along when it gets another name or project; both as they stand in names of
    /// directories. May be called again after a crash.
    pub(crate) fn rename_backup_files(&self, old: &str, new: &str) -> Result<(), EngineError> {
        if old == new {
            return Ok(());
        }
        match std::fs::rename(self.backups_path().join(old), self.backups_path().join(new)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(EngineError::system("renaming the backups directory", cause)),
            _ => Ok(()),
        }
    }

    /// Removes files that no backup's record knows and records whose file is gone: something was cut off.
    pub(crate) fn sweep_backups(&self) -> Result<(), EngineError> {
        let known = self.inner.store.read(|conn| coffer_store::instance_backup::list(conn, None))?;
        let key = |owned: &coffer_store::instance_backup::Owned| owned.project.prefix(owned.instance.as_str());
        for (directory, name) in self.backup_files()? {
            let path = self.backups_path().join(&directory).join(&name);
            if !known.iter().any(|owned| key(owned) == directory && owned.backup.name.as_str() == name) {
                tracing::info!("removing {}, which belongs to no backup", path.display());
                std::fs::remove_file(&path).map_err(|cause| EngineError::system(format!("removing {}", path.display()), cause))?;
            }
        }
        for owned in known.iter().filter(|owned| !self.backups_path().join(key(owned)).join(owned.backup.name.as_str()).exists()) {
            tracing::warn!("forgetting backup {}/{}, whose file is gone", owned.instance, owned.backup.name);
            self.inner.store.write(|tx| coffer_store::instance_backup::delete(tx, &owned.project, &owned.instance, &owned.backup.name))?;
        }
        Ok(())
    }

    /// The files of backups: their directories' names and their own.
    pub(crate) fn backup_files(&self) -> Result<Vec<(String, String)>, EngineError> {
        let path = self.backups_path();
        let listing = |cause| EngineError::system(format!("listing {}", path.display()), cause);
        let mut files = Vec::new();
        let directories = match std::fs::read_dir(&path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            directories => directories.map_err(listing)?,
        };
        for directory in directories {
            let directory = directory.map_err(listing)?;
            for file in std::fs::read_dir(directory.path()).map_err(listing)? {
                let name = |name: std::ffi::OsString| name.to_string_lossy().into_owned();
                files.push((name(directory.file_name()), name(file.map_err(listing)?.file_name())));
            }
        }
        Ok(files)
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
        let all = self.inner.store.read(|conn| coffer_store::instance_backup::list(conn, None))?;
        let mut next: Option<Duration> = None;
        for owned in all {
            let Some(expiry) = owned.backup.expires_at else { continue };
            if expiry <= now {
                let instance = self.load(&owned.project, &owned.instance)?.instance;
                tracing::info!(instance = %instance.name, "deleting backup {}, whose time is over", owned.backup.name);
                self.forget_backup(&instance, &owned.backup.name)?;
            } else {
                let left = Duration::try_from(expiry.duration_since(now)).unwrap_or_default();
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        Ok(next)
    }

    pub(super) fn backup_lifecycle(&self, instance: &Instance, name: &BackupName, action: &'static str, caller: &Caller) {
        let source = format!("/1.0/instances/{}/backups/{name}", instance.name);
        self.events().lifecycle(Some(&instance.project), action, source, Some(caller));
    }
}

fn backup_operation(description: &'static str, instance: &Instance, name: &BackupName) -> NewOperation {
    let mut new = NewOperation::instance(description, &instance.project, instance.name.as_str());
    new.resources.insert("backups", vec![format!("/1.0/backups/{name}")]);
    new
}
