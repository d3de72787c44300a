//! What the use cases of volumes are asked for and what they answer.

use coffer_model::{Config, ContentType, PoolName, ProjectName, SnapshotName, Time, VolumeKey, VolumeKind, VolumeName};

/// Where a user's volume is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumePlace {
    /// Its pool.
    pub pool: PoolName,
    /// Which volume of the pool.
    pub key: VolumeKey,
}

/// A volume or snapshot as a reader sees it.
#[derive(Debug, Clone)]
pub struct VolumeView {
    /// The pool it is in.
    pub pool: PoolName,
    /// The project it belongs to.
    pub project: ProjectName,
    /// What it is for.
    pub kind: VolumeKind,
    /// The volume's name: an instance's name, an image's fingerprint or the user's.
    pub name: String,
    /// The snapshot's name, if it is one.
    pub snapshot: Option<SnapshotName>,
    /// Free text.
    pub description: String,
    /// Its configuration.
    pub config: Config,
    /// What it holds.
    pub content: ContentType,
    /// When it was made.
    pub created_at: Time,
    /// When it goes by itself; only snapshots do.
    pub expires_at: Option<Time>,
    /// URLs of its users.
    pub used_by: Vec<String>,
}

/// How much room a volume takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeUsage {
    /// Bytes in use.
    pub used: u64,
    /// Bytes it may hold; `None` is as much as the pool has.
    pub total: Option<u64>,
}

/// A new, empty volume.
#[derive(Debug, Clone)]
pub struct CreateVolume {
    /// Where it is made.
    pub place: VolumePlace,
    /// Free text.
    pub description: String,
    /// Its configuration; what it leaves open comes from the pool's `volume.*` keys.
    pub config: Config,
    /// What it holds.
    pub content: ContentType,
}

/// A volume that is made from another one.
#[derive(Debug, Clone)]
pub struct CopyVolume {
    /// The volume whose content it gets.
    pub from: VolumePlace,
    /// The snapshot of it to take, if not what it is now.
    pub snapshot: Option<SnapshotName>,
    /// Where the copy is made.
    pub to: VolumePlace,
    /// Free text; empty is the source's.
    pub description: String,
    /// Its configuration, over the source's.
    pub config: Config,
    /// Whether snapshots are copied too.
    pub snapshots: bool,
    /// Whether a volume that is there already is brought up to date.
    pub refresh: bool,
}

/// A new name, pool or project for a volume.
#[derive(Debug, Clone)]
pub struct RenameVolume {
    /// Which volume.
    pub from: VolumePlace,
    /// What it is to be.
    pub to: VolumePlace,
}

/// When a new snapshot goes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotExpiry {
    /// When `snapshots.expiry.manual` says, or else `snapshots.expiry`.
    Configured,
    /// When `snapshots.expiry` says: the schedule takes it.
    Scheduled,
    /// Never.
    Never,
    /// At this moment.
    At(Time),
}

/// The writable part of a volume: all of it, as a `PUT` replaces it.
#[derive(Debug, Clone)]
pub struct VolumeChange {
    /// Free text.
    pub description: String,
    /// Its configuration.
    pub config: Config,
}

impl CreateVolume {
    /// The volume's name.
    #[must_use]
    pub fn name(&self) -> &VolumeName {
        &self.place.key.name
    }
}
