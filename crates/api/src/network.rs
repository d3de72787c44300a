//! Networks.

use std::collections::BTreeMap;

wire! {
    /// A network, managed or merely seen on the host.
    pub struct Network {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name.
        pub name: String,
        /// `bridge`, `physical`, `loopback` …
        #[serde(rename = "type")]
        pub kind: String,
        /// URLs of the instances and profiles that use it.
        pub used_by: Vec<String>,
        /// Whether this server made it and looks after it.
        pub managed: bool,
        /// `Created`, `Pending`, `Errored`; empty for unmanaged ones.
        pub status: String,
        /// Cluster members that have it.
        pub locations: Vec<String>,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/networks/{name}`.
    pub struct NetworkPut {
        /// Configuration, complete.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
    }

    /// `POST /1.0/networks`.
    pub struct NetworksPost {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name.
        pub name: String,
        /// Kind; empty means `bridge`.
        #[serde(rename = "type")]
        pub kind: String,
    }

    /// `POST /1.0/networks/{name}`: rename.
    pub struct NetworkPost {
        /// New name.
        pub name: String,
    }

    /// An address that a managed network gave away.
    pub struct NetworkLease {
        /// Name of the host that has it.
        pub hostname: String,
        /// MAC address of that host.
        pub hwaddr: String,
        /// The address.
        pub address: String,
        /// `dynamic`, `static`, `gateway` or `uplink`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Cluster member; empty without a cluster.
        pub location: String,
    }
}

impl Network {
    /// Returns the part that `PUT` takes.
    pub fn writable(&self) -> NetworkPut {
        NetworkPut { config: self.config.clone(), description: self.description.clone() }
    }
}
