//! Backups of instances: files that hold all of one.

use crate::Time;
use crate::names::BackupName;

/// A backup of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceBackup {
    /// Its name among the instance's backups.
    pub name: BackupName,
    /// When it was made.
    pub created_at: Time,
    /// When it is deleted by itself; `None` if never.
    pub expires_at: Option<Time>,
    /// Whether the snapshots were left out.
    pub instance_only: bool,
    /// Bytes of its file.
    pub size: u64,
}
