//! What copies and moves of instances are asked for.

use coffer_model::{Config, Devices, InstanceName, PoolName, ProfileName, ProjectName, SnapshotName};

/// A copy of an instance or of a snapshot on this server.
#[derive(Debug, Clone)]
pub struct CopyInstance {
    /// The project it is made in.
    pub project: ProjectName,
    /// Its name; the server finds one when there is none.
    pub name: Option<InstanceName>,
    /// The project of the source.
    pub source_project: ProjectName,
    /// The instance that is copied.
    pub source: InstanceName,
    /// The snapshot of it that is copied instead of what it is now.
    pub snapshot: Option<SnapshotName>,
    /// Whether the source's snapshots are copied too.
    pub with_snapshots: bool,
    /// Whether a copy that is there already is brought up to date.
    pub refresh: bool,
    /// Free text.
    pub description: String,
    /// Whether it goes when it stops.
    pub ephemeral: bool,
    /// Its profiles; `None` is the source's.
    pub profiles: Option<Vec<ProfileName>>,
    /// Its own configuration; keys that are missing are the source's.
    pub config: Config,
    /// Its own devices; devices that are missing are the source's.
    pub devices: Devices,
    /// Whether it is started at once.
    pub start: bool,
}

/// Where an instance goes; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MoveInstance {
    /// Its name.
    pub name: Option<InstanceName>,
    /// Its project.
    pub project: Option<ProjectName>,
    /// The pool of its root.
    pub pool: Option<PoolName>,
    /// Whether its snapshots are deleted instead of going along.
    pub without_snapshots: bool,
}
