//! `backup.yaml`: an instance's whole configuration in its own directory, in LXD's layout, so that the database can be rebuilt.
//!
//! What is read was perhaps written by somebody else: it is limited in size and depth, anchors are refused, and every
//! missing or null field is its default. The conversions to `model` parse all names; the gate checks the rest, as for
//! any other write. The same document stands as `config` in the `index.yaml` of an exported instance.

mod file;
mod index;
mod lenient;
mod snapshot;
mod volume;

use std::collections::BTreeMap;

use coffer_model::{
    Config, DeviceName, Devices, Instance, NameError, Phase, Pool, Profile, ProfileName, ProjectName, Status, Time, Volume, VolumeKind,
};
use serde::{Deserialize, Serialize};

pub use file::{NAME, read, write, write_before_commit};
pub use index::{Content, Index, StreamFormat};
pub use volume::{VolumeParts, VolumeSnapshotEntry};

/// The largest document that is written or read, in bytes.
pub const LIMIT: usize = 16 << 20;

/// A set of keys as it is on file.
type Keys = BTreeMap<String, String>;

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// The instance.
    #[serde(alias = "instance", skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Its snapshots, the oldest first.
    #[serde(deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Snapshot>,
    /// The pool its root volume is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolEntry>,
    /// The pools, in the layout of newer servers, instead of the one.
    #[serde(deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolEntry>,
    /// The profiles it uses.
    #[serde(deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileEntry>,
    /// Its root volume, or the user's volume that it describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeEntry>,
    /// The snapshots of a user's volume, the oldest first.
    #[serde(deserialize_with = "lenient::list", skip_serializing_if = "Vec::is_empty")]
    pub volume_snapshots: Vec<VolumeSnapshotEntry>,
}

/// The instance in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the API's, by their names")]
pub struct Container {
    #[serde(deserialize_with = "lenient::value")]
    pub architecture: String,
    #[serde(deserialize_with = "lenient::keys")]
    pub config: Keys,
    #[serde(deserialize_with = "lenient::devices")]
    pub devices: BTreeMap<String, Keys>,
    #[serde(deserialize_with = "lenient::value")]
    pub ephemeral: bool,
    #[serde(deserialize_with = "lenient::list")]
    pub profiles: Vec<String>,
    #[serde(deserialize_with = "lenient::value")]
    pub stateful: bool,
    #[serde(deserialize_with = "lenient::value")]
    pub description: String,
    #[serde(with = "lenient::time")]
    pub created_at: Option<Time>,
    #[serde(deserialize_with = "lenient::keys")]
    pub expanded_config: Keys,
    #[serde(deserialize_with = "lenient::devices")]
    pub expanded_devices: BTreeMap<String, Keys>,
    #[serde(deserialize_with = "lenient::value")]
    pub name: String,
    #[serde(deserialize_with = "lenient::value")]
    pub status: String,
    #[serde(deserialize_with = "lenient::value")]
    pub status_code: u32,
    #[serde(with = "lenient::time")]
    pub last_used_at: Option<Time>,
    #[serde(deserialize_with = "lenient::value")]
    pub location: String,
    #[serde(rename = "type", deserialize_with = "lenient::value")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::value")]
    pub project: String,
}

/// A snapshot in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the API's, by their names")]
pub struct Snapshot {
    #[serde(deserialize_with = "lenient::value")]
    pub architecture: String,
    #[serde(deserialize_with = "lenient::keys")]
    pub config: Keys,
    #[serde(with = "lenient::time")]
    pub created_at: Option<Time>,
    #[serde(deserialize_with = "lenient::devices")]
    pub devices: BTreeMap<String, Keys>,
    #[serde(deserialize_with = "lenient::value")]
    pub ephemeral: bool,
    #[serde(deserialize_with = "lenient::keys")]
    pub expanded_config: Keys,
    #[serde(deserialize_with = "lenient::devices")]
    pub expanded_devices: BTreeMap<String, Keys>,
    #[serde(with = "lenient::time")]
    pub expires_at: Option<Time>,
    #[serde(with = "lenient::time")]
    pub last_used_at: Option<Time>,
    #[serde(deserialize_with = "lenient::value")]
    pub name: String,
    #[serde(deserialize_with = "lenient::list")]
    pub profiles: Vec<String>,
    #[serde(deserialize_with = "lenient::value")]
    pub stateful: bool,
}

