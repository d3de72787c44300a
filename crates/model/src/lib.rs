//! The product's own words, always valid: names, keys, instances, profiles, devices, id maps.
//!
//! Never: a system call, a file, a clock; a value that has to be checked again below the edge.

pub mod apparmor;
pub mod awaited;
pub mod backup;
mod bit_rate;
pub mod certificate;
pub mod command_line;
pub mod config;
pub mod depends;
pub mod device;
pub mod entity;
pub mod expiry;
pub mod filesystems;
pub mod filter;
pub mod gate;
pub mod health;
pub mod idmap;
pub mod instance;
pub mod instance_type;
pub mod key;
pub mod keys;
pub mod names;
pub mod operation;
pub mod origin;
pub mod pattern;
pub mod raw_idmap;
pub mod schedule;
pub mod snapshot;
pub mod status;
pub mod volume;
pub mod warning;

pub use awaited::Awaited;
pub use backup::{Backup, BackupOwner};
pub use bit_rate::BitRate;
pub use certificate::{CertificateKind, TrustedCertificate};
pub use config::Config;
pub use depends::{Dependencies, Readiness};
pub use device::{Device, DeviceKind, Devices};
pub use entity::{Alias, Image, Network, Pool, Profile, Project, Volume, VolumeKind};
pub use expiry::Expiry;
pub use gate::{Checked, GateError};
pub use health::{Health, HealthCheck, HealthPlan};
pub use idmap::{IdMap, IdRange};
pub use instance::{Instance, Phase};
pub use names::{
    AliasName, BackupName, DeviceName, Fingerprint, InstanceName, InterfaceName, NameError, NetworkName, PoolName, ProfileName,
    ProjectName, SnapshotName, VolumeName,
};
pub use operation::{LoggedOperation, OperationClass, OperationQuery, OperationStatus, Requestor};
pub use origin::{Origin, OriginServer};
pub use pattern::SnapshotPattern;
pub use schedule::Schedule;
pub use snapshot::InstanceSnapshot;
pub use status::Status;
pub use volume::{ContentType, CustomVolume, VolumeKey, VolumeSnapshot};
pub use warning::{Warning, WarningKind, WarningStatus};

/// A moment, in UTC, to the nanosecond.
pub type Time = jiff::Timestamp;
