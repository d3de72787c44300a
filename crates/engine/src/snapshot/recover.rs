//! After a start of the daemon: finishes or removes the snapshots that somebody was working on.

use coffer_base::chain;
use coffer_store::snapshot::Owned;

use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// Finishes renames, and removes what is half made or half deleted.
    pub(crate) fn recover_snapshots(&self) {
        let unsettled = self.inner.store.read(coffer_store::snapshot::unsettled);
        let unsettled = unsettled.inspect_err(|error| tracing::error!("listing snapshots: {}", chain(error))).unwrap_or_default();
        for owned in unsettled {
            if let Err(error) = self.settle_snapshot(&owned) {
                tracing::error!(instance = %owned.instance, snapshot = %owned.snapshot.name, "recovering it: {}", chain(&error));
            }
        }
    }

    fn settle_snapshot(&self, owned: &Owned) -> Result<(), EngineError> {
        let loaded = self.load(&owned.project, &owned.instance)?;
        match &owned.snapshot.renamed_from {
            Some(old) => self.finish_snapshot_rename(&loaded.instance, old, &owned.snapshot.name)?,
            None => self.forget_snapshot(&loaded.instance, &owned.snapshot.name)?,
        }
        self.write_backup(&loaded)
    }
}
