//! Storage pools and volumes: one small trait with optional powers, one driver a folder.
//!
//! Invariants: knows no database, no operation, no HTTP; never follows a symbolic link inside a volume and never leaves a
//! pool, because every step below a pool's top is made by directory descriptors; never shows half a volume under its
//! name: what is being made or removed stands in the pool's scratch directory until it is whole or gone.
//!
//! A pool looks as LXD's does: `storage-pools/POOL/{containers,containers-snapshots,custom,custom-snapshots,images}/`,
//! with `[PROJECT_]NAME/` below, and `[PROJECT_]NAME/SNAPSHOT/` below the snapshots' directories.

pub mod arrival;
pub mod config;
pub mod disk_file;
pub mod error;
pub mod kind;
pub mod mounts;
pub mod pool;
pub mod replica;
pub mod tree;
pub mod volume;

mod between;
mod block;
mod btrfs;
mod ceph;
mod cephfs;
mod dir;
mod idmap;
mod lvm;
mod mounted;
mod overlay;
mod place;
mod unpacking;
mod zfs;

pub use between::{copy_between, copy_between_after};
pub use error::{Class, StorageError};
pub use idmap::supports_idmapped_mounts;
pub use kind::DriverKind;
pub use pool::{
    Before, Difference, Enforcement, Fill, FillError, FillInTurn, Found, History, Images, Mapped, Pool, PoolSpec, Resources, Snapshots,
    Streams, Succession, Usage, View, VolumeKeys, create_from_image, create_pool, is_mounted, leftovers, open_pool, own_source,
    require_room,
};
pub use replica::{Foreign, Outgoing, Replicas, Settle, StateId};
pub use volume::Volume;
