//! Storage volumes and their snapshots.

use std::collections::BTreeMap;

use crate::Timestamp;

wire! {
    /// A storage volume.
    pub struct StorageVolume {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Never set in answers.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub restore: String,
        /// Name; `volume/snapshot` for snapshots in lists.
        pub name: String,
        /// `container`, `virtual-machine`, `image` or `custom`.
        #[serde(rename = "type")]
        pub kind: String,
        /// URLs of what uses it.
        pub used_by: Vec<String>,
        /// Cluster member it lies on, `none` without a cluster.
        pub location: String,
        /// `filesystem` or `block`.
        pub content_type: String,
        /// Project it belongs to.
        pub project: String,
        /// When it was made.
        pub created_at: Timestamp,
    }

    /// `PUT` (and, field by field, `PATCH`) of a volume.
    pub struct StorageVolumePut {
        /// Configuration, complete.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// If set, the request restores this snapshot and nothing else counts.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub restore: String,
    }

    /// `POST /1.0/storage-pools/{pool}/volumes/{type}`.
    pub struct StorageVolumesPost {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Not used here.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub restore: String,
        /// Name.
        pub name: String,
        /// `custom`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Where its content comes from.
        pub source: StorageVolumeSource,
        /// `filesystem` or `block`; empty means `filesystem`.
        pub content_type: String,
    }

    /// Where a new volume's content comes from.
    pub struct StorageVolumeSource {
        /// Volume to copy.
        pub name: String,
        /// `copy` or `migration`; empty means an empty volume.
        #[serde(rename = "type")]
        pub kind: String,
        /// Pool of the volume to copy.
        pub pool: String,
        /// Certificate of a remote server, PEM.
        pub certificate: String,
        /// `pull` or `push`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub mode: String,
        /// URL of the remote operation of a migration.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub operation: String,
        /// Websocket secrets of a migration.
        #[serde(rename = "secrets", skip_serializing_if = "BTreeMap::is_empty")]
        pub websockets: BTreeMap<String, String>,
        /// Whether snapshots stay behind.
        pub volume_only: bool,
        /// Whether an existing target is brought up to date.
        pub refresh: bool,
        /// Project of the source.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
    }

    /// `POST` of a volume: rename, move or migrate.
    pub struct StorageVolumePost {
        /// New name.
        pub name: String,
        /// New pool; empty means the same.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub pool: String,
        /// Whether this is a migration.
        pub migration: bool,
        /// Where a push migration goes.
        pub target: Option<StorageVolumePostTarget>,
        /// Whether snapshots stay behind.
        pub volume_only: bool,
        /// New project; empty means the same.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
    }

    /// Where a push migration goes.
    pub struct StorageVolumePostTarget {
        /// Certificate of the target server, PEM.
        pub certificate: String,
        /// URL of the operation on the target.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub operation: String,
        /// Websocket secrets of that operation.
        #[serde(rename = "secrets", skip_serializing_if = "BTreeMap::is_empty")]
        pub websockets: BTreeMap<String, String>,
    }

    /// `GET` of a volume's state.
    pub struct StorageVolumeState {
        /// Use of room, if known.
        pub usage: Option<StorageVolumeStateUsage>,
    }

    /// Use of room, in bytes.
    pub struct StorageVolumeStateUsage {
        /// Used.
        #[serde(skip_serializing_if = "is_zero")]
        pub used: u64,
        /// All; -1 means no limit.
        pub total: i64,
    }

    /// A snapshot of a volume.
    pub struct StorageVolumeSnapshot {
        /// Configuration at that moment.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// When it is deleted by itself; null means never.
        pub expires_at: Option<Timestamp>,
        /// Name, `volume/snapshot`.
        pub name: String,
        /// `filesystem` or `block`.
        pub content_type: String,
        /// When it was taken.
        pub created_at: Timestamp,
    }

    /// `PUT` (and, field by field, `PATCH`) of a volume's snapshot.
    pub struct StorageVolumeSnapshotPut {
        /// What it is for, in the user's words.
        pub description: String,
        /// When it is deleted by itself; null means never.
        pub expires_at: Option<Timestamp>,
    }

    /// `POST` of a volume's snapshots.
    pub struct StorageVolumeSnapshotsPost {
        /// Name; empty lets `snapshots.pattern` choose.
        pub name: String,
        /// When it is deleted by itself; null lets `snapshots.expiry` decide.
        pub expires_at: Option<Timestamp>,
    }

    /// `POST` of a volume's snapshot: rename.
    pub struct StorageVolumeSnapshotPost {
        /// New name.
        pub name: String,
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl StorageVolume {
    /// Returns the part that `PUT` takes.
    pub fn writable(&self) -> StorageVolumePut {
        StorageVolumePut { config: self.config.clone(), description: self.description.clone(), restore: String::new() }
    }
}
