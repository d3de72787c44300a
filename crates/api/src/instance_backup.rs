//! Backups of instances.

use crate::Timestamp;

wire! {
    /// A backup of an instance.
    pub struct InstanceBackup {
        /// Name, without the instance's.
        pub name: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
        /// Whether snapshots were left out.
        pub instance_only: bool,
        /// Older name of `instance_only`.
        pub container_only: bool,
        /// Whether it is in the storage driver's own format.
        pub optimized_storage: bool,
    }

    /// `POST /1.0/instances/{name}/backups`.
    pub struct InstanceBackupsPost {
        /// Name; empty lets the server choose.
        pub name: String,
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
        /// Whether snapshots are left out.
        pub instance_only: bool,
        /// Older name of `instance_only`; both are sent.
        pub container_only: bool,
        /// Whether to use the storage driver's own format.
        pub optimized_storage: bool,
        /// Compressor; empty means the server's default.
        pub compression_algorithm: String,
        /// Ours alone: whether the backup goes into a file that the client, on the same host, hands over. It is not kept then,
        /// and name and expiry count for nothing.
        pub local_file: bool,
    }

    /// `POST /1.0/instances/{name}/backups/{backup}`: rename.
    pub struct InstanceBackupPost {
        /// New name.
        pub name: String,
    }
}
