//! What a pool's volume group stands on: a file that the server makes, a block device, or a group that is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coffer_base::Undo;
use rustix::fs::FileType;

use super::group::Group;
use super::{LEAST_SIZE, is_name};
use crate::block::{self, LoopFile};
use crate::error::StorageError;
use crate::mounted::Fault;
use crate::place::Place;
use crate::pool::PoolSpec;

/// What the group stands on.
#[derive(Debug)]
pub(super) enum Ground {
    /// A file that the server made.
    File(Arc<LoopFile>),
    /// A device that was made a group for the pool.
    Device,
    /// A group that was there before.
    Group,
}

/// Makes what the configuration asks for.
pub(super) fn make(spec: &PoolSpec, place: &Place, warn: &(dyn Fn(String) + Sync)) -> Result<(Ground, Group), StorageError> {
    match spec.config.get("source") {
        None => make_file(spec, place, warn),
        Some(source) if Path::new(source).is_absolute() => make_on_device(spec, Path::new(source)),
        Some(source) => adopt(spec, source),
    }
}

/// Finds what was made before.
pub(super) fn find(spec: &PoolSpec, place: &Place) -> Result<(Ground, Group), StorageError> {
    let source = PathBuf::from(spec.config.get("source").unwrap_or_default());
    if source == block::file_path(spec) {
        // Whoever brings a pool back after its record was lost need not know what its group is called.
        let name = group_name(spec)?;
        let file = Arc::new(LoopFile::new(source));
        let device = file.attach().map_err(|cause| place.unavailable(format!("attaching {}: {cause}", file.path().display())))?;
        return Ok((Ground::File(file), Group { name, device: Some(device) }));
    }
    let name = spec.config.get("lvm.vg_name").or(spec.config.get("source")).unwrap_or_default().to_owned();
    if source.is_absolute() {
        return Err(place.unavailable(format!("its source {} is neither its file nor a volume group", source.display())));
    }
    let ours = spec.config.get("volatile.initial_source").is_some_and(|source| source.starts_with('/'));
    Ok((if ours { Ground::Device } else { Ground::Group }, Group { name, device: None }))
}

fn make_file(spec: &PoolSpec, place: &Place, warn: &(dyn Fn(String) + Sync)) -> Result<(Ground, Group), StorageError> {
    let name = group_name(spec)?;
    let size = block::file_size(spec).map_err(|cause| place.failed("making the file of", cause))?;
    let file = Arc::new(LoopFile::new(block::file_path(spec)));
    file.create(size).map_err(|cause| place.failed("making the file of", cause))?;
    let mut undo = Undo::new(warn);
    undo.push("removing the pool's file", {
        let file = file.clone();
        move || file.remove()
    });
    let device = file.attach().map_err(|cause| place.failed("attaching a loop device for", cause))?;
    let group = Group { name, device: Some(device.clone()) };
    group.create(&device, false).map_err(|fault| fault.of_pool(&spec.name, "making the volume group of"))?;
    undo.keep();
    Ok((Ground::File(file), group))
}

fn make_on_device(spec: &PoolSpec, device: &Path) -> Result<(Ground, Group), StorageError> {
    let refuse = |why| StorageError::Source { pool: spec.name.clone(), source_path: device.to_owned(), why };
    let name = group_name(spec)?;
    if !rustix::fs::stat(device).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice) {
        return Err(refuse("it is no block device; name a volume group without a slash, or leave it out and the server makes a file"));
    }
    block::refuse_size(spec)?;
    block::require_fit(device, LEAST_SIZE).map_err(refuse)?;
    let group = Group { name, device: Some(device.to_owned()) };
    group
        .create(device, spec.config.flag("source.wipe", false))
        .map_err(|fault| fault.of_pool(&spec.name, "making the volume group of"))?;
    Ok((Ground::Device, group))
}

/// Takes a group that is there: it must be empty and no other pool's, unless the configuration says to use it again.
fn adopt(spec: &PoolSpec, name: &str) -> Result<(Ground, Group), StorageError> {
    let refuse = |why| Err(StorageError::Source { pool: spec.name.clone(), source_path: name.into(), why });
    block::refuse_size(spec)?;
    if spec.config.get("lvm.vg_name").is_some_and(|named| named != name) {
        return refuse("lvm.vg_name names another volume group");
    }
    let group = Group { name: name.to_owned(), device: None };
    let found = match group.look() {
        Err(Fault::Missing) => return refuse("there is no such volume group; name a block device and the server makes one"),
        other => other.map_err(|fault| fault.of_pool(&spec.name, "looking at the source of"))?,
    };
    if !spec.config.flag("lvm.vg.force_reuse", false) {
        if Group::is_marked(&found) {
            return refuse("another storage pool stands on this volume group; lvm.vg.force_reuse=true uses it all the same");
        }
        if found.volumes > 0 {
            return refuse("the volume group is not empty; lvm.vg.force_reuse=true uses it all the same");
        }
    }
    group.mark(true).map_err(|fault| fault.of_pool(&spec.name, "marking the source of"))?;
    Ok((Ground::Group, group))
}

fn group_name(spec: &PoolSpec) -> Result<String, StorageError> {
    let name = spec.config.get("lvm.vg_name").unwrap_or(spec.name.as_str());
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let why = format!("{name:?} cannot name a volume group: it may hold letters, digits and + _ . -");
    Err(StorageError::Value { pool: spec.name.clone(), key: "lvm.vg_name", why })
}
