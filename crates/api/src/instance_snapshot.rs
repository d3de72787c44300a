//! Snapshots of instances.

use std::collections::BTreeMap;

use crate::{InstancePostTarget, Timestamp};

wire! {
    /// A snapshot of an instance.
    pub struct InstanceSnapshot {
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
        /// Architecture, as `x86_64`.
        pub architecture: String,
        /// Configuration at that moment.
        pub config: BTreeMap<String, String>,
        /// When it was taken.
        pub created_at: Timestamp,
        /// Devices at that moment.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Whether the instance was ephemeral.
        pub ephemeral: bool,
        /// Configuration with the profiles applied.
        pub expanded_config: BTreeMap<String, String>,
        /// Devices with the profiles applied.
        pub expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
        /// When the instance was last started before.
        pub last_used_at: Timestamp,
        /// Name, without the instance's.
        pub name: String,
        /// Profiles at that moment.
        pub profiles: Vec<String>,
        /// Whether it holds running state.
        pub stateful: bool,
        /// Bytes it occupies; -1 if unknown.
        pub size: i64,
    }

    /// `POST /1.0/instances/{name}/snapshots`.
    pub struct InstanceSnapshotsPost {
        /// Name; empty lets `snapshots.pattern` choose.
        pub name: String,
        /// Whether running state is stored.
        pub stateful: bool,
        /// When it is deleted by itself; null lets `snapshots.expiry` decide.
        pub expires_at: Option<Timestamp>,
    }

    /// `PUT /1.0/instances/{name}/snapshots/{snapshot}`.
    pub struct InstanceSnapshotPut {
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
    }

    /// `POST /1.0/instances/{name}/snapshots/{snapshot}`: rename or migrate.
    pub struct InstanceSnapshotPost {
        /// New name.
        pub name: String,
        /// Whether this is a migration.
        pub migration: bool,
        /// Where a push migration goes.
        pub target: Option<InstancePostTarget>,
        /// Whether running state goes along.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub live: bool,
    }
}
