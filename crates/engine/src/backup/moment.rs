//! The moment that a backup or an image is of: a snapshot where the pool takes one quickly, so that the instance is free while it is packed.

use coffer_base::fault;
use coffer_model::{InstanceSnapshot, SnapshotName, Time};
use coffer_storage::Volume;
use uuid::Uuid;

use super::Held;
use crate::Engine;
use crate::error::EngineError;

/// A snapshot that nobody sees. Its record says that it is not whole, so a start of the daemon removes it.
///
/// It goes when this is dropped, and then the right to what it is of.
pub(crate) struct Hidden<'e> {
    engine: &'e Engine,
    held: Held<'e>,
    name: SnapshotName,
}

/// What there is to pack.
pub(crate) enum Moment<'e> {
    /// The thing itself, which has to be held meanwhile.
    Itself(Held<'e>),
    /// A snapshot that was taken for it.
    Snapshot(Hidden<'e>),
    /// A snapshot that the instance has.
    Kept(Held<'e>, SnapshotName),
}

impl Engine {
    /// Takes a snapshot to pack, where that is quicker than packing.
    pub(crate) fn moment_of<'e>(&'e self, held: Held<'e>) -> Result<Moment<'e>, EngineError> {
        let pool = match &held {
            Held::Instance(_, instance) => &instance.pool,
            Held::Volume { place, .. } => &place.pool,
        };
        let pool = self.pool_driver(pool)?;
        let quick = match (&held, pool.snapshots()) {
            (_, None) => false,
            (Held::Instance(..), Some(power)) => power.at_once() || power.is_light(),
            (Held::Volume { .. }, Some(power)) => power.at_once(),
        };
        if quick { self.hidden_snapshot(held).map(Moment::Snapshot) } else { Ok(Moment::Itself(held)) }
    }

    fn hidden_snapshot<'e>(&'e self, held: Held<'e>) -> Result<Hidden<'e>, EngineError> {
        let name: SnapshotName = format!("coffer-backup-{}", Uuid::new_v4().simple()).parse()?;
        // What is cut off from here on is taken back with it.
        let hidden = Hidden { engine: self, held, name };
        match &hidden.held {
            Held::Instance(claim, instance) => {
                let snapshot = InstanceSnapshot::of(instance, hidden.name.clone(), Time::now(), None);
                self.inner.store.write(|tx| coffer_store::snapshot::insert(tx, &instance.project, &instance.name, &snapshot))?;
                let pool = self.pool_driver(&instance.pool)?;
                let power = pool.snapshots().ok_or_else(|| self.no_snapshots(instance))?;
                let still = if power.at_once() { None } else { self.hold_still(claim, instance)? };
                power.snapshot(&Volume::instance(&instance.project, &instance.name), &hidden.name)?;
                drop(still);
            }
            Held::Volume { place, .. } => self.take_hidden_snapshot(place, &hidden.name)?,
        }
        fault::point("backup.snapshot-taken").map_err(|cause| EngineError::system("taking a snapshot to pack", cause))?;
        Ok(hidden)
    }
}

impl<'e> Moment<'e> {
    /// What was claimed to be packed.
    pub(crate) fn held(&self) -> &Held<'e> {
        match self {
            Self::Itself(held) | Self::Snapshot(Hidden { held, .. }) | Self::Kept(held, _) => held,
        }
    }

    /// The volume to pack in the place of one that is backed up.
    pub(crate) fn of(&self, volume: &Volume) -> Volume {
        match self {
            Self::Itself(_) => volume.clone(),
            Self::Snapshot(Hidden { name, .. }) | Self::Kept(_, name) => volume.snapshot(name),
        }
    }

    /// Lets others work on the instance or volume, if what is packed is not what they would change.
    pub(crate) fn share(&mut self) {
        match self {
            Self::Itself(_) => {}
            Self::Snapshot(Hidden { held, .. }) | Self::Kept(held, _) => held.share(),
        }
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let removed = match &self.held {
            Held::Instance(_, instance) => self.engine.forget_snapshot(instance, &self.name),
            Held::Volume { place, .. } => self.engine.remove_hidden_snapshot(place, &self.name),
        };
        if let Err(error) = removed {
            tracing::warn!("removing the snapshot that was packed: {}", coffer_base::chain(&error));
        }
    }
}
