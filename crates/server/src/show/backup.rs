//! Backups of instances.

use coffer_api::InstanceBackup;

use super::when;

/// A backup of an instance.
#[must_use]
pub fn backup(backup: &coffer_model::InstanceBackup) -> InstanceBackup {
    InstanceBackup {
        name: backup.name.to_string(),
        created_at: backup.created_at.into(),
        expires_at: when(backup.expires_at),
        instance_only: backup.instance_only,
        container_only: backup.instance_only,
        // A plain archive can be read by every driver and every server.
        optimized_storage: false,
    }
}
