//! What is said about clusters while this server is alone.

use std::collections::BTreeMap;

wire! {
    /// `GET /1.0/cluster`.
    pub struct Cluster {
        /// Name of this member; empty without a cluster.
        pub server_name: String,
        /// Whether there is a cluster.
        pub enabled: bool,
        /// Keys that a joining member must say for itself.
        pub member_config: Vec<ClusterMemberConfigKey>,
    }

    /// A key that a joining member must say for itself.
    pub struct ClusterMemberConfigKey {
        /// `storage-pool` or `network`.
        pub entity: String,
        /// Name of the pool or network.
        pub name: String,
        /// The key.
        pub key: String,
        /// Its value.
        pub value: String,
        /// What it means.
        pub description: String,
    }

    /// `PUT /1.0/cluster`.
    pub struct ClusterPut {
        /// Name of this member.
        pub server_name: String,
        /// Whether there is to be a cluster.
        pub enabled: bool,
        /// Keys of this member.
        pub member_config: Vec<ClusterMemberConfigKey>,
        /// Address of the cluster to join.
        pub cluster_address: String,
        /// Certificate of the cluster to join, PEM.
        pub cluster_certificate: String,
        /// Address of this member.
        pub server_address: String,
        /// Join token or password.
        pub cluster_password: String,
    }

    /// A member of a cluster.
    pub struct ClusterMember {
        /// Roles.
        pub roles: Vec<String>,
        /// Failure domain.
        pub failure_domain: String,
        /// What it is for, in the user's words.
        pub description: String,
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// Groups it belongs to.
        pub groups: Vec<String>,
        /// Name.
        pub server_name: String,
        /// URL.
        pub url: String,
        /// Whether it holds the database.
        pub database: bool,
        /// `Online`, `Offline` …
        pub status: String,
        /// More about the status.
        pub message: String,
        /// Architecture, as `x86_64`.
        pub architecture: String,
    }
}
