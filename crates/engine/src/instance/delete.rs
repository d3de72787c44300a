//! Deleting an instance.

use coffer_base::fault;
use coffer_model::{Instance, InstanceName, Phase, ProjectName, Status};

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::live::Claim;
use crate::operations::{NewOperation, OperationView};

impl Engine {
    /// Deletes a stopped instance in an operation.
    ///
    /// # Errors
    /// If there is no such instance, it runs, or it is protected.
    pub fn delete_instance(&self, caller: &Caller, project: &ProjectName, name: &InstanceName) -> Result<OperationView, EngineError> {
        let loaded = self.load(project, name)?;
        let cell = self.inner.cells.get(project, name);
        let status = cell.status();
        if !matches!(status, Status::Stopped | Status::Error) {
            return Err(cell.wrong_state(status, "it can be deleted only when it is stopped (or with --force)"));
        }
        if loaded.config.flag("security.protection.delete", false) {
            return Err(EngineError::Refused(format!("instance {name} is protected; unset security.protection.delete to delete it")));
        }
        let new = NewOperation::instance("Deleting instance", project, name.as_str());
        let (engine, caller, instance) = (self.clone(), caller.clone(), loaded.instance);
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim("deleting")?;
            engine.delete_stopped(&claim, &instance, Some(&caller))
        }))
    }

    /// Deletes a stopped instance. From the moment it is marked it will be gone, if not now then after the next start of
    /// the daemon.
    pub(crate) fn delete_stopped(&self, claim: &Claim, instance: &Instance, caller: Option<&Caller>) -> Result<(), EngineError> {
        let status = claim.cell().status();
        if !matches!(status, Status::Stopped | Status::Error) {
            return Err(claim.cell().wrong_state(status, "it can be deleted only when it is stopped"));
        }
        let (project, name) = (&instance.project, &instance.name);
        self.inner.store.write(|tx| coffer_store::instance::set_phase(tx, project, name, Phase::Deleting))?;
        let cut = |cause| EngineError::system("deleting", cause);
        fault::point("delete.marked").map_err(cut)?;
        self.remove(instance)?;
        self.inner.cells.forget(project, name);
        self.forget_warnings(&format!("/1.0/instances/{name}"), Some(project));
        self.lifecycle(instance, "instance-deleted", caller);
        Ok(())
    }

    /// Removes all that a marked instance has: its snapshots, its volume, its files, its record, in this order.
    pub(crate) fn remove(&self, instance: &Instance) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("deleting", cause);
        self.remove_volumes(instance)?;
        fault::point("delete.volume-removed").map_err(cut)?;
        for directory in [self.log_directory(instance), self.device_directory(instance), self.run_path(instance)] {
            match std::fs::remove_dir_all(&directory) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!("removing {}: {cause}", directory.display());
                }
                _ => {}
            }
        }
        self.remove_backup_files(&crate::backup::of_instance(instance));
        self.forget_addresses(instance);
        self.free(instance);
        self.inner.store.write(|tx| coffer_store::instance::delete(tx, &instance.project, &instance.name))?;
        fault::point("delete.forgotten").map_err(cut)
    }
}
