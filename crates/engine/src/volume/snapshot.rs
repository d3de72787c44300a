//! Snapshots of volumes: taken, changed, renamed, deleted, restored.

use coffer_base::fault;
use coffer_model::{CustomVolume, Phase, SnapshotName, Time, VolumeSnapshot};
use coffer_storage::{Pool as Driver, Snapshots, StorageError};
use coffer_store::volume_snapshot;

use super::delete::remove_one;
use super::rename::refuse_unfinished;
use super::{SnapshotExpiry, VolumePlace, resources};
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};
use crate::{Engine, Precondition};

impl Engine {
    /// Lists a volume's snapshots, the oldest first.
    ///
    /// # Errors
    /// If there is no such volume.
    pub fn volume_snapshots(&self, place: &VolumePlace) -> Result<(CustomVolume, Vec<VolumeSnapshot>), EngineError> {
        let volume = self.custom_volume(place)?;
        let all = self.inner.store.read(|conn| volume_snapshot::list(conn, &volume))?;
        Ok((volume, all.into_iter().filter(|snapshot| snapshot.phase != Phase::Creating).collect()))
    }

    /// Reads one snapshot of a volume.
    ///
    /// # Errors
    /// If there is no such volume or snapshot.
    pub fn volume_snapshot(&self, place: &VolumePlace, name: &SnapshotName) -> Result<(CustomVolume, VolumeSnapshot), EngineError> {
        let (volume, all) = self.volume_snapshots(place)?;
        let found = all.into_iter().find(|snapshot| snapshot.name == *name);
        Ok((volume, found.ok_or_else(|| not_found(place, name))?))
    }

