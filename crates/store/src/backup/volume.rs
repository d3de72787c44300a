//! Users' volumes in the document: what the index of an exported volume holds.

use coffer_model::{Config, ContentType, CustomVolume, Phase, Pool, SnapshotName, Time, VolumeName, VolumeSnapshot};
use serde::{Deserialize, Serialize};

use super::{BackupError, Document, Keys, PoolEntry, VolumeEntry, allow, lenient, name, project};

/// A snapshot of a volume in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are the API's, by their names")]
pub struct VolumeSnapshotEntry {
    #[serde(deserialize_with = "lenient::keys")]
    pub config: Keys,
    #[serde(deserialize_with = "lenient::value")]
    pub description: String,
    #[serde(with = "lenient::time")]
    pub expires_at: Option<Time>,
    #[serde(deserialize_with = "lenient::value")]
    pub name: String,
    #[serde(deserialize_with = "lenient::value")]
    pub content_type: String,
    #[serde(with = "lenient::time")]
    pub created_at: Option<Time>,
}

impl Document {
    /// Describes a user's volume with its snapshots, the oldest first.
    #[must_use]
    pub fn of_volume(volume: &CustomVolume, snapshots: &[VolumeSnapshot], pool: &Pool) -> Self {
        let entry = VolumeEntry {
            config: volume.config.0.clone(),
            description: volume.description.clone(),
            name: volume.name.to_string(),
            kind: "custom".into(),
            used_by: Vec::new(),
            location: "none".into(),
            content_type: volume.content.to_string(),
            project: volume.project.to_string(),
            created_at: Some(volume.created_at),
        };
        let snapshot = |of: &VolumeSnapshot| VolumeSnapshotEntry {
            config: of.config.0.clone(),
            description: of.description.clone(),
            expires_at: of.expires_at,
            name: of.name.to_string(),
            content_type: volume.content.to_string(),
            created_at: Some(of.created_at),
        };
        let volume_snapshots = snapshots.iter().map(snapshot).collect();
        Self { pool: Some(PoolEntry::of(pool)), volume: Some(entry), volume_snapshots, ..Self::default() }
    }

    /// What a user's volume is called, holds and is configured with. Which pool it is in is not asked: other servers do not say.
    ///
    /// # Errors
    /// If there is none, it is of another kind, or a name or its content is not one.
    pub fn custom_volume(&self) -> Result<VolumeParts, BackupError> {
        let from = self.volume.as_ref().ok_or(BackupError::Missing("volume"))?;
        allow("volume.type", &from.kind, "custom")?;
        project("volume.project", &from.project)?;
        Ok(VolumeParts {
            name: name::<VolumeName>("volume.name", &from.name)?,
            description: from.description.clone(),
            config: Config(from.config.clone()),
            content: content("volume.content_type", &from.content_type)?,
            snapshots: self.volume_snapshots.iter().map(VolumeSnapshotEntry::to_model).collect::<Result<_, _>>()?,
        })
    }
}

/// A volume as a document describes it. It has yet to pass the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeParts {
    /// Its name.
    pub name: VolumeName,
    /// Free text.
    pub description: String,
    /// Its configuration.
    pub config: Config,
    /// What it holds.
    pub content: ContentType,
    /// Its snapshots, the oldest first.
    pub snapshots: Vec<VolumeSnapshot>,
}

impl VolumeSnapshotEntry {
    fn to_model(&self) -> Result<VolumeSnapshot, BackupError> {
        // Some servers write the volume's name before it.
        let own = self.name.rsplit('/').next().unwrap_or_default();
        content("volume_snapshots.content_type", &self.content_type)?;
        Ok(VolumeSnapshot {
            name: name::<SnapshotName>("volume_snapshots.name", own)?,
            description: self.description.clone(),
            config: Config(self.config.clone()),
            created_at: self.created_at.unwrap_or(Time::UNIX_EPOCH),
            expires_at: self.expires_at,
            phase: Phase::Ready,
            renamed_from: None,
        })
    }
}

/// Older documents say nothing where there were only files.
fn content(key: &'static str, text: &str) -> Result<ContentType, BackupError> {
    let allowed = "filesystem, block or iso";
    if text.is_empty() {
        return Ok(ContentType::Filesystem);
    }
    ContentType::of(text).ok_or_else(|| BackupError::Value { key, value: text.to_owned(), allowed })
}
