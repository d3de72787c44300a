//! The `ceph` driver: every volume is an RBD image with a file system on it, mapped by the kernel; images, snapshots and
//! copies are clones, which share their data.
//!
//! Unlike with LXD a snapshot is a clone of its own, so that it can be mounted, and any of them be restored without losing
//! newer ones.

mod cluster;
mod family;
mod keys;
mod report;
mod store;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use coffer_base::{Bytes, Undo, chain, run};

use self::cluster::{Cluster, FEATURES};
pub(crate) use self::cluster::{ask, explain};
use self::family::is_taken;
pub use self::keys::CEPH_POOL;
pub(crate) use self::keys::{FIXED, check};
use self::store::CephStore;
use crate::error::StorageError;
use crate::mounted::{Fault, MountedPool};
use crate::place::Place;
use crate::pool::{Pool, PoolSpec};

/// How many placement groups an OSD pool has unless the configuration says it.
const PLACEMENT_GROUPS: u32 = 32;

/// The image that says that a storage pool stands on an OSD pool.
const MARK: &str = "coffer_pool";

/// What is missing on this host, if something is.
pub(crate) fn missing() -> Option<&'static str> {
    if !["rbd", "ceph", "mkfs.ext4"].into_iter().all(run::installed) {
        return Some("it needs Ceph's programs rbd and ceph (package ceph-common) and mkfs.ext4 (package e2fsprogs)");
    }
    if Path::new("/sys/bus/rbd").exists() || crate::kind::is_built("rbd") {
        return None;
    }
    Some("it needs a kernel with the module rbd")
}

/// The version of the installed programs; asked once.
pub(crate) fn version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let ask = || {
        let output = run::Program::new("rbd").arg("--version").run().unwrap_or_default();
        output.stdout.split(' ').nth(2).unwrap_or_default().to_owned()
    };
    VERSION.get_or_init(ask).clone()
}

/// Says whether a text can be the name of an OSD pool, a cluster or a user.
pub(crate) fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    letters && text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.len() < 128
}

/// Says what is wrong with a list of features of images, if something is.
pub(crate) fn check_features(text: &str) -> Result<(), String> {
    let features: Vec<&str> = text.split(',').collect();
    if let Some(unknown) = features.iter().find(|feature| !FEATURES.contains(feature)) {
        return Err(format!("the kernel's driver knows no feature {unknown:?}: name some of {}", FEATURES.join(", ")));
    }
    for (feature, needs) in [("layering", "layering"), ("object-map", "exclusive-lock"), ("fast-diff", "object-map")] {
        if (feature == needs || features.contains(&feature)) && !features.contains(&needs) {
            return Err(if feature == needs { "layering must be one of them".to_owned() } else { format!("{feature} needs {needs}") });
        }
    }
    Ok(())
}

/// Makes a pool.
pub(crate) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    if let Some(why) = missing() {
        return Err(StorageError::DriverMissing { driver: "ceph", why });
    }
    let place = place(spec);
    let mut undo = Undo::new(warn);
    place.create_directory()?;
    undo.push("removing the pool's directory", || {
        place.remove_layout()?;
        place.remove_directory()
    });
    let (cluster, ours) = make(spec)?;
    undo.push("giving the OSD pool back", {
        let (cluster, pool) = (cluster.clone(), spec.name.clone());
        move || give_back(&cluster, ours).map_err(|fault| fault.of_pool(&pool, "giving back the source of"))
    });
    if let Err(fault) = cluster.create_image(MARK, Bytes(0))
        // A pool that is used all the same has one already.
        && !is_taken(&fault)
    {
        return Err(fault.of_pool(&spec.name, "marking the source of"));
    }
    let pool = MountedPool::open(place.clone(), CephStore::new(cluster.clone(), ours), &spec.config)?;
    undo.keep();
    if let Some(source) = spec.config.get("source").map(str::to_owned) {
        spec.config.set("volatile.initial_source", source);
    }
    for (key, value) in [("source", &cluster.pool), ("ceph.osd.pool_name", &cluster.pool), ("ceph.cluster_name", &cluster.name)] {
        spec.config.set(key, value);
    }
    spec.config.set("ceph.user.name", &cluster.user);
    spec.config.set("volatile.pool.pristine", if ours { "true" } else { "false" });
    Ok(Box::new(pool))
}

