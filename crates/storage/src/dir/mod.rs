//! The `dir` driver: every volume is a plain directory; snapshots and copies are copies, shared where the file system can.

pub(crate) mod quota;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use coffer_base::{Bytes, Progress, Undo};
use coffer_model::{Config, PoolName, SnapshotName};
use rustix::fs::{FileType, Mode, OFlags};

use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::mounts;
use crate::place::{Place, Scratch};
use crate::pool::{Enforcement, Fill, Found, Images, Pool, PoolSpec, Resources, Snapshots, Usage};
use crate::tree;
use crate::volume::Volume;

/// A pool of plain directories.
pub(crate) struct DirPool {
    pub(crate) place: Place,
}

/// Makes a pool.
pub(crate) fn create(spec: &mut PoolSpec, warn: &(dyn Fn(String) + Sync)) -> Result<Box<dyn Pool>, StorageError> {
    Ok(Box::new(make(spec, warn, &|_| Ok(()))?))
}

/// Makes a pool in a directory; what `fit` refuses is taken back.
pub(crate) fn make(
    spec: &mut PoolSpec,
    warn: &(dyn Fn(String) + Sync),
    fit: &dyn Fn(&Place) -> Result<(), StorageError>,
) -> Result<DirPool, StorageError> {
    let place = place(spec);
    let source = spec.config.get("source").map(PathBuf::from);
    let outside = source.clone().filter(|_| place.mounted);
    let opened = outside.as_deref().map(|source| open_source(&place, &spec.state_dir, source)).transpose()?;
    let mut undo = Undo::new(warn);
    place.create_directory()?;
    undo.push("removing the pool's directory", || place.remove_directory());
    if let (Some(source), Some(opened)) = (&outside, &opened) {
        bind(&place, source, opened.as_fd())?;
        undo.push("unmounting the pool", || place.unmount());
    }
    undo.push("emptying the pool", || place.remove_layout());
    place.ensure_layout()?;
    fit(&place)?;
    if let Some(source) = &source {
        spec.config.set("volatile.initial_source", source.to_string_lossy());
    } else {
        spec.config.set("source", place.path.to_string_lossy());
    }
    undo.keep();
    Ok(DirPool { place })
}

/// Opens a pool that was made before.
pub(crate) fn open(spec: &PoolSpec) -> Result<Box<dyn Pool>, StorageError> {
    Ok(Box::new(find(spec)?))
}

/// Finds a pool that was made in a directory before.
pub(crate) fn find(spec: &PoolSpec) -> Result<DirPool, StorageError> {
    let place = place(spec);
    if place.mounted {
        let source = PathBuf::from(spec.config.get("source").unwrap_or_default());
        let opened = open_directory(&source).map_err(|cause| place.unavailable(format!("opening {}: {cause}", source.display())))?;
        // A host that was installed anew on old disks may have lost the mount point.
        std::fs::create_dir_all(&place.path).map_err(|cause| place.failed("making the directory of", cause))?;
        let top = place.top().map_err(|cause| place.failed("opening", cause))?;
        if !mounts::is_mount(top.as_fd()).map_err(|cause| place.failed("looking at", cause))? {
            bind(&place, &source, opened.as_fd())?;
        } else if !same(top.as_fd(), opened.as_fd()) {
            return Err(place.unavailable(format!("something else than {} is mounted at {}", source.display(), place.path.display())));
        }
    }
    if !place.is_laid_out()? {
        return Err(place.unavailable(format!("{} holds no storage pool", place.path.display())));
    }
    place.ensure_layout()?;
    Ok(DirPool { place })
}

