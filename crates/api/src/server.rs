//! `/1.0` itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{null_as_default, text_map};

/// `PUT` and `PATCH /1.0`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ServerPut {
    /// Server configuration; numbers and booleans are taken as their text.
    #[serde(deserialize_with = "text_map")]
    pub config: BTreeMap<String, String>,
}

/// `GET /1.0` as a trusted client sees it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Server {
    /// Server configuration; secrets read back as `true`.
    #[serde(deserialize_with = "text_map")]
    pub config: BTreeMap<String, String>,
    /// Names of what this server can do beyond API 1.0.
    #[serde(deserialize_with = "null_as_default")]
    pub api_extensions: Vec<String>,
    /// Always `stable`.
    pub api_status: String,
    /// Always `1.0`.
    pub api_version: String,
    /// `trusted`.
    pub auth: String,
    /// Whether untrusted clients may read images.
    pub public: bool,
    /// Ways to prove who one is; always `tls`.
    #[serde(deserialize_with = "null_as_default")]
    pub auth_methods: Vec<String>,
    /// Facts about the server and its host.
    #[serde(deserialize_with = "null_as_default")]
    pub environment: ServerEnvironment,
}

wire! {
    /// `GET /1.0` as an untrusted client sees it.
    pub struct ServerUntrusted {
        /// Names of what this server can do beyond API 1.0.
        pub api_extensions: Vec<String>,
        /// Always `stable`.
        pub api_status: String,
        /// Always `1.0`.
        pub api_version: String,
        /// `untrusted`.
        pub auth: String,
        /// Whether untrusted clients may read images.
        pub public: bool,
        /// Ways to prove who one is; always `tls`.
        pub auth_methods: Vec<String>,
    }

    /// Facts about the server and its host.
    pub struct ServerEnvironment {
        /// `host:port` of each network listener.
        pub addresses: Vec<String>,
        /// Architectures whose instances run here, the host's own first.
        pub architectures: Vec<String>,
        /// The server's certificate, PEM.
        pub certificate: String,
        /// SHA-256 of the certificate's DER form, lower-case hex.
        pub certificate_fingerprint: String,
        /// Instance drivers, joined by ` | `.
        pub driver: String,
        /// Versions of the instance drivers, joined by ` | `.
        pub driver_version: String,
        /// Firewall driver.
        pub firewall: String,
        /// Kernel, `Linux`.
        pub kernel: String,
        /// Architecture of the kernel.
        pub kernel_architecture: String,
        /// Kernel features in use; values are `true` or `false` as text.
        pub kernel_features: BTreeMap<String, String>,
        /// Release of the kernel.
        pub kernel_version: String,
        /// Features of the container runtime; values are `true` or `false` as text.
        pub lxc_features: BTreeMap<String, String>,
        /// Name of the distribution.
        pub os_name: String,
        /// Version of the distribution.
        pub os_version: String,
        /// Project the answer was made for.
        pub project: String,
        /// Name of the server software; clients know `lxd`.
        pub server: String,
        /// Whether this server is part of a cluster.
        pub server_clustered: bool,
        /// How cluster members exchange events.
        pub server_event_mode: String,
        /// Name of the server or cluster member.
        pub server_name: String,
        /// Process id of the daemon.
        pub server_pid: i64,
        /// Version of the API's model, as clients compare it.
        pub server_version: String,
        /// Storage drivers in use, joined by ` | `; empty means not initialised.
        pub storage: String,
        /// Versions of the storage drivers in use, joined by ` | `.
        pub storage_version: String,
        /// Storage drivers that could be used.
        pub storage_supported_drivers: Vec<ServerStorageDriverInfo>,
    }

    /// A storage driver that could be used here.
    pub struct ServerStorageDriverInfo {
        /// Name of the driver.
        #[serde(rename = "Name")]
        pub name: String,
        /// Version of its tools.
        #[serde(rename = "Version")]
        pub version: String,
        /// Whether its storage is shared between servers.
        #[serde(rename = "Remote")]
        pub remote: bool,
    }
}

impl Server {
    /// Tells whether the server announces `extension`.
    pub fn has_extension(&self, extension: &str) -> bool {
        self.api_extensions.iter().any(|name| name == extension)
    }
}
