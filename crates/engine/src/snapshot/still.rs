//! Holding a running instance still while its files are read, where that takes more than a moment.

use coffer_model::{Instance, Status};
use coffer_runtime_spec::Request;

use crate::Engine;
use crate::error::EngineError;
use crate::live::Claim;

/// Set while a running instance is held still, so that the next daemon lets it go on if this one dies meanwhile.
const HELD: &str = "volatile.held_still";

/// An instance that is held still until this is dropped.
pub(crate) struct Still<'a> {
    engine: &'a Engine,
    claim: &'a Claim,
    instance: &'a Instance,
}

impl Engine {
    /// Holds an instance still that is running; one that is frozen or stopped is still by itself.
    pub(crate) fn hold_still<'a>(&'a self, claim: &'a Claim, instance: &'a Instance) -> Result<Option<Still<'a>>, EngineError> {
        if claim.cell().status() != Status::Running {
            return Ok(None);
        }
        self.note_held(instance, Some("true"))?;
        let still = Still { engine: self, claim, instance };
        let running = claim.cell().running()?;
        let failed = |cause| EngineError::Monitor { instance: instance.name.clone(), doing: "holding it still", cause };
        match running.monitor.tell(Request::Freeze, &[]) {
            // One that is just ending writes nothing any more.
            Ok(()) | Err(crate::MonitorError::Gone) => Ok(Some(still)),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Lets an instance go on that a daemon held still when it died.
    pub(crate) fn release_held(&self, instance: &Instance) -> Result<(), EngineError> {
        if instance.config.get(HELD).is_none() {
            return Ok(());
        }
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        if cell.status() == Status::Frozen {
            self.thaw(&cell.claim_beside_readers("resuming")?, instance, None)?;
        }
        self.note_held(instance, None)
    }

    fn note_held(&self, instance: &Instance, value: Option<&str>) -> Result<(), EngineError> {
        Ok(self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &[(HELD, value)]))?)
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        let thawed = match self.claim.cell().running() {
            Ok(running) => running.monitor.tell(Request::Thaw, &[]).map_err(|cause| EngineError::Monitor {
                instance: self.instance.name.clone(),
                doing: "letting it go on",
                cause,
            }),
            // It ended meanwhile.
            Err(_) => Ok(()),
        };
        if let Err(error) = thawed.and_then(|()| self.engine.note_held(self.instance, None)) {
            tracing::warn!(instance = %self.instance.name, "{}", coffer_base::chain(&error));
        }
    }
}
