//! Deleting a volume with its snapshots: all or nothing.

use coffer_base::fault;
use coffer_model::{Phase, PoolName, ProjectName};
use coffer_storage::{Pool as Driver, StorageError, Volume};

use super::{VolumePlace, not_found, read};
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;

impl Engine {
    /// Deletes a volume that nobody uses, and its snapshots.
    ///
    /// # Errors
    /// If there is no such volume, somebody uses it, or its pool cannot remove it; while nothing of it is gone it stays whole.
    pub fn delete_volume(&self, caller: &Caller, place: &VolumePlace) -> Result<(), EngineError> {
        let _claim = self.inner.volumes.claim(place, "deleting")?;
        let driver = self.pool_driver(&place.pool)?;
        let before = self.inner.store.try_write(|tx| {
            let volume = read(tx, place)?.filter(|volume| volume.phase != Phase::Creating).ok_or_else(|| not_found(place))?;
            let users = self.volume_users(tx, place)?;
            if !users.is_empty() {
                return Err(EngineError::InUse { entity: "storage volume", name: volume.name.to_string(), users: users.join(", ") });
            }
            coffer_store::volume::set_phase(tx, &place.pool, &place.key.project, &place.key.name, Phase::Deleting)?;
            Ok(volume.phase)
        })?;
        let removed = self.finish_deletion(driver.as_ref(), place);
        if let Err(error) = removed {
            self.keep_if_whole(driver.as_ref(), place, before)?;
            return Err(error);
        }
        self.tell_volume(place, "storage-volume-deleted", Some(caller));
        Ok(())
    }

    /// Removes an image's volume from a pool; it is made anew when the next instance is made from the image there.
    ///
    /// # Errors
    /// If the project has no such image, or it is not unpacked in the pool.
    pub fn delete_image_volume(&self, pool: &PoolName, project: &ProjectName, fingerprint: &str) -> Result<(), EngineError> {
        let image = self.image(project, fingerprint)?.image;
        Ok(self.pool_driver(pool)?.delete_volume(&Volume::image(&image.fingerprint))?)
    }

    /// Removes all that a marked volume has: its snapshots, its content, its record, in this order.
    pub(super) fn finish_deletion(&self, driver: &dyn Driver, place: &VolumePlace) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("deleting the volume", cause);
        fault::point("volume-delete.marked").map_err(cut)?;
        remove_from_pool(driver, &place.volume())?;
        fault::point("volume-delete.removed").map_err(cut)?;
        self.remove_backup_files(&crate::backup::of_volume(place));
        let (pool, key) = (&place.pool, &place.key);
        Ok(self.inner.store.write(|tx| coffer_store::volume::delete(tx, pool, &key.project, &key.name))?)
    }

    /// Takes the mark of a deletion off a volume of which nothing is gone yet.
    fn keep_if_whole(&self, driver: &dyn Driver, place: &VolumePlace, before: Phase) -> Result<(), EngineError> {
        let Some(volume) = self.inner.store.read(|conn| read(conn, place))? else { return Ok(()) };
        let recorded = self.inner.store.read(|conn| coffer_store::volume_snapshot::list(conn, &volume))?;
        let there = |volume: &Volume| driver.exists(volume).unwrap_or(false);
        let whole = there(&place.volume()) && recorded.iter().all(|snapshot| there(&place.volume().snapshot(&snapshot.name)));
        if whole {
            let (pool, key) = (&place.pool, &place.key);
            self.inner.store.write(|tx| coffer_store::volume::set_phase(tx, pool, &key.project, &key.name, before))?;
        }
        Ok(())
    }
}

/// Removes a volume and all its snapshots from a pool; what is gone already is fine.
pub(crate) fn remove_from_pool(driver: &dyn Driver, volume: &Volume) -> Result<(), StorageError> {
    let snapshots = match driver.snapshots() {
        Some(power) => power.list(volume)?,
        None => Vec::new(),
    };
    for name in snapshots {
        remove_one(driver, &volume.snapshot(&name))?;
    }
    remove_one(driver, volume)
}

/// Removes one volume or snapshot from a pool; one that is gone already is fine.
pub(super) fn remove_one(driver: &dyn Driver, volume: &Volume) -> Result<(), StorageError> {
    match driver.delete_volume(volume) {
        Ok(()) | Err(StorageError::NoVolume { .. }) => Ok(()),
        // Gone from its name; the space comes back when the pool is opened next.
        Err(error @ StorageError::Reclaim { .. }) => {
            tracing::warn!("{}", coffer_base::chain(&error));
            Ok(())
        }
        Err(error) => Err(error),
    }
}
