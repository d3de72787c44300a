//! Backups of storage volumes.

use crate::Timestamp;

wire! {
    /// A backup of a volume.
    pub struct StorageVolumeBackup {
        /// Name, without the volume's.
        pub name: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
        /// Whether snapshots were left out.
        pub volume_only: bool,
        /// Whether it is in the storage driver's own format.
        pub optimized_storage: bool,
    }

    /// `POST /1.0/storage-pools/{pool}/volumes/{type}/{name}/backups`.
    pub struct StorageVolumeBackupsPost {
        /// Name; empty lets the server choose.
        pub name: String,
        /// When it is deleted by itself; unset means never.
        pub expires_at: Timestamp,
        /// Whether snapshots are left out.
        pub volume_only: bool,
        /// Whether to use the storage driver's own format.
        pub optimized_storage: bool,
        /// Compressor; empty means the server's default.
        pub compression_algorithm: String,
        /// Ours alone: whether the backup goes into a file that the client, on the same host, hands over. It is not kept then,
        /// and name and expiry count for nothing.
        pub local_file: bool,
    }

    /// `POST /1.0/storage-pools/{pool}/volumes/{type}/{name}/backups/{backup}`: rename.
    pub struct StorageVolumeBackupPost {
        /// New name.
        pub name: String,
    }
}
