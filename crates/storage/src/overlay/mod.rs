//! The `overlay` driver: an image is unpacked once, and instances, snapshots and copies are thin layers over it, on any
//! file system that overlayfs can write to.
//!
//! The root of an instance lies in layers; all else of a volume are plain files, as with `dir`:
//!
//! ```text
//! POOL/containers/web/{metadata.yaml,templates,backup.yaml}   plain files
//! POOL/containers/web/rootfs/layers                           which layers its root lies in, the topmost first
//! POOL/layers/ID/top/rootfs                                   a layer
//! POOL/layers/ID/work                                         overlayfs' own, beside a layer that takes changes
//! ```
//!
//! The merged root is mounted over `rootfs` and hides the list while it is. Of an instance the topmost layer takes the
//! changes, and is its own; all others are never changed. Snapshots and images have no layer that takes changes. A layer
//! goes when no list names it. Users' volumes are plain directories.

mod change;
mod freeze;
mod layers;
mod mounting;
mod pool;
mod restore;
mod sweep;

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, RwLock};

use rustix::fs::Mode;

use crate::dir::{self, DirPool};
use crate::error::StorageError;
use crate::kind::has_module;
use crate::place::{Place, open_directory};
use crate::pool::{Pool, PoolSpec};
use crate::tree;
use crate::unpacking::Unpacking;
use crate::volume::Volume;

/// A pool of layers.
struct OverlayPool {
    /// Users' volumes, and the place of all others.
    dir: DirPool,
    unpacking: Unpacking,
    /// Held shared while a list of layers is read and the next one written, alone while unused layers are looked for.
    layers: RwLock<()>,
    /// Held while something is mounted or unmounted at a volume's place.
    mounting: Mutex<()>,
    /// Roots that are mounted at their places for the server alone. Any other that is mounted may be one that runs.
    at_hand: Mutex<HashSet<Volume>>,
}

/// Says whether the kernel has overlayfs, and can map the ids of its layers.
pub(crate) fn available() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.lines().any(|line| line.ends_with("\toverlay")));
    (known || has_module("fs/overlayfs/overlay")) && maps_layers()
}

/// The version of overlayfs is the kernel's.
pub(crate) fn version() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Layers can have mapped ids since Linux 5.19.
fn maps_layers() -> bool {
    let release = version();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 19)
}

/// Makes a pool.
pub(crate) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    if !available() {
        let why = "it needs Linux 5.19 with overlayfs (CONFIG_OVERLAY_FS)";
        return Err(StorageError::DriverMissing { driver: "overlay", why });
    }
    Ok(Box::new(OverlayPool::over(dir::make(spec, warn, &fit)?)))
}

/// Opens a pool that was made before.
pub(crate) fn open(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    let dir = dir::find(spec)?;
    ensure_layers(&dir.place)?;
    Ok(Box::new(OverlayPool::over(dir)))
}

impl OverlayPool {
    fn over(dir: DirPool) -> Self {
        let (unpacking, at_hand) = (Unpacking::default(), Mutex::default());
        Self { dir, unpacking, layers: RwLock::default(), mounting: Mutex::default(), at_hand }
    }

    fn place(&self) -> &Place {
        &self.dir.place
    }
}

/// Refuses a directory in which overlayfs cannot write, and makes the directory of the layers.
fn fit(place: &Place) -> Result<(), StorageError> {
    let scratch = place.scratch()?;
    let failed = |cause| place.failed("trying overlayfs in", cause);
    let tried = layers::try_out(&scratch);
    tree::remove(scratch.directory.as_fd(), scratch.name.as_ref()).map_err(|cause| StorageError::PoolTree {
        pool: place.pool.clone(),
        doing: "trying overlayfs in",
        cause,
    })?;
    match tried {
        Ok(()) => ensure_layers(place),
        Err(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => Err(failed(cause)),
        Err(cause) => Err(StorageError::PoolRefused {
            pool: place.pool.clone(),
            doing: "making",
            why: format!(
                "overlayfs cannot write to the file system at {} ({cause}): take ext4, xfs, btrfs or tmpfs, or the driver dir",
                place.path.display()
            ),
        }),
    }
}

fn ensure_layers(place: &Place) -> Result<(), StorageError> {
    let failed = |cause| place.failed("laying out", cause);
    let top = place.open()?;
    match rustix::fs::mkdirat(&top, layers::HOME, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno.into())),
    }
    let home = open_directory(top.as_fd(), layers::HOME).map_err(failed)?;
    tree::spread(home.as_fd());
    rustix::fs::fchmod(&home, Mode::RWXU).map_err(|errno| failed(errno.into()))
}

/// Where the root of a volume is mounted, for the table of mounts.
fn root_path(volume: &Path) -> std::path::PathBuf {
    volume.join(layers::ROOT)
}
