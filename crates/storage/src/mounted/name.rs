//! What things in a store are called.

use coffer_model::SnapshotName;

use crate::volume::Volume;

/// A volume, a snapshot, or something that is being made or removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) base: Base,
    pub(crate) snapshot: Option<SnapshotName>,
}

/// Whose thing it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Base {
    /// A volume's, which it names without the snapshot.
    Volume(Volume),
    /// Half made or half removed: it goes when temporaries are cleared.
    Scratch(String),
    /// Whole, and about to take the place of a volume: it does if that place is empty when temporaries are cleared.
    Next(Volume),
}

impl Name {
    /// The name of a volume or snapshot.
    pub(crate) fn of(volume: &Volume) -> Self {
        Self { base: Base::Volume(volume.origin()), snapshot: volume.snapshot_name().cloned() }
    }

    pub(crate) fn scratch(name: impl Into<String>) -> Self {
        Self { base: Base::Scratch(name.into()), snapshot: None }
    }

    pub(crate) fn next(volume: &Volume) -> Self {
        Self { base: Base::Next(volume.origin()), snapshot: None }
    }

    /// The same thing's snapshot of this name.
    pub(crate) fn with_snapshot(&self, snapshot: &SnapshotName) -> Self {
        Self { base: self.base.clone(), snapshot: Some(snapshot.clone()) }
    }

    /// The volume that it is, if it is whole and in its place.
    pub(crate) fn volume(&self) -> Option<Volume> {
        let Base::Volume(volume) = &self.base else { return None };
        Some(self.snapshot.as_ref().map_or_else(|| volume.clone(), |snapshot| volume.snapshot(snapshot)))
    }
}
