//! What administrators ask the daemon for: taking in lost volumes, looking for what is amiss.

use crate::StoragePoolsPost;

wire! {
    /// `POST /internal/recover/validate` and `POST /internal/recover/import`.
    pub struct RecoverPost {
        /// Pools to look through beside those that are known.
        pub pools: Vec<StoragePoolsPost>,
    }

    /// A volume that is in no record.
    pub struct RecoverVolume {
        /// Its name.
        pub name: String,
        /// `container` or `custom`.
        #[serde(rename = "type")]
        pub kind: String,
        /// How many snapshots it has.
        #[serde(rename = "snapshotCount")]
        pub snapshot_count: u64,
        /// Its project.
        pub project: String,
        /// The pool it is in.
        pub pool: String,
    }

    /// What `POST /internal/recover/validate` answers.
    pub struct RecoverResult {
        /// Volumes that are in no record.
        #[serde(rename = "UnknownVolumes")]
        pub volumes: Vec<RecoverVolume>,
        /// What is missing to take them in, in words.
        #[serde(rename = "DependencyErrors")]
        pub missing: Vec<String>,
    }

    /// Something that is not as it should be; `GET` and `POST /internal/fsck` answer a list of these.
    pub struct FsckFinding {
        /// What kind of thing: `volume-without-record`, `stale-backup-yaml`, `orphan-mount` …
        pub kind: String,
        /// The thing.
        pub thing: String,
        /// What is wrong with it.
        pub problem: String,
        /// What a repair does; empty if none can mend it.
        pub repair: String,
        /// What a person can do.
        pub advice: String,
        /// Whether it was mended just now.
        pub repaired: bool,
    }
}
