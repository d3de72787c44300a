//! Backups: files that hold all of an instance or of a user's volume.

use std::fmt;
use std::path::PathBuf;

use crate::Time;
use crate::names::{BackupName, InstanceName, PoolName, ProjectName};
use crate::volume::VolumeKey;

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its name among its owner's backups.
    pub name: BackupName,
    /// When it was made.
    pub created_at: Time,
    /// When it is deleted by itself; `None` if never.
    pub expires_at: Option<Time>,
    /// Whether the snapshots were left out.
    pub without_snapshots: bool,
    /// Whether it is in the storage driver's own format.
    pub optimized: bool,
    /// Bytes of its file.
    pub size: u64,
}

/// Of what a backup is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupOwner {
    /// An instance.
    Instance {
        /// Its project.
        project: ProjectName,
        /// Its name.
        name: InstanceName,
    },
    /// A user's volume.
    Volume {
        /// The pool it is in.
        pool: PoolName,
        /// Which volume of the pool.
        key: VolumeKey,
    },
}

impl BackupOwner {
    /// The project it belongs to.
    #[must_use]
    pub fn project(&self) -> &ProjectName {
        match self {
            Self::Instance { project, .. } => project,
            Self::Volume { key, .. } => &key.project,
        }
    }

    /// Its name, without what tells it from those of other projects and pools.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Instance { name, .. } => name.as_str(),
            Self::Volume { key, .. } => key.name.as_str(),
        }
    }

    /// Its URL without project.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Instance { name, .. } => format!("/1.0/instances/{name}"),
            Self::Volume { pool, key } => format!("/1.0/storage-pools/{pool}/volumes/custom/{}", key.name),
        }
    }

    /// The directory with its backups' files below that of all backups: `instances/[PROJECT_]NAME`, `custom/POOL/PROJECT_NAME`.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        match self {
            Self::Instance { project, name } => ["instances", &project.prefix(name.as_str())].iter().collect(),
            Self::Volume { pool, key } => ["custom", pool.as_str(), &key.to_string()].iter().collect(),
        }
    }
}

impl fmt::Display for BackupOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance { name, .. } => write!(f, "instance {name}"),
            Self::Volume { pool, key } => write!(f, "storage volume {} in pool {pool}", key.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(owner: &BackupOwner, expect: &str) {
        assert_eq!(format!("{owner} {} {}", owner.url(), owner.directory().display()), expect);
    }

    #[test]
    fn files_of_backups_stand_where_lxd_has_them() {
        let instance = |project: &str| BackupOwner::Instance { project: project.parse().unwrap(), name: "c1".parse().unwrap() };
        check(&instance("default"), "instance c1 /1.0/instances/c1 instances/c1");
        check(&instance("dev"), "instance c1 /1.0/instances/c1 instances/dev_c1");
        let volume = BackupOwner::Volume { pool: "fast".parse().unwrap(), key: "default_v1".parse().unwrap() };
        check(&volume, "storage volume v1 in pool fast /1.0/storage-pools/fast/volumes/custom/v1 custom/fast/default_v1");
    }
}
