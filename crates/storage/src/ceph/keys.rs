//! The configuration keys of `ceph` pools.

use coffer_model::Config;
use coffer_model::key::Key;

use super::{check_features, is_name};
use crate::block::FileSystem;
use crate::config::{MADE, keys_of_pool};

/// The keys of a `ceph` pool.
pub static CEPH_POOL: &[Key] = keys_of_pool![
    row("source", Value::Line, "the pool's name", "The OSD pool that holds the volumes: one that is there and empty, or a new one."),
    row("volatile.initial_source", Value::Line, "", "The source as it was given when the pool was made."),
    row("volatile.pool.pristine", Value::Bool, "", "Whether the OSD pool was made for this pool and goes with it."),
    row("ceph.cluster_name", Value::Line, "ceph", "The name of the cluster, whose configuration is in `/etc/ceph/NAME.conf`."),
    row("ceph.user.name", Value::Line, "admin", "The user in the cluster, whose key is in `/etc/ceph/CLUSTER.client.NAME.keyring`."),
    row("ceph.osd.pool_name", Value::Line, "the pool's name", "The name of the OSD pool."),
    row("ceph.osd.data_pool_name", Value::Line, "", "Another OSD pool for the volumes' data: an erasure-coded one."),
    refused("ceph.osd.pg_name", Value::Line, "it is called ceph.osd.pg_num", "How many placement groups a new OSD pool has."),
    row("ceph.osd.pg_num", Value::Int(1, 65_536), "32", "How many placement groups a new OSD pool has."),
    row("ceph.osd.pool_size", Value::Int(1, 10), "the cluster's own", "How many copies of everything a new OSD pool keeps."),
    row("ceph.osd.force_reuse", Value::Bool, "false", "Whether an OSD pool is used that is not empty or that another pool stands on."),
    row(
        "ceph.rbd.clone_copy",
        Value::Bool,
        "true",
        "Whether copies of volumes share their data with what they were made from. Snapshots always do, and new instances with their image.",
    ),
    row(
        "ceph.rbd.du",
        Value::Bool,
        "true",
        "Accepted because LXD asks `rbd du` how much a volume holds unless told not to. Here its file system is asked, which takes no time.",
    ),
    row(
        "ceph.rbd.features",
        Value::Line,
        "layering",
        "What new images can do, separated by commas: `layering`, `exclusive-lock`, `object-map`, `fast-diff`, `deep-flatten`.",
    ),
    refused("volume.block.create_options", Value::Line, MADE, "Options for making file systems."),
    row("volume.block.filesystem", Value::Choice(FileSystem::NAMES), "ext4", "The file system of new volumes."),
    row(
        "volume.block.mount_options",
        Value::Line,
        "discard",
        "How volumes are mounted, unless they have a word of their own: options separated by commas. Times of access are not kept unless `relatime` or `strictatime` is among them.",
    ),
    row("volume.size", Value::Size, "10GiB", "The size of new volumes."),
];

/// The keys that say what a pool is made of.
pub(crate) const FIXED: [&str; 8] = [
    "volatile.pool.pristine",
    "ceph.cluster_name",
    "ceph.user.name",
    "ceph.osd.pool_name",
    "ceph.osd.data_pool_name",
    "ceph.osd.pg_num",
    "ceph.osd.pool_size",
    "ceph.osd.force_reuse",
];

/// Checks the values that a program of Ceph's will be given.
///
/// # Errors
/// The key, and a sentence for the user.
pub(crate) fn check(config: &Config) -> Result<(), (&'static str, String)> {
    for key in ["ceph.cluster_name", "ceph.user.name", "ceph.osd.pool_name", "ceph.osd.data_pool_name"] {
        if let Some(name) = config.get(key)
            && !is_name(name)
        {
            return Err((key, format!("{name:?} is no name that Ceph takes: it may hold letters, digits and - _ .")));
        }
    }
    config.get("ceph.rbd.features").map_or(Ok(()), check_features).map_err(|why| ("ceph.rbd.features", why))
}
