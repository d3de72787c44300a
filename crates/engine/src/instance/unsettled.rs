//! A change of an instance that is under way, remembered so that the next daemon settles it when this one dies in the middle.
//!
//! ```text
//! noted -> applied in the kernel -> recorded -> backup.yaml written -> forgotten
//! ```
//!
//! The note holds the devices that are not the record's: those that are to be, or those that were. Whichever of them a running
//! instance has when a daemon finds the note, it ends up with the record's.

use coffer_base::chain;
use coffer_model::{Devices, Instance};
use coffer_runtime_spec::Request;
use coffer_store::Tx;

use super::start::Loaded;
use crate::Engine;
use crate::error::EngineError;

/// The key that holds the note.
const CHANGING: &str = "volatile.changing";

/// Notes in a transaction that an instance may have these devices instead of its record's.
pub(crate) fn note(tx: &Tx<'_>, instance: &Instance, others: &Devices) -> Result<(), coffer_store::StoreError> {
    let text = serde_json::to_string(others).unwrap_or_else(|_| "{}".to_owned());
    coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &[(CHANGING, Some(text.as_str()))])
}

impl Loaded {
    /// All devices, those of the profiles among them, as they are written down.
    pub(crate) fn expanded(&self) -> Devices {
        self.instance.expanded_devices(&self.profiles)
    }

    /// Whether a running instance has something to do when it becomes another.
    pub(crate) fn changes_live(&self, new: &Self) -> bool {
        self.expanded() != new.expanded() || self.config != new.config
    }
}

impl Engine {
    /// Forgets that an instance is being changed.
    pub(crate) fn forget_change(&self, instance: &Instance) -> Result<(), EngineError> {
        let keys = [(CHANGING, None::<&str>)];
        Ok(self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys))?)
    }

    /// Settles a change in which a daemon died: a running instance gets what its record says, and so does its `backup.yaml`.
    pub(crate) fn settle_change(&self, instance: &Instance) -> Result<(), EngineError> {
        let Some(others) = instance.config.get(CHANGING) else { return Ok(()) };
        let others: Devices = serde_json::from_str(others).unwrap_or_default();
        let mut loaded = self.load(&instance.project, &instance.name)?;
        if let Ok(running) = self.inner.cells.get(&instance.project, &instance.name).running() {
            let other = Loaded {
                instance: Instance { devices: others, profiles: Vec::new(), ..loaded.instance.clone() },
                id: loaded.id,
                profiles: Vec::new(),
                config: loaded.config.clone(),
            };
            let keys: Vec<(String, Option<String>)> =
                self.settle_devices(&running, &other, &loaded)?.into_iter().map(|(key, value)| (key, Some(value))).collect();
            self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys))?;
            let limits = self.live_limits(&loaded, self.cpus_of(loaded.id).as_deref())?;
            let failed = |cause| EngineError::Monitor { instance: instance.name.clone(), doing: "settling its limits", cause };
            running.monitor.tell(Request::SetLimits { limits: Box::new(limits) }, &[]).map_err(failed)?;
            let mounting = Box::new(super::resolve::mounting(&loaded.config));
            let failed = |cause| EngineError::Monitor { instance: instance.name.clone(), doing: "settling what it may mount", cause };
            running.monitor.tell(Request::SetMounting { mounting }, &[]).map_err(failed)?;
            tracing::info!(instance = %instance.name, "settled a change in which an earlier daemon ended");
        }
        self.forget_change(instance)?;
        loaded = self.load(&loaded.instance.project, &loaded.instance.name)?;
        self.write_backup(&loaded)
    }

    /// Like [`Engine::settle_change`], where a failure is logged: the instance goes on as it is.
    pub(crate) fn settle_change_if_any(&self, instance: &Instance) {
        if let Err(error) = self.settle_change(instance) {
            tracing::error!(instance = %instance.name, "settling a change that was cut off: {}", chain(&error));
        }
    }
}
