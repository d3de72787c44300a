//! Backups of instances and volumes.

use coffer_api::{InstanceBackup, StorageVolumeBackup};
use coffer_model::Backup;

use super::when;

/// A backup of an instance.
#[must_use]
pub fn backup(backup: &Backup) -> InstanceBackup {
    InstanceBackup {
        name: backup.name.to_string(),
        created_at: backup.created_at.into(),
        expires_at: when(backup.expires_at),
        instance_only: backup.without_snapshots,
        container_only: backup.without_snapshots,
        optimized_storage: backup.optimized,
    }
}

/// A backup of a volume.
#[must_use]
pub fn volume_backup(backup: &Backup) -> StorageVolumeBackup {
    StorageVolumeBackup {
        name: backup.name.to_string(),
        created_at: backup.created_at.into(),
        expires_at: when(backup.expires_at),
        volume_only: backup.without_snapshots,
        optimized_storage: backup.optimized,
    }
}
