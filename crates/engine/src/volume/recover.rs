//! After a start of the daemon, or when a pool came back: volumes are finished or removed where something was cut off.

use coffer_base::chain;
use coffer_model::{CustomVolume, Phase, PoolName, VolumeSnapshot};
use coffer_storage::Pool as Driver;
use coffer_store::volume_snapshot;

use super::VolumePlace;
use super::delete::{remove_from_pool, remove_one};
use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// Finishes or removes what was cut off in a pool. What cannot be settled is logged and tried again at the next start.
    pub(crate) fn settle_volumes(&self, driver: &dyn Driver, pool: &PoolName) {
        if let Err(error) = self.sweep_image_volumes(driver) {
            tracing::error!(%pool, "removing the volumes of images that are gone: {}", chain(&error));
        }
        let all = self.inner.store.read(|conn| coffer_store::volume::list(conn, Some(pool), None));
        for volume in all.inspect_err(|error| tracing::error!(%pool, "listing its volumes: {}", chain(error))).unwrap_or_default() {
            if let Err(error) = self.settle_volume(driver, &volume) {
                tracing::error!(%pool, volume = %volume.name, "recovering it: {}", chain(&error));
            }
        }
    }

    fn settle_volume(&self, driver: &dyn Driver, volume: &CustomVolume) -> Result<(), EngineError> {
        let place = VolumePlace::of(volume);
        match volume.phase {
            // Nobody was told that it exists.
            Phase::Creating => {
                remove_from_pool(driver, &place.volume())?;
                return Ok(self.inner.store.write(|tx| coffer_store::volume::delete(tx, &volume.pool, &volume.project, &volume.name))?);
            }
            // Somebody was told that it will go.
            Phase::Deleting => return self.finish_deletion(driver, &place),
            Phase::Ready => {}
        }
        if volume.renamed_from.is_some() {
            self.finish_rename_of_volume(driver, &place)?;
        }
        for snapshot in self.inner.store.read(|conn| volume_snapshot::list(conn, volume))? {
            self.settle_volume_snapshot(driver, &place, volume, &snapshot)?;
        }
        Ok(())
    }

    fn settle_volume_snapshot(
        &self,
        driver: &dyn Driver,
        place: &VolumePlace,
        volume: &CustomVolume,
        snapshot: &VolumeSnapshot,
    ) -> Result<(), EngineError> {
        match snapshot.phase {
            Phase::Creating => {
                remove_one(driver, &place.volume().snapshot(&snapshot.name))?;
                Ok(self.inner.store.write(|tx| volume_snapshot::delete(tx, volume, &snapshot.name))?)
            }
            Phase::Deleting => self.finish_deletion_of_snapshot(driver, place, volume, &snapshot.name),
            Phase::Ready if snapshot.renamed_from.is_some() => self.finish_rename_of_snapshot(driver, place, volume, &snapshot.name),
            Phase::Ready => Ok(()),
        }
    }
}
