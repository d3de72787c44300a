//! What a pool stands on: a file that the server makes, a block device, or a dataset of a ZFS pool that is there.

use std::path::{Path, PathBuf};

use coffer_base::{Bytes, Undo};
use rustix::fs::FileType;

use super::dataset::{self, Root};
use super::{LEAST_SIZE, is_dataset, is_zpool};
use crate::block::{self, LoopFile};
use crate::error::StorageError;
use crate::mounted::{Fault, Spelling};
use crate::place::Place;
use crate::pool::PoolSpec;

/// What the pool stands on.
#[derive(Debug)]
pub(super) enum Ground {
    /// A file that the server made.
    File(LoopFile),
    /// A device that was made a ZFS pool for this pool.
    Device,
    /// A dataset in a ZFS pool of somebody else.
    Dataset,
}

impl Ground {
    /// Gives back what the pool stands on, in which no volume is left.
    pub(super) fn give_back(&self, root: &Root) -> Result<(), Fault> {
        match self {
            Self::File(file) => {
                dataset::destroy_pool(root.zpool())?;
                Ok(file.remove()?)
            }
            Self::Device => dataset::destroy_pool(root.zpool()),
            Self::Dataset if root.mark()?.is_some_and(|mark| mark.starts_with(MADE)) => dataset::destroy(&root.0),
            Self::Dataset => {
                for folder in Spelling::kinds().chain([super::lineage::DELETED]) {
                    match dataset::destroy(&root.below(folder)) {
                        Err(Fault::Missing) => {}
                        other => other?,
                    }
                }
                dataset::unset(&root.0, dataset::MARK)
            }
        }
    }
}

/// What the mark of a dataset begins with that was made for its pool.
const MADE: &str = "made-for:";

/// Makes what the configuration asks for.
pub(super) fn make(spec: &PoolSpec, place: &Place, warn: &(dyn Fn(String) + Sync)) -> Result<(Ground, Root), StorageError> {
    match spec.config.get("source") {
        None => make_file(spec, place, warn),
        Some(source) if Path::new(source).is_absolute() => make_on_device(spec, Path::new(source)),
        Some(source) => adopt(spec, source),
    }
}

/// Finds what was made before, and brings it back if it was taken off the host.
pub(super) fn find(spec: &PoolSpec, place: &Place) -> Result<(Ground, Root), StorageError> {
    let source = PathBuf::from(spec.config.get("source").unwrap_or_default());
    // Whoever brings a pool back after its record was lost need not know what its ZFS pool is called.
    let own = (source == block::file_path(spec)).then_some(spec.name.as_str()).or(spec.config.get("source"));
    let root = Root(spec.config.get("zfs.pool_name").or(own).unwrap_or_default().to_owned());
    let initial = spec.config.get("volatile.initial_source").filter(|source| source.starts_with('/')).map(PathBuf::from);
    let (ground, at) = if source == block::file_path(spec) {
        if !source.exists() {
            return Err(place.unavailable(format!("its file {} is gone", source.display())));
        }
        (Ground::File(LoopFile::new(source.clone())), Some(source))
    } else if source.is_absolute() {
        return Err(place.unavailable(format!("its source {} is neither its file nor a dataset", source.display())));
    } else if initial.is_some() {
        (Ground::Device, initial.filter(|device| device.exists()))
    } else {
        (Ground::Dataset, None)
    };
    let unavailable = |fault: Fault| place.unavailable(format!("ZFS pool {}: {fault}", root.zpool()));
    if !root.exists().map_err(unavailable)? {
        if let Ground::Dataset = ground {
            return Err(place.unavailable(format!("there is no dataset {}; is its ZFS pool imported?", root.0)));
        }
        dataset::import_pool(root.zpool(), at.as_deref()).map_err(unavailable)?;
    }
    Ok((ground, root))
}

/// Lets the pool's file grow to a size.
pub(super) fn grow(file: &LoopFile, size: Bytes, root: &Root) -> Result<(), Fault> {
    if file.lengthen(size)? { dataset::expand_pool(root.zpool(), file.path()) } else { Ok(()) }
}

