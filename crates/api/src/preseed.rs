//! The document that describes a whole server, for `admin init --preseed` and `--dump`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ClusterMemberConfigKey, ProjectsPost, StoragePoolsPost, null_as_default, text_map};

/// Everything a server can be told before its first use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Preseed {
    /// Server configuration; numbers and booleans are taken as their text.
    #[serde(deserialize_with = "text_map")]
    pub config: BTreeMap<String, String>,
    /// Networks to make or update.
    #[serde(deserialize_with = "null_as_default")]
    pub networks: Vec<NetworkPreseed>,
    /// Storage pools to make or update.
    #[serde(deserialize_with = "null_as_default")]
    pub storage_pools: Vec<StoragePoolsPost>,
    /// Profiles to make or update.
    #[serde(deserialize_with = "null_as_default")]
    pub profiles: Vec<ProfilePreseed>,
    /// Projects to make or update.
    #[serde(deserialize_with = "null_as_default")]
    pub projects: Vec<ProjectsPost>,
    /// Trusted certificates; only their public parts.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificatePreseed>,
    /// Other names of images; those whose image is there are made.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub image_aliases: Vec<ImageAliasPreseed>,
    /// The cluster to found or join.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterPreseed>,
}

wire! {
    /// A network of a preseed.
    pub struct NetworkPreseed {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Name.
        pub name: String,
        /// Kind; empty means `bridge`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Project it belongs to; empty means default.
        pub project: String,
    }

    /// A profile of a preseed.
    pub struct ProfilePreseed {
        /// Configuration.
        pub config: BTreeMap<String, String>,
        /// What it is for, in the user's words.
        pub description: String,
        /// Devices by their names.
        pub devices: BTreeMap<String, BTreeMap<String, String>>,
        /// Name.
        pub name: String,
        /// Project it belongs to; empty means default.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
    }

    /// A trusted certificate of a preseed.
    pub struct CertificatePreseed {
        /// Name.
        pub name: String,
        /// `client`, `server` or `metrics`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Whether only the listed projects may be reached.
        pub restricted: bool,
        /// Projects that may be reached.
        pub projects: Vec<String>,
        /// The certificate, PEM.
        pub certificate: String,
    }

    /// Another name of an image in a preseed.
    pub struct ImageAliasPreseed {
        /// Name.
        pub name: String,
        /// What it is for, in the user's words.
        pub description: String,
        /// Fingerprint of the image.
        pub target: String,
        /// Project it belongs to; empty means default.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub project: String,
    }

    /// The cluster of a preseed.
    pub struct ClusterPreseed {
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
        /// Join password.
        pub cluster_password: String,
        /// File that holds the certificate.
        pub cluster_certificate_path: String,
        /// Join token.
        pub cluster_token: String,
    }
}
