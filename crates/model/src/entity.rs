//! The other things that are kept: projects, profiles, images, networks, pools, volumes.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::config::Config;
use crate::device::Devices;
use crate::names::{AliasName, Fingerprint, NetworkName, PoolName, ProfileName, ProjectName};

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: ProjectName,
    /// Free text.
    pub description: String,
    /// Its configuration.
    pub config: Config,
}

impl Project {
    /// Says whether it has things of a kind of its own, by the key `features.…`. What is left out is off, but the default project has
    /// all of its own.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.config.flag(feature, self.name.is_default())
    }
}

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The project it is in.
    pub project: ProjectName,
    /// Its name within the project.
    pub name: ProfileName,
    /// Free text.
    pub description: String,
    /// Keys for the instances that use it.
    pub config: Config,
    /// Devices for the instances that use it.
    pub devices: Devices,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The project it is in.
    pub project: ProjectName,
    /// SHA-256 of its file or files.
    pub fingerprint: Fingerprint,
    /// The name of the file it came as.
    pub filename: String,
    /// Bytes of its file or files.
    pub size: u64,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// Whether it is kept up to date with where it came from.
    pub auto_update: bool,
    /// Whether it is here only because an instance was made from it.
    pub cached: bool,
    /// Its architecture by the kernel's name.
    pub architecture: String,
    /// Its properties.
    pub properties: Config,
    /// Profiles for instances made from it; empty is `default`.
    pub profiles: Vec<ProfileName>,
    /// When it was built.
    pub created_at: Option<Time>,
    /// When it expires; `None` is never.
    pub expires_at: Option<Time>,
    /// When an instance was last made from it.
    pub last_used_at: Option<Time>,
    /// When it came here.
    pub uploaded_at: Time,
    /// What it is on disk.
    pub form: ImageForm,
}

/// What an image is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageForm {
    /// One archive.
    Unified,
    /// Metadata, and the root file system in a file of its own.
    Split,
    /// A record of layers, which it shares with other images; from a registry.
    Layers,
}

/// Another name of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The project it is in.
    pub project: ProjectName,
    /// The alias.
    pub name: AliasName,
    /// Free text.
    pub description: String,
    /// The image it means.
    pub target: Fingerprint,
}

/// A managed network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The project it is in.
    pub project: ProjectName,
    /// Its name, which is its interface's too.
    pub name: NetworkName,
    /// Free text.
    pub description: String,
    /// Its configuration, with all `auto` values resolved.
    pub config: Config,
    /// Whether it was made completely.
    pub made: bool,
}

/// A storage pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Free text.
    pub description: String,
    /// Its driver's name.
    pub driver: String,
    /// Its configuration, with the source filled in.
    pub config: Config,
    /// Whether it was made completely.
    pub made: bool,
}

/// What a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeKind {
    /// An instance's root.
    Container,
    /// An unpacked image.
    Image,
    /// A user's data.
    Custom,
}

/// A storage volume as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The pool it is in.
    pub pool: PoolName,
    /// The project it belongs to.
    pub project: ProjectName,
    /// What it holds.
    pub kind: VolumeKind,
    /// Its name: an instance's name, an image's fingerprint or the user's.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Its configuration.
    pub config: Config,
    /// When it was made.
    pub created_at: Time,
}
