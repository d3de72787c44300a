//! Giving an instance another root at once: the new one is put together as a snapshot that nobody sees, and restored.

use coffer_base::{Undo, fault};
use coffer_model::{Instance, InstanceSnapshot, Phase, Status};
use coffer_storage::Volume;

use super::restore::note_restore_in;
use crate::Engine;
use crate::error::EngineError;
use crate::live::Claim;

impl Engine {
    /// Gives a stopped instance the files that `fill` puts into a new volume and the configuration of `next`.
    ///
    /// Until the new root is whole the instance is what it was; from then on it will have it, if not now then after the next
    /// start of the daemon.
    pub(crate) fn replace_root(
        &self,
        claim: &Claim,
        instance: &Instance,
        next: &InstanceSnapshot,
        fill: impl FnOnce(&Volume) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("replacing the root", cause);
        let (project, name, store) = (&instance.project, &instance.name, &self.inner.store);
        if claim.cell().status() != Status::Stopped {
            return Err(claim.cell().wrong_state(claim.cell().status(), "its root can be replaced only when it is stopped"));
        }
        store.write(|tx| coffer_store::snapshot::insert(tx, project, name, next))?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a new root: {warning}"));
        undo.push(format!("forgetting snapshot {name}/{}", next.name), || self.forget_snapshot(instance, &next.name));
        fault::point("replace.recorded").map_err(cut)?;
        fill(&Volume::instance(project, name).snapshot(&next.name))?;
        fault::point("replace.filled").map_err(cut)?;
        store.write(|tx| {
            coffer_store::snapshot::set_phase(tx, project, name, &next.name, Phase::Deleting)?;
            note_restore_in(tx, instance, Some((&next.name, false)))
        })?;
        let restored = self.restore_stopped(instance, next);
        self.note_restore(instance, None)?;
        restored?;
        undo.keep();
        self.forget_snapshot(instance, &next.name)
    }
}
