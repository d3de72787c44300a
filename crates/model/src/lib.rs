//! The product's own words, always valid: names, keys, instances, profiles, devices, id maps.
//!
//! Never: a system call, a file, a clock; a value that has to be checked again below the edge.

pub mod names;

pub use names::{
    AliasName, DeviceName, Fingerprint, InstanceName, InterfaceName, NameError, NetworkName, PoolName, ProfileName, ProjectName, SnapshotName,
    VolumeName,
};
