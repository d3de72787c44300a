//! The `lvm` driver: every volume is a logical volume with a file system on it, thin unless told otherwise.
//!
//! Thin volumes share their data with their snapshots and copies, and with the image that they come from. Thick ones have
//! room of their own from the start; their copies and snapshots are full copies, as with the `dir` driver.

mod ground;
mod group;
mod names;
mod report;
mod store;

use std::sync::OnceLock;

use coffer_base::{Bytes, Undo, run};
use coffer_model::Config;

use self::store::LvmStore;
use crate::block::{self, FileSystem};
use crate::error::StorageError;
use crate::mounted::{Fault, MountedPool};
use crate::place::Place;
use crate::pool::{Pool, PoolSpec};

/// The least size of a pool's file or device: room for LVM's own data and a small volume.
pub(crate) const LEAST_SIZE: Bytes = Bytes(64 << 20);

/// The name of the thin pool, unless the configuration says another.
pub(crate) const THIN_POOL: &str = "LXDThinPool";

/// What is missing on this host, if something is.
pub(crate) fn missing() -> Option<&'static str> {
    if !["lvcreate", "vgcreate", "mkfs.ext4"].into_iter().all(run::installed) {
        return Some("it needs LVM's programs (package lvm2) and mkfs.ext4 (package e2fsprogs)");
    }
    let known = std::fs::read_to_string("/proc/misc").is_ok_and(|list| list.contains("device-mapper"));
    if known || crate::kind::has_module("drivers/md/dm-mod") {
        return None;
    }
    Some("it needs a kernel with the device mapper")
}

/// The version of the installed programs; asked once.
pub(crate) fn version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let ask = || {
        let output = run::Program::new("lvm").arg("version").run().unwrap_or_default();
        let line = output.stdout.lines().find_map(|line| line.trim().strip_prefix("LVM version:")).unwrap_or_default().trim();
        line.split('(').next().unwrap_or_default().trim().to_owned()
    };
    VERSION.get_or_init(ask).clone()
}

/// Says whether a text can be the name of a volume group or of a thin pool.
pub(crate) fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte));
    letters && !text.is_empty() && text.len() < 64 && !text.starts_with('-') && text != "." && text != ".."
}

/// Says whether stripes can be this large, as far as that can be said without their volume group.
///
/// Source: lvcreate(8).
pub(crate) fn is_stripe_size(size: Bytes) -> bool {
    size.0.is_power_of_two() && size.0 >= 4 << 10
}

/// Makes a pool.
pub(crate) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    if let Some(why) = missing() {
        return Err(StorageError::DriverMissing { driver: "lvm", why });
    }
    require_programs(spec)?;
    let place = place(spec);
    let mut undo = Undo::new(warn);
    place.create_directory()?;
    undo.push("removing the pool's directory", || {
        place.remove_layout()?;
        place.remove_directory()
    });
    let (ground, group) = ground::make(spec, &place, warn)?;
    let store = LvmStore { group, thin_pool: None, ground };
    let thin_pool = thin_pool(&spec.config);
    let opened = store.with_thin_pool(thin_pool.clone(), &spec.config).map_err(|(store, fault)| {
        if let Err(left) = store.give_back() {
            warn(format!("removing what the pool stands on: {left}"));
        }
        fault.of_pool(&spec.name, "making the thin pool of")
    });
    let pool = MountedPool::open(place.clone(), opened?, &spec.config)?;
    undo.keep();
    fill_in(spec, pool.store(), thin_pool);
    Ok(Box::new(pool))
}

/// Opens a pool that was made before.
pub(crate) fn open(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    let place = place(spec);
    if let Some(why) = missing() {
        return Err(place.unavailable(why.into()));
    }
    let (ground, group) = ground::find(spec, &place)?;
    let unavailable = |fault: Fault| place.unavailable(format!("volume group {}: {fault}", group.name));
    group.look().map_err(unavailable)?;
    group.activate(true).map_err(unavailable)?;
    std::fs::create_dir_all(&place.path).map_err(|cause| place.failed("making the directory of", cause))?;
    let store = LvmStore { group, thin_pool: thin_pool(&spec.config), ground };
    Ok(Box::new(MountedPool::open(place, store, &spec.config)?))
}

/// The thin pool that the configuration asks for.
fn thin_pool(config: &Config) -> Option<String> {
    config.flag("lvm.use_thinpool", true).then(|| config.get("lvm.thinpool_name").unwrap_or(THIN_POOL).to_owned())
}

/// Writes down what was made, so that it is found again.
fn fill_in(spec: &mut PoolSpec, store: &LvmStore, thin_pool: Option<String>) {
    block::write_down_source(spec, &store.group.name);
    spec.config.set("lvm.vg_name", &store.group.name);
    if let Some(pool) = thin_pool {
        spec.config.set("lvm.thinpool_name", pool);
    }
}

/// Refuses a file system whose programs are not installed.
fn require_programs(spec: &PoolSpec) -> Result<(), StorageError> {
    let kind = spec.config.get("volume.block.filesystem").and_then(FileSystem::named).unwrap_or(FileSystem::Ext4);
    match kind.missing() {
        Some(why) => Err(StorageError::Value { pool: spec.name.clone(), key: "volume.block.filesystem", why }),
        None => Ok(()),
    }
}

fn place(spec: &PoolSpec) -> Place {
    Place { pool: spec.name.clone(), path: Place::path_of(&spec.state_dir, &spec.name), mounted: false }
}