/// The pool in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the API's, by their names")]
pub struct PoolEntry {
    #[serde(deserialize_with = "lenient::keys")]
    pub config: Keys,
    #[serde(deserialize_with = "lenient::value")]
    pub description: String,
    #[serde(deserialize_with = "lenient::value")]
    pub name: String,
    #[serde(deserialize_with = "lenient::value")]
    pub driver: String,
    #[serde(deserialize_with = "lenient::list")]
    pub used_by: Vec<String>,
    #[serde(deserialize_with = "lenient::value")]
    pub status: String,
    #[serde(deserialize_with = "lenient::list")]
    pub locations: Vec<String>,
}

/// A profile in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the API's, by their names")]
pub struct ProfileEntry {
    #[serde(deserialize_with = "lenient::keys")]
    pub config: Keys,
    #[serde(deserialize_with = "lenient::value")]
    pub description: String,
    #[serde(deserialize_with = "lenient::devices")]
    pub devices: BTreeMap<String, Keys>,
    #[serde(deserialize_with = "lenient::value")]
    pub name: String,
    #[serde(deserialize_with = "lenient::list")]
    pub used_by: Vec<String>,
}

/// The root volume in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the API's, by their names")]
pub struct VolumeEntry {
    #[serde(deserialize_with = "lenient::keys")]
    pub config: Keys,
    #[serde(deserialize_with = "lenient::value")]
    pub description: String,
    #[serde(deserialize_with = "lenient::value")]
    pub name: String,
    #[serde(rename = "type", deserialize_with = "lenient::value")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::list")]
    pub used_by: Vec<String>,
    #[serde(deserialize_with = "lenient::value")]
    pub location: String,
    #[serde(deserialize_with = "lenient::value")]
    pub content_type: String,
    #[serde(deserialize_with = "lenient::value")]
    pub project: String,
    #[serde(with = "lenient::time")]
    pub created_at: Option<Time>,
}

