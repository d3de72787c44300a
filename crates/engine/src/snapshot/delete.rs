//! Deleting a snapshot.

use coffer_base::fault;
use coffer_model::{Instance, InstanceName, Phase, ProjectName, SnapshotName};
use coffer_storage::{Pool, StorageError, Volume};

use super::operation;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::OperationView;

impl Engine {
    /// Deletes a snapshot in an operation.
    ///
    /// # Errors
    /// If there is no such instance or snapshot.
    pub fn delete_snapshot(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        name: &SnapshotName,
    ) -> Result<OperationView, EngineError> {
        let (loaded, _) = self.load_snapshot(project, instance, name)?;
        let new = operation("Deleting snapshot", &loaded.instance, name);
        let (engine, caller, instance, name) = (self.clone(), caller.clone(), loaded.instance, name.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| engine.remove_snapshot(&instance, &name, Some(&caller))))
    }

    /// Deletes a snapshot. From the moment it is marked it will be gone, if not now then after the next start of the daemon.
    pub(crate) fn remove_snapshot(&self, instance: &Instance, name: &SnapshotName, caller: Option<&Caller>) -> Result<(), EngineError> {
        let _claim = self.inner.cells.get(&instance.project, &instance.name).claim("deleting a snapshot of")?;
        self.remove_claimed_snapshot(instance, name)?;
        self.snapshot_lifecycle(instance, name, "instance-snapshot-deleted", caller);
        Ok(())
    }

    /// Deletes a snapshot of an instance that the caller has claimed.
    pub(crate) fn remove_claimed_snapshot(&self, instance: &Instance, name: &SnapshotName) -> Result<(), EngineError> {
        let (loaded, _) = self.load_snapshot(&instance.project, &instance.name, name)?;
        self.inner.store.write(|tx| coffer_store::snapshot::set_phase(tx, &instance.project, &instance.name, name, Phase::Deleting))?;
        fault::point("snapshot-delete.marked").map_err(|cause| EngineError::system("deleting a snapshot", cause))?;
        self.forget_snapshot(&loaded.instance, name)?;
        self.write_backup(&loaded)
    }

    /// Removes the volume and the record of a snapshot that is not whole.
    pub(crate) fn forget_snapshot(&self, instance: &Instance, name: &SnapshotName) -> Result<(), EngineError> {
        let volume = Volume::instance(&instance.project, &instance.name).snapshot(name);
        delete_volume(self.pool_driver(&instance.pool)?.as_ref(), &volume)?;
        fault::point("snapshot-delete.volume-removed").map_err(|cause| EngineError::system("deleting a snapshot", cause))?;
        Ok(self.inner.store.write(|tx| coffer_store::snapshot::delete(tx, &instance.project, &instance.name, name))?)
    }
}

/// Deletes a volume that may be gone already.
pub(crate) fn delete_volume(pool: &dyn Pool, volume: &Volume) -> Result<(), EngineError> {
    match pool.delete_volume(volume) {
        Ok(()) | Err(StorageError::NoVolume { .. }) => Ok(()),
        // Gone from its name; the space comes back when the pool is opened next.
        Err(error @ StorageError::Reclaim { .. }) => {
            tracing::warn!("{}", coffer_base::chain(&error));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
