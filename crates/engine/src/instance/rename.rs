//! Renaming a stopped instance.

use coffer_model::{InstanceName, ProjectName, Status};
use coffer_storage::Volume;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};

/// Where a rename that is under way remembers what the volume is still called.
pub(crate) const RENAMED_FROM: &str = "volatile.renamed_from";

impl Engine {
    /// Renames a stopped instance in an operation.
    ///
    /// # Errors
    /// If there is no such instance, it runs, or the new name is taken.
    pub fn rename_instance(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        new: InstanceName,
    ) -> Result<OperationView, EngineError> {
        let instance = self.load(project, name)?.instance;
        let cell = self.inner.cells.get(project, name);
        if cell.status() != Status::Stopped {
            return Err(cell.wrong_state(cell.status(), "it can be renamed only when it is stopped"));
        }
        if self.load(project, &new).is_ok() {
            return Err(EngineError::exists("instance", &new));
        }
        let operation = NewOperation::instance("Renaming instance", project, name.as_str());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(operation, move |_| {
            let _claim = cell.claim("renaming")?;
            engine.inner.store.write(|tx| {
                coffer_store::instance::rename(tx, &instance.project, &instance.name, &new)?;
                let mut keys = vec![(RENAMED_FROM, Some(instance.name.as_str()))];
                // What has not run yet since the creation or copy runs with the new name anyway.
                if instance.config.get(super::templates::DEFERRED).is_none() {
                    keys.push((super::templates::DEFERRED, Some(coffer_image::Trigger::Rename.as_str())));
                }
                coffer_store::instance::set_volatile(tx, &instance.project, &new, &keys)
            })?;
            engine.finish_rename(&instance.project, &instance.name, &new)?;
            engine.forget_addresses(&instance);
            engine.inner.cells.forget(&instance.project, &instance.name);
            let renamed = engine.load(&instance.project, &new)?.instance;
            engine.lifecycle(&renamed, "instance-renamed", Some(&caller));
            Ok(())
        }))
    }

    /// Gives volume and files their new name. May be called again after a crash.
    pub(crate) fn finish_rename(&self, project: &ProjectName, old: &InstanceName, new: &InstanceName) -> Result<(), EngineError> {
        let loaded = self.load(project, new)?;
        let pool = self.pool_driver(&loaded.instance.pool)?;
        let (from, to) = (Volume::instance(project, old), Volume::instance(project, new));
        if pool.exists(&from)? && !pool.exists(&to)? {
            pool.rename(&from, &to)?;
        }
        let logs = |name: &InstanceName| self.inner.settings.dir.join("logs").join(project.prefix(name.as_str()));
        if logs(old).exists() {
            std::fs::rename(logs(old), logs(new)).map_err(|cause| EngineError::system("renaming the log directory", cause))?;
        }
        self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, project, new, &[(RENAMED_FROM, None::<&str>)]))?;
        self.write_backup(&self.load(project, new)?)
    }
}
