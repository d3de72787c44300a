//! Instances.

use std::collections::BTreeMap;

use crate::{InstanceBackup, InstanceSnapshot, InstanceState, InstanceStatePut, StatusCode, Timestamp};

wire! {
    /// An instance.
    pub struct Instance {
        /// Architecture, as `x86_64`.
        pub architecture: String,
        /// Its own configuration, volatile keys included.
        pub config: BTreeMap<String, String>,
        /// Its own devices.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Whether it is deleted when it stops.
        pub ephemeral: bool,
        /// Profiles, in the order of their application.
        pub profiles: Vec<String>,
        /// Never set in answers.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub restore: String,
        /// Whether a stored running state waits for the next start.
        pub stateful: bool,
        /// What it is for, in the user's words.
        pub description: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// Configuration with the profiles applied.
        pub expanded_config: BTreeMap<String, String>,
        /// Devices with the profiles applied.
        pub expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Name.
        pub name: String,
        /// Text of `status_code`.
        pub status: String,
        /// Running, Stopped, Frozen, Error …
        pub status_code: StatusCode,
        /// When it was last started.
        pub last_used_at: Timestamp,
        /// Cluster member it lives on, `none` without a cluster.
        pub location: String,
        /// `container` or `virtual-machine`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Project it belongs to.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
    }

    /// An instance with everything that belongs to it, as recursion 2 lists it.
    pub struct InstanceFull {
        /// Architecture, as `x86_64`.
        pub architecture: String,
        /// Its own configuration, volatile keys included.
        pub config: BTreeMap<String, String>,
        /// Its own devices.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Whether it is deleted when it stops.
        pub ephemeral: bool,
        /// Profiles, in the order of their application.
        pub profiles: Vec<String>,
        /// Never set in answers.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub restore: String,
        /// Whether a stored running state waits for the next start.
        pub stateful: bool,
        /// What it is for, in the user's words.
        pub description: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// Configuration with the profiles applied.
        pub expanded_config: BTreeMap<String, String>,
        /// Devices with the profiles applied.
        pub expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Name.
        pub name: String,
        /// Text of `status_code`.
        pub status: String,
        /// Running, Stopped, Frozen, Error …
        pub status_code: StatusCode,
        /// When it was last started.
        pub last_used_at: Timestamp,
        /// Cluster member it lives on, `none` without a cluster.
        pub location: String,
        /// `container` or `virtual-machine`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Project it belongs to.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
        /// Its backups.
        pub backups: Vec<InstanceBackup>,
        /// Its state; never null for a single instance.
        pub state: Option<InstanceState>,
        /// Its snapshots, oldest first.
        pub snapshots: Vec<InstanceSnapshot>,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/instances/{name}`.
    pub struct InstancePut {
        /// Architecture, as `x86_64`.
        pub architecture: String,
        /// Its own configuration, complete.
        pub config: BTreeMap<String, String>,
        /// Its own devices, complete.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Whether it is deleted when it stops.
        pub ephemeral: bool,
        /// Profiles, in the order of their application.
        pub profiles: Vec<String>,
        /// If set, the request restores this snapshot (`snapshot` or `instance/snapshot`) and nothing else counts.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub restore: String,
        /// Whether the restore includes running state.
        pub stateful: bool,
        /// What it is for, in the user's words.
        pub description: String,
    }

    /// `POST /1.0/instances`.
    pub struct InstancesPost {
        /// Architecture; empty means the image's.
        pub architecture: String,
        /// Its own configuration.
        pub config: BTreeMap<String, String>,
        /// Its own devices.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Whether it is deleted when it stops.
        pub ephemeral: bool,
        /// Profiles; null means the default profile, an empty list none.
        pub profiles: Option<Vec<String>>,
        /// Not used here.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub restore: String,
        /// Whether running state is copied too.
        pub stateful: bool,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name; empty lets the server choose.
        pub name: String,
        /// Where the root file system comes from.
        pub source: InstanceSource,
        /// A cloud provider's size (`t2.micro`); empty means none.
        pub instance_type: String,
        /// `container` or `virtual-machine`; empty means container.
        #[serde(rename = "type")]
        pub kind: String,
        /// Whether it is started once made (extension `instance_create_start`).
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub start: bool,
    }

    /// Where a new instance comes from.
    pub struct InstanceSource {
        /// `image`, `copy`, `migration` or `none`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Certificate of a remote server, PEM.
        pub certificate: String,
        /// Alias of the image.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub alias: String,
        /// Fingerprint of the image, or the start of one.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub fingerprint: String,
        /// Properties by which the newest image is chosen.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub properties: BTreeMap<String, String>,
        /// URL of the image server.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub server: String,
        /// Secret that opens a private image.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub secret: String,
        /// Protocol of the image server: `lxd` or `simplestreams`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub protocol: String,
        /// Fingerprint of the image a migrated instance once came from.
        #[serde(rename = "base-image", skip_serializing_if = "String::is_empty")]
        pub base_image: String,
        /// `pull` or `push`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub mode: String,
        /// URL of the remote operation of a migration.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub operation: String,
        /// Websocket secrets of a migration.
        #[serde(rename = "secrets", skip_serializing_if = "BTreeMap::is_empty")]
        pub websockets: BTreeMap<String, String>,
        /// Instance or snapshot to copy.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub source: String,
        /// Whether the source runs.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub live: bool,
        /// Whether snapshots stay behind.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub instance_only: bool,
        /// Older name of `instance_only`; both are sent.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub container_only: bool,
        /// Whether an existing target is brought up to date.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub refresh: bool,
        /// Project of the source.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
        /// Whether a source that changes while being read may be copied.
        pub allow_inconsistent: bool,
    }

    /// `POST /1.0/instances/{name}/rebuild` (extension `instances_rebuild`).
    pub struct InstanceRebuildPost {
        /// Where the new root file system comes from.
        pub source: InstanceSource,
    }

    /// `PUT /1.0/instances`: one state change for all.
    pub struct InstancesPut {
        /// The change.
        pub state: Option<InstanceStatePut>,
    }

    /// `POST /1.0/instances/{name}`: rename, move or migrate.
    pub struct InstancePost {
        /// New name.
        pub name: String,
        /// Whether it moves to other storage, another project or another server.
        pub migration: bool,
        /// Whether it keeps running meanwhile.
        pub live: bool,
        /// Whether snapshots stay behind.
        pub instance_only: bool,
        /// Older name of `instance_only`; both are sent.
        pub container_only: bool,
        /// Where a push migration goes.
        pub target: Option<InstancePostTarget>,
        /// New pool; empty means the same.
        pub pool: String,
        /// New project; empty means the same.
        pub project: String,
        /// Whether a source that changes while being read may be copied.
        pub allow_inconsistent: bool,
    }

    /// Where a push migration goes.
    pub struct InstancePostTarget {
        /// Certificate of the target server, PEM.
        pub certificate: String,
        /// URL of the operation on the target.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub operation: String,
        /// Websocket secrets of that operation.
        #[serde(rename = "secrets", skip_serializing_if = "BTreeMap::is_empty")]
        pub websockets: BTreeMap<String, String>,
    }
}

impl Instance {
    /// Returns the part that `PUT` takes.
    pub fn writable(&self) -> InstancePut {
        InstancePut {
            architecture: self.architecture.clone(),
            config: self.config.clone(),
            devices: self.devices.clone(),
            ephemeral: self.ephemeral,
            profiles: self.profiles.clone(),
            restore: String::new(),
            stateful: self.stateful,
            description: self.description.clone(),
        }
    }

    /// Adds state, snapshots and backups.
    pub fn into_full(self, state: InstanceState, snapshots: Vec<InstanceSnapshot>, backups: Vec<InstanceBackup>) -> InstanceFull {
        InstanceFull {
            architecture: self.architecture,
            config: self.config,
            devices: self.devices,
            ephemeral: self.ephemeral,
            profiles: self.profiles,
            restore: self.restore,
            stateful: self.stateful,
            description: self.description,
            created_at: self.created_at,
            expanded_config: self.expanded_config,
            expanded_devices: self.expanded_devices,
            name: self.name,
            status: self.status,
            status_code: self.status_code,
            last_used_at: self.last_used_at,
            location: self.location,
            kind: self.kind,
            project: self.project,
            backups,
            state: Some(state),
            snapshots,
        }
    }
}
