//! What can go wrong with pools and volumes.

use std::io;
use std::path::PathBuf;

use coffer_base::Bytes;
use coffer_base::run::RunError;
use coffer_model::PoolName;
use coffer_model::key::KeyError;

use crate::kind::DriverKind;
use crate::pool::FillError;
use crate::tree::TreeError;
use crate::volume::Volume;

/// Why something with a pool or a volume failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No driver has this name.
    #[error("unknown storage driver {name:?}: use {}", DriverKind::names())]
    UnknownDriver {
        /// The name.
        name: String,
    },
    /// The driver exists elsewhere, but not here.
    #[error("storage driver {name} is not supported yet: use {}", DriverKind::names())]
    UnsupportedDriver {
        /// The name.
        name: &'static str,
    },
    /// The host lacks what the driver needs.
    #[error("storage driver {driver} is not available on this host: {why}")]
    DriverMissing {
        /// The driver's name.
        driver: &'static str,
        /// What is missing, and what to do.
        why: &'static str,
    },
    /// A key is unknown or its value is not of its type.
    #[error("configuring storage pool {pool}")]
    Key {
        /// The pool.
        pool: PoolName,
        /// What is wrong.
        #[source]
        cause: KeyError,
    },
    /// A key's value cannot be used.
    #[error("storage pool {pool}: key {key}: {why}")]
    Value {
        /// The pool.
        pool: PoolName,
        /// The key.
        key: &'static str,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A pool's or volume's source cannot be used.
    #[error("storage pool {pool}: source {}: {why}", source_path.display())]
    Source {
        /// The pool.
        pool: PoolName,
        /// The source.
        source_path: PathBuf,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// Something of that name is on disk already.
    #[error("storage pool {pool}: {} is there already and not empty: remove it or choose another name", path.display())]
    PoolExists {
        /// The pool.
        pool: PoolName,
        /// Where it is.
        path: PathBuf,
    },
    /// A pool that exists cannot be reached now.
    #[error("storage pool {pool} is not available: {why}")]
    Unavailable {
        /// The pool.
        pool: PoolName,
        /// What is missing.
        why: String,
    },
    /// A pool that is to be removed holds volumes.
    #[error("storage pool {pool} still holds {first} (and {more} more): delete its volumes first")]
    NotEmpty {
        /// The pool.
        pool: PoolName,
        /// One of the volumes.
        first: String,
        /// How many more.
        more: usize,
    },
    /// Making the file system failed.
    #[error("formatting {} for storage pool {pool}", source_path.display())]
    Format {
        /// The pool.
        pool: PoolName,
        /// The device or file.
        source_path: PathBuf,
        /// What the program said.
        #[source]
        cause: RunError,
    },
    /// Mounting a pool failed.
    #[error("mounting {} for storage pool {pool}{}", source_path.display(), said.as_ref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Mount {
        /// The pool.
        pool: PoolName,
        /// What was to be mounted.
        source_path: PathBuf,
        /// What the file system said about it.
        said: Option<String>,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// A step on a pool as a whole failed.
    #[error("{doing} storage pool {pool}")]
    Pool {
        /// The pool.
        pool: PoolName,
        /// What was being done.
        doing: &'static str,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// Walking through a pool as a whole failed.
    #[error("{doing} storage pool {pool}")]
    PoolTree {
        /// The pool.
        pool: PoolName,
        /// What was being done.
        doing: &'static str,
        /// Where, and the kernel's answer.
        #[source]
        cause: TreeError,
    },
    /// There is no such volume.
    #[error("storage pool {pool} has no {volume}")]
    NoVolume {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
    },
    /// A volume of that name is there.
    #[error("storage pool {pool} has {volume} already")]
    VolumeExists {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
    },
    /// There is not enough room for what is to be made.
    #[error(
        "storage pool {pool} has no room for {volume}: it needs at least {need}, and {free} are free; make room there, or use another pool"
    )]
    NoRoom {
        /// The pool.
        pool: PoolName,
        /// What was to be made.
        volume: Volume,
        /// What it needs.
        need: Bytes,
        /// What is there.
        free: Bytes,
    },
    /// A volume that is to be removed has snapshots.
    #[error("{volume} in storage pool {pool} still has snapshots, {snapshot} for one: delete them first")]
    HasSnapshots {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// One of the snapshots.
        snapshot: String,
    },
    /// Something is mounted inside a volume that is to be removed or replaced.
    #[error("{volume} in storage pool {pool} is in use: {} is mounted there", mount.display())]
    MountedInside {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// The mount point.
        mount: PathBuf,
    },
    /// A step on a volume failed.
    #[error("{doing} {volume} in storage pool {pool}")]
    Volume {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// What was being done.
        doing: &'static str,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// A program failed in a step on a volume.
    #[error("{doing} {volume} in storage pool {pool}")]
    VolumeTool {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// What was being done.
        doing: &'static str,
        /// What the program said.
        #[source]
        cause: RunError,
    },
    /// A volume is in use.
    #[error("{volume} in storage pool {pool} is in use: {why}")]
    VolumeBusy {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// By whom.
        why: String,
    },
    /// A step on a volume makes no sense, or the driver cannot do it.
    #[error("{doing} {volume} in storage pool {pool}: {why}")]
    VolumeRefused {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// What was to be done.
        doing: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// A program failed in a step on a pool as a whole.
    #[error("{doing} storage pool {pool}")]
    PoolTool {
        /// The pool.
        pool: PoolName,
        /// What was being done.
        doing: &'static str,
        /// What the program said.
        #[source]
        cause: RunError,
    },
    /// A step on a pool as a whole makes no sense, or something is in use.
    #[error("{doing} storage pool {pool}: {why}")]
    PoolRefused {
        /// The pool.
        pool: PoolName,
        /// What was to be done.
        doing: &'static str,
        /// Why not, and what to do.
        why: String,
    },
    /// Walking through a volume failed.
    #[error("{doing} {volume} in storage pool {pool}")]
    Tree {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// What was being done.
        doing: &'static str,
        /// Where, and the kernel's answer.
        #[source]
        cause: TreeError,
    },
    /// A volume's name is gone, but not all that it held; the rest goes when temporaries are cleared.
    #[error("{volume} is removed from storage pool {pool}, but some of what it held is left in its scratch directory")]
    Reclaim {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// Where, and the kernel's answer.
        #[source]
        cause: TreeError,
    },
    /// What was to fill a new volume failed.
    #[error("filling {volume} in storage pool {pool}")]
    Fill {
        /// The pool.
        pool: PoolName,
        /// The volume.
        volume: Volume,
        /// What it said.
        #[source]
        cause: FillError,
    },
}

/// What kind of failure an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The caller asked for something that makes no sense.
    Invalid,
    /// It is not there.
    NotFound,
    /// It is there already.
    Exists,
    /// It is in use.
    InUse,
    /// No room, on the device or within a quota.
    NoSpace,
    /// The pool cannot be reached now.
    Unavailable,
    /// Anything else.
    Failed,
}

impl StorageError {
    /// The class of the failure.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::UnknownDriver { .. }
            | Self::UnsupportedDriver { .. }
            | Self::DriverMissing { .. }
            | Self::Key { .. }
            | Self::Value { .. }
            | Self::Source { .. }
            | Self::VolumeRefused { .. } => Class::Invalid,
            Self::NoVolume { .. } => Class::NotFound,
            Self::PoolExists { .. } | Self::VolumeExists { .. } => Class::Exists,
            Self::NotEmpty { .. }
            | Self::HasSnapshots { .. }
            | Self::MountedInside { .. }
            | Self::VolumeBusy { .. }
            | Self::PoolRefused { .. } => Class::InUse,
            Self::Unavailable { .. } => Class::Unavailable,
            Self::NoRoom { .. } => Class::NoSpace,
            Self::Mount { cause, .. } | Self::Pool { cause, .. } | Self::Volume { cause, .. } => of_io(cause),
            Self::Tree { cause, .. } | Self::PoolTree { cause, .. } | Self::Reclaim { cause, .. } => of_io(&cause.cause),
            Self::Fill { cause, .. } => of_chain(cause.as_ref()),
            Self::Format { .. } | Self::VolumeTool { .. } | Self::PoolTool { .. } => Class::Failed,
        }
    }
}

fn of_io(error: &io::Error) -> Class {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Class::NoSpace,
        io::ErrorKind::ResourceBusy => Class::InUse,
        // What says more about a failure may be wrapped around the kernel's answer.
        _ => error.get_ref().map_or(Class::Failed, |inner| of_chain(inner)),
    }
}

fn of_chain(error: &(dyn std::error::Error + 'static)) -> Class {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return of_io(error);
        }
        next = error.source();
    }
    Class::Failed
}