impl DirPool {
    /// Makes something whole in the scratch directory; takes it back if `fill` fails.
    pub(crate) fn prepare(&self, volume: &Volume, fill: Fill<'_>) -> Result<Scratch, StorageError> {
        let scratch = self.place.scratch()?;
        let make = || -> std::io::Result<OwnedFd> {
            rustix::fs::mkdirat(&scratch.directory, scratch.name.as_str(), Mode::RWXU)?;
            let top = crate::place::open_directory(scratch.directory.as_fd(), &scratch.name)?;
            crate::place::begin_top(volume, top.as_fd())?;
            Ok(top)
        };
        let filled = make().map_err(|cause| self.place.volume_failed(volume, "creating", cause)).and_then(|directory| {
            fill(directory.as_fd()).map_err(|cause| self.place.fill_failed(volume, cause))?;
            let closed = crate::place::close_top(volume, directory.as_fd());
            closed.map_err(|cause| self.place.volume_failed(volume, "closing", cause))
        });
        if let Err(error) = filled {
            // What cannot be taken back now goes with the temporaries.
            let _ = self.discard(&scratch);
            return Err(error);
        }
        Ok(scratch)
    }

    fn duplicate(&self, from: &Volume, to: &Volume, progress: &Progress) -> Result<(), StorageError> {
        self.place.require_free(to)?;
        let source = self.place.open_volume(from)?;
        self.create(to, &mut |target| Ok(tree::copy(source.as_fd(), target, progress)?))
    }

    pub(crate) fn discard(&self, scratch: &Scratch) -> Result<(), tree::TreeError> {
        tree::remove(scratch.directory.as_fd(), scratch.name.as_ref())
    }

    pub(crate) fn reclaim(&self, volume: &Volume, scratch: &Scratch) -> Result<(), StorageError> {
        self.discard(scratch).map_err(|cause| StorageError::Reclaim { pool: self.place.pool.clone(), volume: volume.clone(), cause })
    }
}

impl Pool for DirPool {
    fn name(&self) -> &PoolName {
        &self.place.pool
    }

    fn driver(&self) -> DriverKind {
        DriverKind::Dir
    }

    fn path(&self) -> &Path {
        &self.place.path
    }

    fn resources(&self) -> Result<Resources, StorageError> {
        self.place.resources()
    }

    fn update(&self, _config: &Config) -> Result<(), StorageError> {
        // No key of this driver has an effect on what is mounted.
        Ok(())
    }

    fn unmount(&self) -> Result<(), StorageError> {
        if self.place.mounted { self.place.unmount() } else { Ok(()) }
    }

    fn delete(&self) -> Result<(), StorageError> {
        self.place.require_empty()?;
        self.place.remove_layout()?;
        self.unmount()?;
        self.place.remove_directory()
    }

    fn list(&self) -> Result<Vec<Found>, StorageError> {
        self.place.list()
    }

    fn clear_temporaries(&self) -> Result<usize, StorageError> {
        let (directory, names) = self.place.temporaries()?;
        for name in &names {
            let removed = tree::remove(directory.as_fd(), name);
            removed.map_err(|cause| StorageError::PoolTree { pool: self.place.pool.clone(), doing: "clearing temporaries of", cause })?;
        }
        Ok(names.len())
    }

    fn create(&self, volume: &Volume, fill: Fill<'_>) -> Result<(), StorageError> {
        self.place.require_free(volume)?;
        let scratch = self.prepare(volume, fill)?;
        self.place.publish(&scratch, volume).inspect_err(|_| {
            let _ = self.discard(&scratch);
            self.place.tidy_snapshots(volume);
        })
    }

