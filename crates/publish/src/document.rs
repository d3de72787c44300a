//! The lists as they stand in the tree. What is not ours in a list that somebody else began is kept.
//!
//! Source: the format's description in the Ubuntu wiki, and what LXD and Incus read of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The list of products, below the tree.
pub const LIST: &str = "streams/v1/images.json";

/// `streams/v1/index.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    /// Always `index:1.0`.
    pub format: String,
    /// When it was written, as RFC 2822 has it.
    #[serde(default)]
    pub updated: String,
    /// The lists.
    #[serde(default)]
    pub index: BTreeMap<String, Entry>,
}

/// A list in the index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// What it is a list of: `image-downloads`.
    pub datatype: String,
    /// Where it is below the tree.
    pub path: String,
    /// Always `products:1.0`.
    pub format: String,
    /// When it was written.
    #[serde(default)]
    pub updated: String,
    /// The products in it.
    #[serde(default)]
    pub products: Vec<String>,
}

/// `streams/v1/images.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Products {
    /// Which list this is.
    #[serde(default)]
    pub content_id: String,
    /// What it is a list of: `image-downloads`.
    pub datatype: String,
    /// Always `products:1.0`.
    pub format: String,
    /// When it was written.
    #[serde(default)]
    pub updated: String,
    /// The products, by name: `OS:RELEASE:ARCHITECTURE:VARIANT`.
    #[serde(default)]
    pub products: BTreeMap<String, Product>,
}

/// One product, in all its versions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Product {
    /// Its names, separated by commas.
    #[serde(default)]
    pub aliases: String,
    /// Its architecture in Debian's words.
    #[serde(default)]
    pub arch: String,
    /// What it is.
    #[serde(default)]
    pub os: String,
    /// Which release of that.
    #[serde(default)]
    pub release: String,
    /// The release as people say it.
    #[serde(default)]
    pub release_title: String,
    /// Which variant of that.
    #[serde(default)]
    pub variant: String,
    /// The versions, by name: a date and perhaps a time.
    #[serde(default)]
    pub versions: BTreeMap<String, Version>,
    /// Whatever else is said of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One version of a product.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Version {
    /// Its files, by name.
    #[serde(default)]
    pub items: BTreeMap<String, Item>,
    /// Whatever else is said of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// One file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Item {
    /// What it is to an image.
    #[serde(default)]
    pub ftype: String,
    /// Where it is below the tree.
    #[serde(default)]
    pub path: String,
    /// Its bytes.
    #[serde(default)]
    pub size: u64,
    /// Its SHA-256.
    #[serde(default)]
    pub sha256: String,
    /// Hashes of this file with a root file system behind it, and whatever else is said of it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What clients call metadata beside a root file system, LXD and Incus.
pub const METADATA: [&str; 2] = ["lxd.tar.xz", "incus.tar.xz"];

/// What they call an image in one file.
pub const UNIFIED: [&str; 2] = ["lxd_combined.tar.gz", "incus_combined.tar.gz"];

/// A root file system as a client looks for it: its kind, and the field of the metadata's item that holds the hash of both.
pub const ROOTS: [(&str, &str); 3] =
    [("squashfs", "combined_squashfs_sha256"), ("root.tar.xz", "combined_rootxz_sha256"), ("root.tar.xz", "combined_sha256")];

impl Version {
    /// The fingerprints of the images that this version is.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for item in self.items.values() {
            let unified = UNIFIED.contains(&item.ftype.as_str()).then_some(item.sha256.as_str());
            let split = ROOTS.iter().filter_map(|(_, field)| item.more.get(*field)?.as_str());
            found.extend(unified.into_iter().chain(split));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The paths of its files.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.items.values().map(|item| item.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

impl Product {
    /// Its aliases.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.split(',').map(str::trim).filter(|alias| !alias.is_empty())
    }
}
