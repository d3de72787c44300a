//! Giving a volume another name or project within its pool. Devices that name it follow.

use coffer_base::fault;
use coffer_model::{CustomVolume, Phase};
use coffer_storage::{Pool as Driver, Volume};

use super::{RenameVolume, VolumePlace, not_found, read, users};
use crate::error::EngineError;
use crate::events::Caller;
use crate::{Engine, backup};

impl Engine {
    /// Renames a volume that no running instance uses, or gives one that nobody uses to another project.
    ///
    /// # Errors
    /// If there is no such volume, it is in use, or the new name is taken.
    pub fn rename_volume(&self, caller: &Caller, request: &RenameVolume) -> Result<(), EngineError> {
        let RenameVolume { from, to } = request;
        let _claim = self.inner.volumes.claim_all(&[from.clone(), to.clone()], "renaming")?;
        let driver = self.pool_driver(&from.pool)?;
        self.refuse_bad_rename(from, to)?;
        self.record_rename(from, to)?;
        let cut = |cause| EngineError::system("renaming the volume", cause);
        let renamed = fault::point("volume-rename.recorded").map_err(cut).and_then(|()| self.finish_rename_of_volume(driver.as_ref(), to));
        if let Err(error) = renamed {
            // On disk it is still what it was: so it is here.
            if driver.exists(&from.volume()).unwrap_or(false) {
                self.record_rename(to, from)?;
                self.finish_rename_of_volume(driver.as_ref(), from)?;
            }
            return Err(error);
        }
        fault::point("volume-rename.done").map_err(cut)?;
        self.events().renamed(Some(&to.key.project), "storage-volume-renamed", to.url(), &from.key.name, Some(caller));
        Ok(())
    }

    /// Gives a volume its new name on disk. May be called again after a crash.
    pub(super) fn finish_rename_of_volume(&self, driver: &dyn Driver, place: &VolumePlace) -> Result<(), EngineError> {
        let volume = self.custom_volume(place)?;
        if let Some(old) = &volume.renamed_from {
            let (from, to) = (Volume::of_key(old), place.volume());
            if from != to && driver.exists(&from)? && !driver.exists(&to)? {
                driver.rename(&from, &to)?;
            }
        }
        let (pool, key) = (&place.pool, &place.key);
        Ok(self.inner.store.write(|tx| coffer_store::volume::renamed(tx, pool, &key.project, &key.name))?)
    }

    /// Refuses what cannot be, before anything happens.
    pub(super) fn refuse_bad_rename(&self, from: &VolumePlace, to: &VolumePlace) -> Result<(), EngineError> {
        let volume = self.custom_volume(from)?;
        refuse_unfinished(&volume)?;
        let (taken, used_by) = self.inner.store.read(|conn| Ok((read(conn, to)?.is_some(), self.volume_users(conn, from)?)))?;
        if taken {
            return Err(EngineError::exists("storage volume", format!("{} in pool {}", to.key.name, to.pool)));
        }
        if from.key.project != to.key.project && !used_by.is_empty() {
            return Err(EngineError::InUse { entity: "storage volume", name: from.key.name.to_string(), users: used_by.join(", ") });
        }
        self.refuse_running_users(from, "renamed or moved")
    }

    fn record_rename(&self, from: &VolumePlace, to: &VolumePlace) -> Result<(), EngineError> {
        let (old, new) = (backup::of_volume(from), backup::of_volume(to));
        self.link_backup_files(&old, &new)?;
        fault::point("volume-rename.backups-linked").map_err(|cause| EngineError::system("renaming the volume", cause))?;
        let recorded = self.inner.store.try_write(|tx| {
            read(tx, from)?.ok_or_else(|| not_found(from))?;
            coffer_store::volume::rename(tx, &from.pool, &from.key, &to.key)?;
            users::repoint(tx, from, to)
        });
        self.remove_backup_files(if recorded.is_ok() { &old } else { &new });
        recorded
    }
}

/// Refuses a volume that is being deleted.
pub(super) fn refuse_unfinished(volume: &CustomVolume) -> Result<(), EngineError> {
    match volume.phase {
        Phase::Ready => Ok(()),
        Phase::Creating | Phase::Deleting => {
            Err(EngineError::Refused(format!("storage volume {} is being deleted; delete it again to finish that", volume.name)))
        }
    }
}
