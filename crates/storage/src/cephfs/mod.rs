//! The `cephfs` driver: users' volumes as directories of a Ceph cluster's own file system, which many servers can mount.
//!
//! A volume is a directory with its content in `data` inside. So a snapshot, which Ceph takes of a directory and keeps in that
//! directory, is of the outer one, and outlives that a restore puts another content into its place.

mod connection;
mod keys;
mod limit;
mod volumes;

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::OnceLock;

use coffer_base::{Undo, run};
use coffer_model::PoolName;

use self::connection::Connection;
pub use self::keys::CEPHFS_POOL;
pub(crate) use self::keys::{FIXED, check, is_source};
use self::volumes::CephfsPool;
use crate::error::StorageError;
use crate::mounted::Fault;
use crate::mounts;
use crate::place::Place;
use crate::pool::{Pool, PoolSpec};

/// What is missing on this host, if something is.
pub(crate) fn missing() -> Option<&'static str> {
    if !["ceph", "mount.ceph"].into_iter().all(run::installed) {
        return Some("it needs Ceph's programs ceph and mount.ceph (package ceph-common)");
    }
    let known = std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|list| list.lines().any(|line| line.split_whitespace().last() == Some("ceph")));
    if known || crate::kind::is_built("ceph") { None } else { Some("it needs a kernel with the module ceph") }
}

/// The version of the installed programs; asked once.
pub(crate) fn version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let ask = || {
        let output = run::Program::new("ceph").arg("--version").run().unwrap_or_default();
        output.stdout.split(' ').nth(2).unwrap_or_default().to_owned()
    };
    VERSION.get_or_init(ask).clone()
}

/// Makes a pool.
pub(crate) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    if let Some(why) = missing() {
        return Err(StorageError::DriverMissing { driver: "cephfs", why });
    }
    let source = spec.config.get("source").unwrap_or_default().to_owned();
    let refuse = |why| StorageError::Source { pool: spec.name.clone(), source_path: source.clone().into(), why };
    if source.is_empty() {
        return Err(refuse("name a file system of the cluster, and a directory in it: source=FILE-SYSTEM/DIRECTORY"));
    }
    let connection = Connection::of(&spec.config).ok_or_else(|| refuse("cephfs.path names another directory"))?;
    if !connection.is_there().map_err(|fault| fault.of_pool(&spec.name, "looking at the source of"))? {
        return Err(refuse("the cluster has no such file system; make it first: ceph fs volume create NAME"));
    }
    let place = place(&spec.name, &spec.state_dir);
    let mut undo = Undo::new(warn);
    place.create_directory()?;
    undo.push("removing the pool's directory", || place.remove_directory());
    let made = connection.make_directory(&place)?;
    if made {
        undo.push("removing the pool's directory in the file system", || connection.remove_directory(&place));
    }
    connection.mount(&place.path).map_err(|fault| fault.of_pool(&spec.name, "mounting the source of"))?;
    undo.push("unmounting the pool", || place.unmount());
    undo.push("emptying the pool", || place.remove_layout());
    place.ensure_layout()?;
    undo.keep();
    spec.config.set("volatile.initial_source", &source);
    spec.config.set("volatile.pool.pristine", if made { "true" } else { "false" });
    for (key, value) in
        [("cephfs.cluster_name", &connection.cluster), ("cephfs.user.name", &connection.user), ("cephfs.path", &connection.path)]
    {
        spec.config.set(key, value);
    }
    Ok(Box::new(CephfsPool { place, connection, made }))
}

/// Opens a pool that was made before.
pub(crate) fn open(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    let place = place(&spec.name, &spec.state_dir);
    if let Some(why) = missing() {
        return Err(place.unavailable(why.into()));
    }
    let source = spec.config.get("source").unwrap_or_default();
    let connection = Connection::of(&spec.config).filter(|_| is_source(source));
    let connection = connection.ok_or_else(|| place.unavailable(format!("its source {source:?} is no directory of a file system")))?;
    std::fs::create_dir_all(&place.path).map_err(|cause| place.failed("making the directory of", cause))?;
    let unavailable = |fault: Fault| place.unavailable(format!("file system {source}: {fault}"));
    let top = place.top().map_err(|cause| place.failed("opening", cause))?;
    if !mounts::is_mount(top.as_fd()).map_err(|cause| place.failed("looking at", cause))? {
        connection.mount(&place.path).map_err(unavailable)?;
    } else if !connection.is_mounted_at(&place.path).map_err(unavailable)? {
        return Err(place.unavailable(format!("something else than {source} is mounted at {}", place.path.display())));
    }
    if !place.is_laid_out()? {
        return Err(place.unavailable(format!("{source} holds no storage pool")));
    }
    place.ensure_layout()?;
    let made = spec.config.flag("volatile.pool.pristine", false);
    Ok(Box::new(CephfsPool { place, connection, made }))
}

fn place(pool: &PoolName, state_dir: &Path) -> Place {
    Place { pool: pool.clone(), path: Place::path_of(state_dir, pool), mounted: true }
}