    /// Takes a snapshot of a volume in an operation, also while instances write to it.
    ///
    /// Without a name, `snapshots.pattern` makes one; without a time, `snapshots.expiry` says when it goes.
    ///
    /// # Errors
    /// If there is no such volume, the name is taken, or the pool has no snapshots.
    pub fn create_volume_snapshot(
        &self,
        caller: &Caller,
        place: &VolumePlace,
        name: Option<SnapshotName>,
        expiry: SnapshotExpiry,
    ) -> Result<OperationView, EngineError> {
        let (volume, all) = self.volume_snapshots(place)?;
        refuse_unfinished(&volume)?;
        power(self.pool_driver(&place.pool)?.as_ref(), place)?;
        if let Some(name) = name.as_ref().filter(|name| all.iter().any(|snapshot| snapshot.name == **name)) {
            return Err(EngineError::exists("storage volume snapshot", format!("{}/{name}", volume.name)));
        }
        let new = NewOperation::task("Snapshotting storage volume", &place.key.project, resources(place));
        let (engine, caller, place) = (self.clone(), caller.clone(), place.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let name = engine.take_volume_snapshot(&place, name, expiry)?;
            engine.tell_snapshot(&place, &name, "storage-volume-snapshot-created", &caller);
            Ok(())
        }))
    }

    /// Changes a snapshot's description and when it goes.
    ///
    /// # Errors
    /// If there is no such snapshot, or it changed since the client read it.
    pub fn update_volume_snapshot(
        &self,
        caller: &Caller,
        place: &VolumePlace,
        name: &SnapshotName,
        description: String,
        expires_at: Option<Time>,
        only_if: Precondition<'_, VolumeSnapshot>,
    ) -> Result<(), EngineError> {
        let _claim = self.inner.volumes.claim(place, "changing a snapshot of")?;
        let (volume, now) = self.volume_snapshot(place, name)?;
        if only_if.is_some_and(|check| !check(&now)) {
            return Err(EngineError::Changed { entity: "storage volume snapshot", name: format!("{}/{name}", volume.name) });
        }
        let new = VolumeSnapshot { description, expires_at, ..now };
        self.inner.store.write(|tx| volume_snapshot::update(tx, &volume, &new))?;
        self.look_at_snapshots_again();
        self.tell_snapshot(place, name, "storage-volume-snapshot-updated", caller);
        Ok(())
    }

    /// Renames a snapshot in an operation.
    ///
    /// # Errors
    /// If there is no such snapshot, or the new name is taken.
    pub fn rename_volume_snapshot(
        &self,
        caller: &Caller,
        place: &VolumePlace,
        name: &SnapshotName,
        new_name: &SnapshotName,
    ) -> Result<OperationView, EngineError> {
        let (volume, _) = self.volume_snapshot(place, name)?;
        if self.volume_snapshot(place, new_name).is_ok() {
            return Err(EngineError::exists("storage volume snapshot", format!("{}/{new_name}", volume.name)));
        }
        let new = NewOperation::task("Renaming storage volume snapshot", &place.key.project, resources(place));
        let (engine, caller, place, old, name) = (self.clone(), caller.clone(), place.clone(), name.clone(), new_name.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let _claim = engine.inner.volumes.claim(&place, "renaming a snapshot of")?;
            let volume = engine.custom_volume(&place)?;
            engine.inner.store.write(|tx| volume_snapshot::rename(tx, &volume, &old, &name))?;
            fault::point("volume-snapshot-rename.recorded").map_err(|cause| EngineError::system("renaming the snapshot", cause))?;
            engine.finish_rename_of_snapshot(engine.pool_driver(&place.pool)?.as_ref(), &place, &volume, &name)?;
            let source = format!("{}/snapshots/{name}", place.url());
            engine.events().renamed(Some(&place.key.project), "storage-volume-snapshot-renamed", source, &old, Some(&caller));
            Ok(())
        }))
    }

    /// Deletes a snapshot in an operation.
    ///
    /// # Errors
    /// If there is no such snapshot.
    pub fn delete_volume_snapshot(&self, caller: &Caller, place: &VolumePlace, name: &SnapshotName) -> Result<OperationView, EngineError> {
        self.volume_snapshot(place, name)?;
        let new = NewOperation::task("Deleting storage volume snapshot", &place.key.project, resources(place));
        let (engine, caller, place, name) = (self.clone(), caller.clone(), place.clone(), name.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| engine.remove_volume_snapshot(&place, &name, Some(&caller))))
    }

    /// Gives a volume that no running instance uses the content of one of its snapshots.
    ///
    /// # Errors
    /// If there is no such snapshot, or the volume is in use.
    pub fn restore_volume(&self, caller: &Caller, place: &VolumePlace, name: &SnapshotName) -> Result<(), EngineError> {
        let _claim = self.inner.volumes.claim(place, "restoring")?;
        let (volume, _) = self.volume_snapshot(place, name)?;
        refuse_unfinished(&volume)?;
        self.refuse_running_users(place, "restored")?;
        let driver = self.pool_driver(&place.pool)?;
        match power(driver.as_ref(), place)?.restore(&place.volume(), name) {
            // What it held before is out of sight; the space comes back when the pool is opened next.
            Err(error @ StorageError::Reclaim { .. }) => tracing::warn!("{}", coffer_base::chain(&error)),
            restored => restored?,
        }
        let context = Some(serde_json::json!({ "snapshot": name.as_str() }));
        self.events().lifecycle_with(Some(&place.key.project), "storage-volume-restored", place.url(), context, Some(caller));
        Ok(())
    }

    /// Takes a snapshot and answers its name. On failure nothing stays.
    pub(super) fn take_volume_snapshot(
        &self,
        place: &VolumePlace,
        name: Option<SnapshotName>,
        expiry: SnapshotExpiry,
    ) -> Result<SnapshotName, EngineError> {
        let _claim = self.inner.volumes.claim_beside_readers(place, "snapshotting")?;
        let volume = self.custom_volume(place)?;
        refuse_unfinished(&volume)?;
        let driver = self.pool_driver(&place.pool)?;
        let now = Time::now();
        let expires_at = match expiry {
            SnapshotExpiry::Configured => super::schedule::expiry_by_hand(&volume.config, now),
            SnapshotExpiry::Scheduled => super::schedule::expiry(&volume.config, now),
            SnapshotExpiry::Never => None,
            SnapshotExpiry::At(time) => Some(time),
        };
        let snapshot = self.inner.store.try_write(|tx| {
            let name = match name {
                Some(name) => name,
                None => super::schedule::next_name(&volume, &volume_snapshot::list(tx, &volume)?)?,
            };
            let snapshot = VolumeSnapshot {
                name,
                description: String::new(),
                config: volume.config.clone(),
                created_at: now,
                expires_at,
                phase: Phase::Creating,
                renamed_from: None,
            };
            volume_snapshot::insert(tx, &volume, &snapshot)?;
            Ok::<_, EngineError>(snapshot)
        })?;
        let made = self.make_snapshot(driver.as_ref(), place, &volume, &snapshot);
        if made.is_err() {
            let removed = remove_one(driver.as_ref(), &place.volume().snapshot(&snapshot.name)).map_err(EngineError::from);
            let forgotten = removed.and_then(|()| Ok(self.inner.store.write(|tx| volume_snapshot::delete(tx, &volume, &snapshot.name))?));
            if let Err(error) = forgotten {
                tracing::warn!("taking back a snapshot of volume {}: {}", volume.name, coffer_base::chain(&error));
            }
        }
        self.look_at_snapshots_again();
        made.map(|()| snapshot.name)
    }

    /// Takes a snapshot that nobody sees: it is never whole, so a start of the daemon removes it.
    pub(crate) fn take_hidden_snapshot(&self, place: &VolumePlace, name: &SnapshotName) -> Result<(), EngineError> {
        let _claim = self.inner.volumes.claim_beside_readers(place, "snapshotting")?;
        let volume = self.custom_volume(place)?;
        refuse_unfinished(&volume)?;
        let snapshot = VolumeSnapshot {
            name: name.clone(),
            description: String::new(),
            config: volume.config.clone(),
            created_at: Time::now(),
            expires_at: None,
            phase: Phase::Creating,
            renamed_from: None,
        };
        self.inner.store.write(|tx| volume_snapshot::insert(tx, &volume, &snapshot))?;
        Ok(power(self.pool_driver(&place.pool)?.as_ref(), place)?.snapshot(&place.volume(), name)?)
    }

    /// Removes a snapshot that nobody saw.
    pub(crate) fn remove_hidden_snapshot(&self, place: &VolumePlace, name: &SnapshotName) -> Result<(), EngineError> {
        let _claim = self.inner.volumes.claim_beside_readers(place, "deleting a snapshot of")?;
        let volume = self.custom_volume(place)?;
        remove_one(self.pool_driver(&place.pool)?.as_ref(), &place.volume().snapshot(name))?;
        Ok(self.inner.store.write(|tx| volume_snapshot::delete(tx, &volume, name))?)
    }

    fn make_snapshot(
        &self,
        driver: &dyn Driver,
        place: &VolumePlace,
        volume: &CustomVolume,
        snapshot: &VolumeSnapshot,
    ) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("taking the snapshot", cause);
        fault::point("volume-snapshot.recorded").map_err(cut)?;
        power(driver, place)?.snapshot(&place.volume(), &snapshot.name)?;
        fault::point("volume-snapshot.made").map_err(cut)?;
        Ok(self.inner.store.write(|tx| volume_snapshot::set_phase(tx, volume, &snapshot.name, Phase::Ready))?)
    }

    /// Deletes a snapshot; from the moment it is marked it will be gone.
    pub(super) fn remove_volume_snapshot(
        &self,
        place: &VolumePlace,
        name: &SnapshotName,
        caller: Option<&Caller>,
    ) -> Result<(), EngineError> {
        let _claim = self.inner.volumes.claim(place, "deleting a snapshot of")?;
        let (volume, _) = self.volume_snapshot(place, name)?;
        self.inner.store.write(|tx| volume_snapshot::set_phase(tx, &volume, name, Phase::Deleting))?;
        let removed = self.finish_deletion_of_snapshot(self.pool_driver(&place.pool)?.as_ref(), place, &volume, name);
        if let Err(error) = removed {
            if self.pool_driver(&place.pool)?.exists(&place.volume().snapshot(name)).unwrap_or(false) {
                self.inner.store.write(|tx| volume_snapshot::set_phase(tx, &volume, name, Phase::Ready))?;
            }
            return Err(error);
        }
        let source = format!("{}/snapshots/{name}", place.url());
        self.events().lifecycle(Some(&place.key.project), "storage-volume-snapshot-deleted", source, caller);
        Ok(())
    }

    /// Removes a marked snapshot from its pool, and its record. May be called again after a crash.
    pub(super) fn finish_deletion_of_snapshot(
        &self,
        driver: &dyn Driver,
        place: &VolumePlace,
        volume: &CustomVolume,
        name: &SnapshotName,
    ) -> Result<(), EngineError> {
        fault::point("volume-snapshot-delete.marked").map_err(|cause| EngineError::system("deleting the snapshot", cause))?;
        remove_one(driver, &place.volume().snapshot(name))?;
        Ok(self.inner.store.write(|tx| volume_snapshot::delete(tx, volume, name))?)
    }

    /// Gives a snapshot its new name on disk. May be called again after a crash.
    pub(super) fn finish_rename_of_snapshot(
        &self,
        driver: &dyn Driver,
        place: &VolumePlace,
        volume: &CustomVolume,
        name: &SnapshotName,
    ) -> Result<(), EngineError> {
        let kept = self.inner.store.read(|conn| volume_snapshot::get(conn, volume, name))?;
        if let Some(old) = kept.and_then(|snapshot| snapshot.renamed_from) {
            let (from, to) = (place.volume().snapshot(&old), place.volume().snapshot(name));
            if driver.exists(&from)? && !driver.exists(&to)? {
                driver.rename(&from, &to)?;
            }
        }
        Ok(self.inner.store.write(|tx| volume_snapshot::renamed(tx, volume, name))?)
    }

    fn tell_snapshot(&self, place: &VolumePlace, name: &SnapshotName, action: &'static str, caller: &Caller) {
        let source = format!("{}/snapshots/{name}", place.url());
        self.events().lifecycle(Some(&place.key.project), action, source, Some(caller));
    }
}

fn not_found(place: &VolumePlace, name: &SnapshotName) -> EngineError {
    EngineError::not_found("storage volume snapshot", format!("{}/{name} in pool {}", place.key.name, place.pool))
}

/// The power of a pool's driver to keep snapshots.
fn power<'a>(driver: &'a dyn Driver, place: &VolumePlace) -> Result<&'a dyn Snapshots, EngineError> {
    let without = || EngineError::Refused(format!("storage pool {}: its driver {} keeps no snapshots", place.pool, driver.driver()));
    driver.snapshots().ok_or_else(without)
}