    fn copy(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], progress: &Progress) -> Result<(), StorageError> {
        self.place.require_free(to)?;
        let mut made: Vec<Volume> = Vec::new();
        let pairs = snapshots.iter().map(|name| (from.snapshot(name), to.snapshot(name))).chain([(from.clone(), to.clone())]);
        for (from, to) in pairs {
            if let Err(error) = self.duplicate(&from, &to, progress) {
                for volume in &made {
                    // What cannot be taken back shows as a leftover.
                    let _ = self.delete_volume(volume);
                }
                return Err(error);
            }
            made.push(to);
        }
        Ok(())
    }

    fn rename(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        self.place.rename(from, to)
    }

    fn delete_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        self.place.require_no_snapshots(volume)?;
        self.place.require_unmounted(volume)?;
        let directory = self.place.open_volume(volume)?;
        let scratch = self.place.withdraw(volume)?;
        if volume.snapshot_name().is_some() {
            self.place.tidy_snapshots(volume);
        }
        let lifted = quota::release(directory.as_fd());
        drop(directory);
        self.reclaim(volume, &scratch)?;
        lifted.map_err(|cause| self.place.volume_failed(volume, "lifting the quota of", cause))
    }

    fn exists(&self, volume: &Volume) -> Result<bool, StorageError> {
        self.place.exists(volume)
    }

    fn mount(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.place.open_volume(volume)
    }

    fn unmount_volume(&self, _volume: &Volume) -> Result<(), StorageError> {
        // A directory is always there.
        Ok(())
    }

    fn usage(&self, volume: &Volume) -> Result<Option<Usage>, StorageError> {
        let directory = self.place.open_volume(volume)?;
        quota::usage(directory.as_fd()).map_err(|cause| self.place.volume_failed(volume, "measuring", cause))
    }

    fn set_quota(&self, volume: &Volume, size: Option<Bytes>) -> Result<Enforcement, StorageError> {
        let directory = self.place.open_volume(volume)?;
        quota::limit(directory.as_fd(), size).map_err(|cause| StorageError::Tree {
            pool: self.place.pool.clone(),
            volume: volume.clone(),
            doing: "setting the size of",
            cause,
        })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn images(&self) -> Option<&dyn Images> {
        None
    }
}

impl Snapshots for DirPool {
    fn at_once(&self) -> bool {
        // File by file.
        false
    }

    fn is_light(&self) -> bool {
        false
    }

    fn snapshot(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.duplicate(volume, &volume.snapshot(name), &Progress::default())
    }

    fn restore(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.place.require_unmounted(volume)?;
        let old = self.place.open_volume(volume)?;
        let source = self.place.open_volume(&volume.snapshot(name))?;
        let scratch = self.prepare(volume, &mut |target| {
            quota::inherit(old.as_fd(), target)?;
            Ok(tree::copy_over(source.as_fd(), target, old.as_fd(), &Progress::default())?)
        })?;
        if let Err(error) = self.place.exchange(&scratch, volume) {
            let _ = self.discard(&scratch);
            return Err(error);
        }
        self.reclaim(volume, &scratch)
    }

    fn list(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError> {
        self.place.snapshots(volume)
    }
}

fn place(spec: &PoolSpec) -> Place {
    let path = Place::path_of(&spec.state_dir, &spec.name);
    let mounted = spec.config.get("source").is_some_and(|source| Path::new(source) != path);
    Place { pool: spec.name.clone(), path, mounted }
}

/// Opens the directory that a new pool is to stand in, and sees to it that it is fit for that.
fn open_source(place: &Place, state_dir: &Path, source: &Path) -> Result<OwnedFd, StorageError> {
    let refuse = |why| Err(StorageError::Source { pool: place.pool.clone(), source_path: source.to_owned(), why });
    if source.starts_with(state_dir) {
        return refuse("it is inside the server's state directory; leave the source out to use that");
    }
    let Ok(directory) = open_directory(source) else {
        return refuse("it is no directory that can be opened; make it first");
    };
    let failed = |cause| place.failed("looking at the source of", cause);
    let stat = rustix::fs::fstat(&directory).map_err(|errno| failed(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory || stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
        return refuse("it can be changed by others than root; give it to root (chown root:root, chmod go-w)");
    }
    // What mkfs leaves behind does not count as content.
    let names = crate::place::names(directory.as_fd()).map_err(failed)?;
    if names.iter().any(|name| name != "lost+found") {
        return refuse("it is not empty");
    }
    Ok(directory)
}

fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn bind(place: &Place, source: &Path, opened: BorrowedFd<'_>) -> Result<(), StorageError> {
    let target = place.top().map_err(|cause| place.failed("opening", cause))?;
    mounts::bind(opened, target.as_fd()).map_err(|cause| StorageError::Mount {
        pool: place.pool.clone(),
        source_path: source.to_owned(),
        said: None,
        cause,
    })
}

fn same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    let identity = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    identity(a).is_some() && identity(a) == identity(b)
}
