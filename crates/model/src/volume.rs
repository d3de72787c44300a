//! Users' storage volumes and their snapshots, as they are kept.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::instance::Phase;
use crate::names::{PoolName, ProjectName, SnapshotName, VolumeName};
use crate::{NameError, Time};

/// A user's volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomVolume {
    /// The pool it is in.
    pub pool: PoolName,
    /// The project it belongs to.
    pub project: ProjectName,
    /// Its name within pool and project.
    pub name: VolumeName,
    /// Free text.
    pub description: String,
    /// Its configuration.
    pub config: Config,
    /// What it holds.
    pub content: ContentType,
    /// When it was made.
    pub created_at: Time,
    /// How far its creation or deletion is.
    pub phase: Phase,
    /// While it is being renamed: what it may still be called on disk.
    pub renamed_from: Option<VolumeKey>,
}

/// Which volume of a pool: whose it is and its name. On disk it is called `PROJECT_NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VolumeKey {
    /// The project it belongs to.
    pub project: ProjectName,
    /// Its name.
    pub name: VolumeName,
}

/// A snapshot of a user's volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSnapshot {
    /// Its name among the volume's snapshots.
    pub name: SnapshotName,
    /// Free text.
    pub description: String,
    /// The volume's configuration when it was taken.
    pub config: Config,
    /// When it was taken.
    pub created_at: Time,
    /// When it goes by itself; `None` is never.
    pub expires_at: Option<Time>,
    /// How far its creation or deletion is.
    pub phase: Phase,
    /// While it is being renamed: what it may still be called on disk.
    pub renamed_from: Option<SnapshotName>,
}

/// What a volume holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentType {
    /// Files.
    Filesystem,
    /// A disk as one file of fixed size.
    Block,
    /// An ISO image, which is only read.
    Iso,
}

impl CustomVolume {
    /// Which volume of its pool it is.
    #[must_use]
    pub fn key(&self) -> VolumeKey {
        VolumeKey { project: self.project.clone(), name: self.name.clone() }
    }
}

impl std::fmt::Display for VolumeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.project, self.name)
    }
}

impl std::str::FromStr for VolumeKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let why = "it must be a project and a name with an underscore between them";
        // No project's name holds an underscore.
        let (project, name) = text.split_once('_').ok_or_else(|| NameError { kind: "storage volume", name: text.to_owned(), why })?;
        Ok(Self { project: project.parse()?, name: name.parse()? })
    }
}

impl ContentType {
    /// Every kind of content.
    pub const ALL: [Self; 3] = [Self::Filesystem, Self::Block, Self::Iso];

    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Block => "block",
            Self::Iso => "iso",
        }
    }

    /// Reads the word on the wire.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|content| content.as_str() == word)
    }
}

impl std::fmt::Display for ContentType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ContentType {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let why = "it must be filesystem, block or iso";
        Self::of(text).ok_or_else(|| NameError { kind: "content type", name: text.to_owned(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = text.parse::<VolumeKey>();
        assert_eq!(got.map_or_else(|error| error.why.to_owned(), |key| format!("{}/{}", key.project, key.name)), expect);
    }

    #[test]
    fn keys_are_what_volumes_are_called_on_disk() {
        check("default_data", "default/data");
        check("dev_my_data", "dev/my_data");
        check("data", "it must be a project and a name with an underscore between them");
        assert_eq!("dev_my_data".parse::<VolumeKey>().unwrap().to_string(), "dev_my_data");
    }
}