fn make_file(spec: &PoolSpec, place: &Place, warn: &(dyn Fn(String) + Sync)) -> Result<(Ground, Root), StorageError> {
    let root = new_zpool(spec)?;
    let failed = |cause| place.failed("making the file of", cause);
    let size = block::file_size(spec).map_err(failed)?;
    let path = block::file_path(spec);
    LoopFile::new(path.clone()).create(size).map_err(failed)?;
    let mut undo = Undo::new(warn);
    undo.push("removing the pool's file", || LoopFile::new(path.clone()).remove());
    dataset::create_pool(&root.0, &path, false).map_err(|fault| fault.of_pool(&spec.name, "making the ZFS pool of"))?;
    undo.keep();
    Ok((Ground::File(LoopFile::new(path)), root))
}

fn make_on_device(spec: &PoolSpec, device: &Path) -> Result<(Ground, Root), StorageError> {
    let refuse = |why| StorageError::Source { pool: spec.name.clone(), source_path: device.to_owned(), why };
    let root = new_zpool(spec)?;
    if !rustix::fs::stat(device).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice) {
        return Err(refuse(
            "it is no block device; name a dataset without a slash at its beginning, or leave it out and the server makes a file",
        ));
    }
    block::refuse_size(spec)?;
    block::require_fit(device, LEAST_SIZE).map_err(refuse)?;
    let wipe = spec.config.flag("source.wipe", false);
    dataset::create_pool(&root.0, device, wipe).map_err(|fault| fault.of_pool(&spec.name, "making the ZFS pool of"))?;
    Ok((Ground::Device, root))
}

/// Takes a dataset that is there, or makes one in a ZFS pool that is there: it must be empty and no other pool's.
fn adopt(spec: &PoolSpec, name: &str) -> Result<(Ground, Root), StorageError> {
    let refuse = |why| Err(StorageError::Source { pool: spec.name.clone(), source_path: name.into(), why });
    let failed = |fault: Fault| fault.of_pool(&spec.name, "looking at the source of");
    block::refuse_size(spec)?;
    if !is_dataset(name) {
        return refuse("it can name no dataset");
    }
    if spec.config.get("zfs.pool_name").is_some_and(|named| named != name) {
        return refuse("zfs.pool_name names another dataset");
    }
    let root = Root(name.to_owned());
    let made = if root.exists().map_err(failed)? {
        if root.mark().map_err(failed)?.is_some() {
            return refuse("another storage pool stands on this dataset");
        }
        if !root.contents().map_err(failed)?.is_empty() {
            return refuse("the dataset is not empty; name one in it that does not exist, and the server makes it");
        }
        false
    } else {
        if !name.contains('/') || !Root(root.zpool().to_owned()).exists().map_err(failed)? {
            return refuse("there is no such ZFS pool; name a block device and the server makes one");
        }
        match dataset::create(name, &["canmount=off".to_owned()]) {
            Err(Fault::Missing) => return refuse("the dataset that it would be in does not exist"),
            other => other.map_err(failed)?,
        }
        true
    };
    let mark = format!("{}={}{}", dataset::MARK, if made { MADE } else { "" }, spec.name);
    dataset::set(name, &[mark]).map_err(failed)?;
    Ok((Ground::Dataset, root))
}

/// The name of a ZFS pool that is to be made.
fn new_zpool(spec: &PoolSpec) -> Result<Root, StorageError> {
    let refuse = |why| Err(StorageError::Value { pool: spec.name.clone(), key: "zfs.pool_name", why });
    let name = spec.config.get("zfs.pool_name").unwrap_or(spec.name.as_str());
    if !is_zpool(name) {
        return refuse(format!("{name:?} cannot name a ZFS pool: it may hold letters, digits and - _ . and begins with a letter"));
    }
    let root = Root(name.to_owned());
    match root.exists() {
        Ok(false) => Ok(root),
        Ok(true) => refuse(format!("there is a ZFS pool {name} already: take another name, or name it as the source")),
        Err(fault) => Err(fault.of_pool(&spec.name, "looking for the ZFS pool of")),
    }
}