/// Opens a pool that was made before.
pub(crate) fn open(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    let place = place(spec);
    if let Some(why) = missing() {
        return Err(place.unavailable(why.into()));
    }
    let source = spec.config.get("source").unwrap_or_default();
    if !is_name(source) {
        return Err(place.unavailable(format!("its source {source:?} is no OSD pool")));
    }
    std::fs::create_dir_all(&place.path).map_err(|cause| place.failed("making the directory of", cause))?;
    let cluster = Arc::new(Cluster::of(&spec.config, source));
    let store = CephStore::new(cluster, spec.config.flag("volatile.pool.pristine", false));
    let opened = MountedPool::open(place.clone(), store, &spec.config);
    let pool = opened.map_err(|error| match error {
        StorageError::Unavailable { .. } => place.unavailable(format!("the cluster has no OSD pool {source}")),
        error => place.unavailable(format!("OSD pool {source}: {}", chain(&error))),
    })?;
    Ok(Box::new(pool))
}

/// Makes the OSD pool, or takes one that is there and empty; says whether it was made.
fn make(spec: &PoolSpec) -> Result<(Arc<Cluster>, bool), StorageError> {
    let name = spec.config.get("source").or(spec.config.get("ceph.osd.pool_name")).unwrap_or(spec.name.as_str());
    let refuse = |why| Err(StorageError::Source { pool: spec.name.clone(), source_path: name.into(), why });
    if spec.config.get("ceph.osd.pool_name").is_some_and(|named| named != name) {
        return refuse("ceph.osd.pool_name names another OSD pool");
    }
    if !is_name(name) {
        return refuse("it is no name of an OSD pool: it may hold letters, digits and - _ .");
    }
    let cluster = Arc::new(Cluster::of(&spec.config, name));
    let images = match cluster.images() {
        Err(Fault::Missing) => {
            let groups = spec.config.parse("ceph.osd.pg_num").unwrap_or(PLACEMENT_GROUPS);
            let made = cluster.create(groups, spec.config.parse("ceph.osd.pool_size"));
            made.map_err(|fault| fault.of_pool(&spec.name, "making the OSD pool of"))?;
            return Ok((cluster, true));
        }
        other => other.map_err(|fault| fault.of_pool(&spec.name, "looking at the source of"))?,
    };
    if !spec.config.flag("ceph.osd.force_reuse", false) {
        // LXD's own mark counts as well.
        if images.keys().any(|name| name == MARK || name.starts_with("lxd_")) {
            return refuse("another storage pool stands on this OSD pool; ceph.osd.force_reuse=true uses it all the same");
        }
        if !images.is_empty() {
            return refuse("the OSD pool is not empty; ceph.osd.force_reuse=true uses it all the same");
        }
    }
    Ok((cluster, false))
}

/// Removes an OSD pool that was made for the storage pool, or the mark from one that was there.
fn give_back(cluster: &Cluster, ours: bool) -> Result<(), Fault> {
    match if ours { cluster.destroy() } else { cluster.remove(MARK) } {
        Err(Fault::Missing) => Ok(()),
        other => other,
    }
}

fn place(spec: &PoolSpec) -> Place {
    Place { pool: spec.name.clone(), path: Place::path_of(&spec.state_dir, &spec.name), mounted: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_images() {
        assert_eq!(check_features("layering,exclusive-lock,object-map,fast-diff"), Ok(()));
        for (bad, why) in
            [("exclusive-lock", "layering"), ("layering,fast-diff", "needs object-map"), ("layering,journaling", "journaling")]
        {
            assert!(check_features(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn names_of_pools() {
        assert!(is_name("rbd") && is_name("a-b_c.d"));
        for bad in ["", "-a", "a/b", "a@b", "--pool", "a b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
