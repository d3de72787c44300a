//! Storage pools.

use std::collections::BTreeMap;

wire! {
    /// A storage pool.
    pub struct StoragePool {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name.
        pub name: String,
        /// `dir`, `btrfs` …
        pub driver: String,
        /// URLs of what lies in it or refers to it.
        pub used_by: Vec<String>,
        /// `Created`, `Pending`, `Errored`, `Unavailable`.
        pub status: String,
        /// Cluster members that have it.
        pub locations: Vec<String>,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/storage-pools/{name}`.
    pub struct StoragePoolPut {
        /// Configuration, complete.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
    }

    /// `POST /1.0/storage-pools`.
    pub struct StoragePoolsPost {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name.
        pub name: String,
        /// `dir`, `btrfs` …
        pub driver: String,
    }

    /// `GET /1.0/storage-pools/{name}/resources`.
    pub struct ResourcesStoragePool {
        /// Room.
        pub space: ResourcesStoragePoolSpace,
        /// Inodes.
        pub inodes: ResourcesStoragePoolInodes,
    }

    /// Room in a pool, in bytes.
    pub struct ResourcesStoragePoolSpace {
        /// Used.
        #[serde(skip_serializing_if = "is_zero")]
        pub used: u64,
        /// All.
        pub total: u64,
    }

    /// Inodes in a pool.
    pub struct ResourcesStoragePoolInodes {
        /// Used.
        pub used: u64,
        /// All.
        pub total: u64,
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl StoragePool {
    /// Returns the part that `PUT` takes.
    pub fn writable(&self) -> StoragePoolPut {
        StoragePoolPut { config: self.config.clone(), description: self.description.clone() }
    }
}
