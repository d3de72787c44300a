//! Warnings.

use crate::Timestamp;

wire! {
    /// Something an administrator should look at.
    pub struct Warning {
        /// `new`, `acknowledged` or `resolved`.
        pub status: String,
        /// UUID.
        pub uuid: String,
        /// Cluster member; empty without a cluster.
        pub location: String,
        /// Project; empty if none.
        pub project: String,
        /// What is wrong, in words.
        #[serde(rename = "type")]
        pub kind: String,
        /// How often it was seen.
        pub count: i64,
        /// When it was first seen.
        pub first_seen_at: Timestamp,
        /// When it was last seen.
        pub last_seen_at: Timestamp,
        /// Details of the last time.
        pub last_message: String,
        /// `low`, `moderate` or `high`.
        pub severity: String,
        /// URL of what it is about; empty if none.
        pub entity_url: String,
    }

    /// `PUT` and `PATCH /1.0/warnings/{uuid}`.
    pub struct WarningPut {
        /// `new` or `acknowledged`.
        pub status: String,
    }
}
