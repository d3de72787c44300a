//! Renaming a snapshot, and saying when it goes.

use coffer_base::{Undo, fault};
use coffer_model::{Instance, InstanceName, InstanceSnapshot, ProjectName, SnapshotName, Time};
use coffer_storage::Volume;

use super::operation;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::OperationView;
use crate::{Engine, Precondition};

impl Engine {
    /// Says when a snapshot is deleted by itself, in an operation; `None` is never.
    ///
    /// # Errors
    /// If there is no such instance or snapshot, or it changed since the client read it.
    pub fn update_snapshot(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        name: &SnapshotName,
        expires_at: Option<Time>,
        only_if: Precondition<'_, InstanceSnapshot>,
    ) -> Result<OperationView, EngineError> {
        let (loaded, snapshot) = self.load_snapshot(project, instance, name)?;
        if only_if.is_some_and(|check| !check(&snapshot)) {
            return Err(EngineError::Changed { entity: "snapshot", name: format!("{instance}/{name}") });
        }
        let new = operation("Updating snapshot", &loaded.instance, name);
        let (engine, caller, instance, name) = (self.clone(), caller.clone(), loaded.instance, name.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let (project, store) = (&instance.project, &engine.inner.store);
            let _claim = engine.inner.cells.get(project, &instance.name).claim_beside_readers("changing")?;
            let (loaded, _) = engine.load_snapshot(project, &instance.name, &name)?;
            store.write(|tx| coffer_store::snapshot::set_expiry(tx, project, &instance.name, &name, expires_at))?;
            engine.write_backup(&loaded)?;
            engine.snapshot_lifecycle(&instance, &name, "instance-snapshot-updated", Some(&caller));
            engine.look_at_snapshots_again();
            Ok(())
        }))
    }

    /// Renames a snapshot in an operation.
    ///
    /// # Errors
    /// If there is no such instance or snapshot, or the new name is taken.
    pub fn rename_snapshot(
        &self,
        caller: &Caller,
        project: &ProjectName,
        instance: &InstanceName,
        name: &SnapshotName,
        new_name: SnapshotName,
    ) -> Result<OperationView, EngineError> {
        let (loaded, _) = self.load_snapshot(project, instance, name)?;
        if self.inner.store.read(|conn| coffer_store::snapshot::get(conn, project, instance, &new_name))?.is_some() {
            return Err(EngineError::exists("snapshot", format_args!("{instance}/{new_name}")));
        }
        let new = operation("Renaming snapshot", &loaded.instance, name);
        let (engine, caller, instance, name) = (self.clone(), caller.clone(), loaded.instance, name.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let (project, store) = (&instance.project, &engine.inner.store);
            let _claim = engine.inner.cells.get(project, &instance.name).claim("renaming a snapshot of")?;
            let (loaded, _) = engine.load_snapshot(project, &instance.name, &name)?;
            store.write(|tx| coffer_store::snapshot::rename(tx, project, &instance.name, &name, &new_name))?;
            let mut undo = Undo::new(|warning| tracing::warn!("taking back a rename: {warning}"));
            undo.push(format!("calling snapshot {}/{new_name} {name} again", instance.name), || {
                engine.move_snapshot_volume(&loaded.instance, &new_name, &name)?;
                store.try_write(|tx| {
                    coffer_store::snapshot::rename(tx, project, &instance.name, &new_name, &name)?;
                    Ok::<_, EngineError>(coffer_store::snapshot::set_renamed(tx, project, &instance.name, &name)?)
                })
            });
            fault::point("snapshot-rename.recorded").map_err(|cause| EngineError::system("renaming a snapshot", cause))?;
            engine.finish_snapshot_rename(&loaded.instance, &name, &new_name)?;
            undo.keep();
            engine.write_backup(&loaded)?;
            let source = super::url(&instance, &new_name);
            engine.events().renamed(Some(&instance.project), "instance-snapshot-renamed", source, &name, Some(&caller));
            Ok(())
        }))
    }

    /// Gives a renamed snapshot's volume its new name. May be called again after a crash.
    pub(crate) fn finish_snapshot_rename(&self, instance: &Instance, old: &SnapshotName, new: &SnapshotName) -> Result<(), EngineError> {
        self.move_snapshot_volume(instance, old, new)?;
        fault::point("snapshot-rename.volume-renamed").map_err(|cause| EngineError::system("renaming a snapshot", cause))?;
        Ok(self.inner.store.write(|tx| coffer_store::snapshot::set_renamed(tx, &instance.project, &instance.name, new))?)
    }

    fn move_snapshot_volume(&self, instance: &Instance, old: &SnapshotName, new: &SnapshotName) -> Result<(), EngineError> {
        let pool = self.pool_driver(&instance.pool)?;
        let volume = Volume::instance(&instance.project, &instance.name);
        let (from, to) = (volume.snapshot(old), volume.snapshot(new));
        if pool.exists(&from)? && !pool.exists(&to)? {
            pool.rename(&from, &to)?;
        }
        Ok(())
    }
}
