//! The `zfs` driver: every volume is a dataset; images, snapshots and copies are clones, which share their data.
//!
//! Unlike with LXD a snapshot is a clone of its own rather than a state in its volume's history. So any of them can be
//! restored without losing newer ones, each has a place to be mounted at, and copies can be made and removed in any order.

mod dataset;
mod ground;
mod lineage;
mod properties;
mod replica;
mod report;
mod store;
mod stream;

use std::path::Path;
use std::sync::OnceLock;

use coffer_base::run::Program;
use coffer_base::{Bytes, Undo, run};

use self::store::ZfsStore;
use crate::block;
use crate::error::StorageError;
use crate::mounted::{MountedPool, Store};
use crate::place::Place;
use crate::pool::{Pool, PoolSpec};

/// The least size of a pool's file or device.
///
/// Source: zpool(8), SPA_MINDEVSIZE.
pub(crate) const LEAST_SIZE: Bytes = Bytes(64 << 20);

/// Why volumes are no block devices.
pub(crate) const DATASETS: &str = "volumes are datasets";

/// Why instances get no datasets.
pub(crate) const DELEGATE: &str = "datasets are not handed to instances, for which ZFS 2.2 is needed too";

/// Why nothing is promoted when it is made.
pub(crate) const PROMOTE: &str = "volumes are removed in any order without it";

/// Words that cannot begin the name of a ZFS pool, because they mean something where such a name could stand.
///
/// Source: zpool-create(8).
const RESERVED: [&str; 5] = ["mirror", "raidz", "draid", "spare", "log"];

/// What is missing on this host, if something is.
pub(crate) fn missing() -> Option<&'static str> {
    if !["zfs", "zpool"].into_iter().all(run::installed) {
        return Some("it needs ZFS' programs (package zfsutils-linux) and the kernel module zfs (package zfs-dkms)");
    }
    if is_loaded() || crate::kind::is_built("zfs") {
        return None;
    }
    Some("it needs the kernel module zfs, built for the running kernel (package zfs-dkms and the kernel's headers)")
}

/// The version of the kernel's module, or of the programs while that is not loaded.
pub(crate) fn version() -> String {
    static PROGRAMS: OnceLock<String> = OnceLock::new();
    let ask = || {
        let output = Program::new("zfs").arg("version").run().unwrap_or_default();
        output.stdout.lines().next().and_then(|line| line.strip_prefix("zfs-")).unwrap_or_default().to_owned()
    };
    match std::fs::read_to_string("/sys/module/zfs/version") {
        Ok(version) => version.trim().to_owned(),
        Err(_) => PROGRAMS.get_or_init(ask).clone(),
    }
}

/// Says whether a text can be the name of a dataset or of a ZFS pool.
pub(crate) fn is_dataset(text: &str) -> bool {
    let mut parts = text.split('/');
    let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    parts.next().is_some_and(is_zpool)
        && parts.all(|part| !part.is_empty() && part != "." && part != ".." && letters(part))
        && text.len() < 100
}

/// Says whether a text can be the name of a ZFS pool.
pub(crate) fn is_zpool(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    letters && text.starts_with(|first: char| first.is_ascii_alphabetic()) && !RESERVED.iter().any(|word| text.starts_with(word))
}

/// Says whether blocks of files can be this large in some ZFS pool.
///
/// Source: zfsprops(7), recordsize.
pub(crate) fn is_block_size(size: Bytes) -> bool {
    size.0.is_power_of_two() && (512..=16 << 20).contains(&size.0)
}

/// Makes a pool.
pub(crate) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    if let Some(why) = missing() {
        return Err(StorageError::DriverMissing { driver: "zfs", why });
    }
    load().map_err(|cause| StorageError::PoolTool { pool: spec.name.clone(), doing: "loading the kernel module for", cause })?;
    let place = place(spec);
    let mut undo = Undo::new(warn);
    place.create_directory()?;
    undo.push("removing the pool's directory", || {
        place.remove_layout()?;
        place.remove_directory()
    });
    let (ground, root) = ground::make(spec, &place, warn)?;
    let store = ZfsStore { root, ground, export: spec.config.flag("zfs.export", true) };
    if let Err(fault) = store.lay_out().and_then(|()| store.require_block("volume.zfs.blocksize", &spec.config)) {
        if let Err(left) = store.destroy() {
            warn(format!("removing what the pool stands on: {left}"));
        }
        return Err(fault.of_pool(&spec.name, "laying out"));
    }
    let pool = MountedPool::open(place.clone(), store, &spec.config)?;
    undo.keep();
    fill_in(spec, pool.store());
    Ok(Box::new(pool))
}

/// Opens a pool that was made before.
pub(crate) fn open(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    let place = place(spec);
    if let Some(why) = missing() {
        return Err(place.unavailable(why.into()));
    }
    load().map_err(|error| place.unavailable(format!("loading the kernel module zfs: {}", coffer_base::chain(&error))))?;
    let (ground, root) = ground::find(spec, &place)?;
    let store = ZfsStore { root, ground, export: spec.config.flag("zfs.export", true) };
    store.lay_out().map_err(|fault| place.unavailable(format!("dataset {}: {fault}", store.root.0)))?;
    std::fs::create_dir_all(&place.path).map_err(|cause| place.failed("making the directory of", cause))?;
    Ok(Box::new(MountedPool::open(place, store, &spec.config)?))
}

/// Writes down what was made, so that it is found again.
fn fill_in(spec: &mut PoolSpec, store: &ZfsStore) {
    block::write_down_source(spec, &store.root.0);
    spec.config.set("zfs.pool_name", &store.root.0);
}

/// Loads the kernel's module unless it is.
fn load() -> Result<(), run::RunError> {
    if is_loaded() { Ok(()) } else { Program::new("modprobe").arg("zfs").run().map(drop) }
}

fn is_loaded() -> bool {
    Path::new("/sys/module/zfs").exists()
}

fn place(spec: &PoolSpec) -> Place {
    Place { pool: spec.name.clone(), path: Place::path_of(&spec.state_dir, &spec.name), mounted: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_datasets() {
        for name in ["tank", "tank/lxd", "tank/a.b:c_d/e-f"] {
            assert!(is_dataset(name), "{name}");
        }
        for name in ["", "-tank", "1tank", "mirror0", "tank/", "tank//a", "tank/..", "tank/a@b", "tank/a b", "log"] {
            assert!(!is_dataset(name), "{name}");
        }
        assert!(is_zpool("tank-1") && !is_zpool("tank/lxd") && !is_zpool("ta:nk"));
    }
}