/// Why a document is not written, read or understood.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system refused.
    #[error("{doing} backup.yaml")]
    File {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The name belongs to something else than a file.
    #[error("backup.yaml is not a regular file")]
    NotAFile,
    /// The document is too long.
    #[error("backup.yaml has more than {LIMIT} bytes")]
    TooLarge,
    /// The text is not the document.
    #[error("understanding backup.yaml")]
    Syntax(#[source] Box<serde_saphyr::Error>),
    /// The document could not be put in text.
    #[error("composing backup.yaml")]
    Compose(#[source] Box<serde_saphyr::ser::Error>),
    /// A part is not there.
    #[error("backup.yaml has no {0}")]
    Missing(&'static str),
    /// A name is not one.
    #[error("backup.yaml: {key}")]
    Name {
        /// Where it stands.
        key: &'static str,
        /// What is wrong with it.
        #[source]
        cause: NameError,
    },
    /// A value is of no use here.
    #[error("backup.yaml: {key} is {value:?}; only {allowed} is supported")]
    Value {
        /// Where it stands.
        key: &'static str,
        /// The value.
        value: String,
        /// What may stand there.
        allowed: &'static str,
    },
}

/// Reads a document from text.
///
/// # Errors
/// [`BackupError::TooLarge`], or [`BackupError::Syntax`] with the line, also for text that is too deep or has anchors.
pub fn parse(text: &str) -> Result<Document, BackupError> {
    parse_as(text)
}

fn parse_as<T: Default + for<'de> Deserialize<'de>>(text: &str) -> Result<T, BackupError> {
    if text.len() > LIMIT {
        return Err(BackupError::TooLarge);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 16, max_documents: 1, max_anchors: 0, max_aliases: 0, max_merge_keys: 0 },
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        with_snippet: false,
    };
    let document: Option<T> = serde_saphyr::from_str_with_options(text, options).map_err(|error| BackupError::Syntax(Box::new(error)))?;
    Ok(document.unwrap_or_default())
}

impl Document {
    /// Describes an instance with what it depends on. `profiles` are its own, in its order.
    #[must_use]
    pub fn of(instance: &Instance, status: Status, profiles: &[Profile], pool: &Pool, volume: &Volume) -> Self {
        Self {
            container: Some(Container::of(instance, status, profiles)),
            snapshots: Vec::new(),
            pool: Some(PoolEntry::of(pool)),
            pools: Vec::new(),
            profiles: profiles.iter().map(ProfileEntry::of).collect(),
            volume: Some(VolumeEntry::of(volume)),
            volume_snapshots: Vec::new(),
        }
    }

    /// Puts the document in text.
    ///
    /// # Errors
    /// [`BackupError::TooLarge`].
    pub fn to_yaml(&self) -> Result<String, BackupError> {
        let text = serde_saphyr::to_string(self).map_err(|error| BackupError::Compose(Box::new(error)))?;
        if text.len() > LIMIT { Err(BackupError::TooLarge) } else { Ok(text) }
    }

    /// The instance, whole and in the pool that the document names. It has yet to pass the gate.
    ///
    /// # Errors
    /// If it or its pool is missing, is no container, or a name in it is not one.
    pub fn instance(&self) -> Result<Instance, BackupError> {
        let from = self.container.as_ref().ok_or(BackupError::Missing("container"))?;
        allow("container.type", &from.kind, "container")?;
        let profile = |text: &String| name::<ProfileName>("container.profiles", text);
        Ok(Instance {
            project: project("container.project", &from.project)?,
            name: name("container.name", &from.name)?,
            architecture: from.architecture.clone(),
            description: from.description.clone(),
            ephemeral: from.ephemeral,
            profiles: from.profiles.iter().map(profile).collect::<Result<_, _>>()?,
            config: Config(from.config.clone()),
            devices: devices("container.devices", &from.devices)?,
            pool: self.pool()?.name,
            created_at: from.created_at.unwrap_or(Time::UNIX_EPOCH),
            last_used_at: from.last_used_at,
            phase: Phase::Ready,
        })
    }

    /// The profiles. The document does not say which project has them. They have yet to pass the gate.
    ///
    /// # Errors
    /// If a name is not one.
    pub fn profiles(&self, project: &ProjectName) -> Result<Vec<Profile>, BackupError> {
        let profile = |from: &ProfileEntry| {
            Ok(Profile {
                project: project.clone(),
                name: name("profiles.name", &from.name)?,
                description: from.description.clone(),
                config: Config(from.config.clone()),
                devices: devices("profiles.devices", &from.devices)?,
            })
        };
        self.profiles.iter().map(profile).collect()
    }

    /// The pool.
    ///
    /// # Errors
    /// If it is missing or its name is not one.
    pub fn pool(&self) -> Result<Pool, BackupError> {
        let from = self.pool.as_ref().or(self.pools.first()).ok_or(BackupError::Missing("pool"))?;
        Ok(Pool {
            name: name("pool.name", &from.name)?,
            description: from.description.clone(),
            driver: from.driver.clone(),
            config: Config(from.config.clone()),
            made: true,
        })
    }

    /// The instance's root volume.
    ///
    /// # Errors
    /// If it or the pool is missing, it is of another kind or content, or a name is not one.
    pub fn volume(&self) -> Result<Volume, BackupError> {
        let from = self.volume.as_ref().ok_or(BackupError::Missing("volume"))?;
        allow("volume.type", &from.kind, "container")?;
        allow("volume.content_type", &from.content_type, "filesystem")?;
        Ok(Volume {
            pool: self.pool()?.name,
            project: project("volume.project", &from.project)?,
            kind: VolumeKind::Container,
            name: name::<coffer_model::InstanceName>("volume.name", &from.name)?.to_string(),
            description: from.description.clone(),
            config: Config(from.config.clone()),
            created_at: from.created_at.unwrap_or(Time::UNIX_EPOCH),
        })
    }
}

impl Container {
    fn of(instance: &Instance, status: Status, profiles: &[Profile]) -> Self {
        Self {
            architecture: instance.architecture.clone(),
            config: instance.config.0.clone(),
            devices: plain(&instance.devices),
            ephemeral: instance.ephemeral,
            profiles: instance.profiles.iter().map(ToString::to_string).collect(),
            stateful: false,
            description: instance.description.clone(),
            created_at: Some(instance.created_at),
            expanded_config: instance.expanded_config(profiles).0,
            expanded_devices: plain(&instance.expanded_devices(profiles)),
            name: instance.name.to_string(),
            status: status.to_string(),
            status_code: status.code(),
            last_used_at: instance.last_used_at,
            location: "none".into(),
            kind: "container".into(),
            project: instance.project.to_string(),
        }
    }
}

impl PoolEntry {
    fn of(pool: &Pool) -> Self {
        Self {
            config: pool.config.0.clone(),
            description: pool.description.clone(),
            name: pool.name.to_string(),
            driver: pool.driver.clone(),
            used_by: Vec::new(),
            status: "Created".into(),
            locations: vec!["none".into()],
        }
    }
}

impl ProfileEntry {
    fn of(profile: &Profile) -> Self {
        Self {
            config: profile.config.0.clone(),
            description: profile.description.clone(),
            devices: plain(&profile.devices),
            name: profile.name.to_string(),
            used_by: Vec::new(),
        }
    }
}

impl VolumeEntry {
    fn of(volume: &Volume) -> Self {
        let kind = match volume.kind {
            VolumeKind::Container => "container",
            VolumeKind::Image => "image",
            VolumeKind::Custom => "custom",
        };
        Self {
            config: volume.config.0.clone(),
            description: volume.description.clone(),
            name: volume.name.clone(),
            kind: kind.into(),
            used_by: Vec::new(),
            location: "none".into(),
            content_type: "filesystem".into(),
            project: volume.project.to_string(),
            created_at: Some(volume.created_at),
        }
    }
}

fn plain(devices: &Devices) -> BTreeMap<String, Keys> {
    devices.0.iter().map(|(name, keys)| (name.to_string(), keys.0.clone())).collect()
}

fn devices(key: &'static str, from: &BTreeMap<String, Keys>) -> Result<Devices, BackupError> {
    let device = |(text, keys): (&String, &Keys)| Ok((name::<DeviceName>(key, text)?, Config(keys.clone())));
    from.iter().map(device).collect::<Result<_, _>>().map(Devices)
}

fn name<N: std::str::FromStr<Err = NameError>>(key: &'static str, text: &str) -> Result<N, BackupError> {
    text.parse().map_err(|cause| BackupError::Name { key, cause })
}

/// Older documents say no project; they mean the default one.
fn project(key: &'static str, text: &str) -> Result<ProjectName, BackupError> {
    if text.is_empty() { Ok(ProjectName::default_project()) } else { name(key, text) }
}

/// Older documents say nothing where there was only one kind.
fn allow(key: &'static str, value: &str, allowed: &'static str) -> Result<(), BackupError> {
    if value.is_empty() || value == allowed { Ok(()) } else { Err(BackupError::Value { key, value: value.to_owned(), allowed }) }
}

#[cfg(test)]
mod tests;
