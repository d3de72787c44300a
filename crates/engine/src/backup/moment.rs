//! The moment that a backup is of: a snapshot where the pool takes one at once, so that instances go on while it is packed.

use coffer_model::{InstanceSnapshot, SnapshotName, Time};
use coffer_storage::Volume;
use uuid::Uuid;

use super::Held;
use crate::Engine;
use crate::error::EngineError;
use crate::snapshot::still::Still;

/// What is packed.
pub(super) enum Moment<'e> {
    /// The thing itself; a running instance is held still.
    Itself { _still: Option<Still<'e>> },
    /// A snapshot that nobody sees. It goes when this is dropped.
    Snapshot(Hidden<'e>),
}

/// A snapshot that nobody sees. Its record says that it is not whole, so a start of the daemon removes it.
pub(super) struct Hidden<'e> {
    engine: &'e Engine,
    held: &'e Held<'e>,
    name: SnapshotName,
}

impl Engine {
    /// Stops what is packed, for the moment that a snapshot takes, or until the answer is dropped.
    pub(super) fn moment_of<'e>(&'e self, held: &'e Held<'e>) -> Result<Moment<'e>, EngineError> {
        let pool = match held {
            Held::Instance(_, instance) => &instance.pool,
            Held::Volume { place, .. } => &place.pool,
        };
        let at_once = self.pool_driver(pool)?.snapshots().is_some_and(|power| power.at_once());
        match held {
            // What does not run changes nothing.
            Held::Instance(claim, _) if claim.cell().running().is_err() => Ok(Moment::Itself { _still: None }),
            Held::Instance(claim, instance) if !at_once => Ok(Moment::Itself { _still: self.hold_still(claim, instance)? }),
            Held::Volume { .. } if !at_once => Ok(Moment::Itself { _still: None }),
            Held::Instance(..) | Held::Volume { .. } => self.hidden_snapshot(held).map(Moment::Snapshot),
        }
    }

    fn hidden_snapshot<'e>(&'e self, held: &'e Held<'e>) -> Result<Hidden<'e>, EngineError> {
        let name: SnapshotName = format!("coffer-backup-{}", Uuid::new_v4().simple()).parse()?;
        // What is cut off from here on is taken back with it.
        let hidden = Hidden { engine: self, held, name };
        match held {
            Held::Instance(_, instance) => {
                let snapshot = InstanceSnapshot::of(instance, hidden.name.clone(), Time::now(), None);
                self.inner.store.write(|tx| coffer_store::snapshot::insert(tx, &instance.project, &instance.name, &snapshot))?;
                let pool = self.pool_driver(&instance.pool)?;
                let power = pool.snapshots().ok_or_else(|| self.no_snapshots(instance))?;
                power.snapshot(&Volume::instance(&instance.project, &instance.name), &hidden.name)?;
            }
            Held::Volume { place, .. } => self.take_hidden_snapshot(place, &hidden.name)?,
        }
        Ok(hidden)
    }
}

impl Moment<'_> {
    /// The volume to pack in the place of one that is backed up.
    pub(super) fn of(&self, volume: &Volume) -> Volume {
        match self {
            Self::Itself { .. } => volume.clone(),
            Self::Snapshot(hidden) => volume.snapshot(&hidden.name),
        }
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let removed = match self.held {
            Held::Instance(_, instance) => self.engine.forget_snapshot(instance, &self.name),
            Held::Volume { place, .. } => self.engine.remove_hidden_snapshot(place, &self.name),
        };
        if let Err(error) = removed {
            tracing::warn!("removing the snapshot that a backup was made from: {}", coffer_base::chain(&error));
        }
    }
}
