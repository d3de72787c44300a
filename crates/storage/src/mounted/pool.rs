//! The pool as everybody sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use coffer_base::{Bytes, Progress};
use coffer_model::{Config, Fingerprint, PoolName, SnapshotName, VolumeKind};

use super::{Fault, Limits, MountedPool, Name, Store};
use crate::block::{self, FileSystem};
use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::pool::{Enforcement, Fill, Found, Images, Pool, Resources, Snapshots, Streams, Usage, VolumeKeys};
use crate::replica::{Foreign, Replicas};
use crate::volume::Volume;

impl<S: Store> Pool for MountedPool<S> {
    fn name(&self) -> &PoolName {
        &self.place.pool
    }

    fn driver(&self) -> DriverKind {
        self.store.driver()
    }

    fn path(&self) -> &Path {
        &self.place.path
    }

    fn resources(&self) -> Result<Resources, StorageError> {
        self.store.resources().map_err(|fault| fault.of_pool(&self.place.pool, "measuring"))
    }

    fn answers(&self) -> bool {
        self.store.answers()
    }

    fn update(&self, config: &Config) -> Result<(), StorageError> {
        self.store.update(config).map_err(|fault| fault.of_pool(&self.place.pool, "changing"))?;
        config.clone_into(&mut self.config.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn unmount(&self) -> Result<(), StorageError> {
        self.unmount_all()?;
        self.store.close().map_err(|fault| fault.of_pool(&self.place.pool, "closing"))
    }

    fn delete(&self) -> Result<(), StorageError> {
        let mut left = Pool::list(self)?.into_iter().filter_map(|found| match found {
            Found::Volume(volume) if volume.kind() == VolumeKind::Image => None,
            Found::Volume(volume) => Some(volume.to_string()),
            Found::Foreign(path) => Some(path.display().to_string()),
        });
        if let Some(first) = left.next() {
            return Err(StorageError::NotEmpty { pool: self.place.pool.clone(), first, more: left.count() });
        }
        let images: Vec<Volume> = self.index().keys().filter_map(Name::volume).collect();
        for image in images {
            self.remove_volume(&image)?;
        }
        self.clear()?;
        self.unmount_all()?;
        self.store.destroy().map_err(|fault| fault.of_pool(&self.place.pool, "removing"))?;
        self.place.remove_layout()?;
        self.place.remove_directory()
    }

    fn list(&self) -> Result<Vec<Found>, StorageError> {
        self.scan()?;
        // A directory that could not be a volume's is nobody's mount point.
        let mut found: Vec<Found> = self.place.list()?.into_iter().filter(|found| matches!(found, Found::Foreign(_))).collect();
        found.extend(self.index().keys().filter_map(Name::volume).map(Found::Volume));
        found.sort_by_key(|found| match found {
            Found::Foreign(path) => (0, path.to_string_lossy().into_owned(), None),
            Found::Volume(volume) => (1, format!("{:?}/{}", volume.kind(), volume.directory()), volume.snapshot_name().cloned()),
        });
        Ok(found)
    }

    fn clear_temporaries(&self) -> Result<usize, StorageError> {
        self.clear()
    }

    fn create(&self, volume: &Volume, fill: Fill<'_>) -> Result<(), StorageError> {
        self.create_filled(volume, &Config::default(), fill)
    }

    fn create_sized(&self, volume: &Volume, size: Option<Bytes>, fill: Fill<'_>) -> Result<(), StorageError> {
        let mut config = Config::default();
        if let Some(size) = size {
            config.set("size", size.0.to_string());
        }
        self.create_filled(volume, &config, fill)
    }

    fn copy(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], progress: &Progress) -> Result<(), StorageError> {
        self.copy_all(from, to, snapshots, progress)
    }

    fn rename(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        self.rename_volume(from, to)
    }

    fn delete_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        self.remove_volume(volume)
    }

    fn exists(&self, volume: &Volume) -> Result<bool, StorageError> {
        Ok(self.has(volume))
    }

    fn mount(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.mount_volume(volume)
    }

    fn unmount_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        match self.unmount(volume) {
            // Somebody else still works on it: it goes with the last one, or when the pool is closed.
            Err(StorageError::VolumeBusy { .. }) => Ok(()),
            other => other,
        }
    }

    fn usage(&self, volume: &Volume) -> Result<Option<Usage>, StorageError> {
        self.measure(volume).map(Some)
    }

    fn set_quota(&self, volume: &Volume, size: Option<Bytes>) -> Result<Enforcement, StorageError> {
        let now = self.info(volume)?.limit;
        let size = size.or_else(|| self.completed(volume, &Config::default()).parse("size")).or(match self.store.limits() {
            Limits::Devices(_) => Some(block::DEFAULT_SIZE),
            Limits::Quotas(_) => None,
        });
        self.resize_thing(volume, &Name::of(volume), now, size.map(|size| size.0))?;
        Ok(Enforcement::Enforced)
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn keys(&self) -> Option<&dyn VolumeKeys> {
        Some(self)
    }

    fn images(&self) -> Option<&dyn Images> {
        self.store.clones().map(|_| self as &dyn Images)
    }

    fn streams(&self) -> Option<&dyn Streams> {
        self.store.replication().map(|_| self as &dyn Streams)
    }

    fn replicas(&self) -> Option<&dyn Replicas> {
        self.store.replication().map(|_| self as &dyn Replicas)
    }

    fn foreign(&self) -> Option<&dyn Foreign> {
        self.store.replication().map(|_| self as &dyn Foreign)
    }
}

impl<S: Store> MountedPool<S> {
    /// Changes the size of a volume, or of something that is to become it, with the file system on it.
    pub(super) fn resize_thing(&self, volume: &Volume, name: &Name, now: Option<u64>, size: Option<u64>) -> Result<(), StorageError> {
        if now == size {
            return Ok(());
        }
        let fault = |fault| self.fault(volume, "changing the size of")(fault);
        let devices = match self.store.limits() {
            Limits::Devices(devices) => devices,
            Limits::Quotas(quotas) => {
                quotas.limit(name, size.map(Bytes), &self.completed(volume, &Config::default())).map_err(fault)?;
                if let Some(info) = self.index().get_mut(name) {
                    info.limit = size;
                }
                return Ok(());
            }
        };
        let (Some(now), Some(size)) = (now, size) else { return Ok(()) };
        let reached = if size < now {
            if *name == Name::of(volume) {
                self.withdraw(volume)?;
            }
            let shrunk = self.device(name, volume).and_then(|(device, kind)| {
                block::shrink(kind, &device, Bytes(size))?;
                devices.resize(name, Bytes(size))
            });
            let detached = self.store.detach(name);
            let reached = shrunk.map_err(fault)?;
            detached.map_err(fault)?;
            reached
        } else {
            let reached = devices.resize(name, Bytes(size)).map_err(fault)?;
            // Growing is done by the mounted file system.
            let grow = |path: &Path, top: BorrowedFd<'_>| {
                let (device, kind) = self.device(name, volume).map_err(fault)?;
                block::grow(kind, &device, path, top).map_err(fault)
            };
            if *name == Name::of(volume) {
                let top = self.mount_volume(volume)?;
                grow(&self.place.volume_path(volume), top.as_fd())?;
            } else {
                let scratch = self.place.scratch()?;
                let path = self.place.scratch_path(&scratch.name);
                self.at_scratch(name, &scratch, volume, &mut |top| grow(&path, top))?;
            }
            reached
        };
        if let Some(info) = self.index().get_mut(name) {
            info.limit = Some(reached);
        }
        Ok(())
    }

    /// The device of a volume, or of something that is to become it, which is attached, and the file system on it.
    fn device(&self, name: &Name, volume: &Volume) -> Result<(PathBuf, FileSystem), Fault> {
        let source = self.store.attach(name, &self.completed(volume, &Config::default()))?;
        let kind = FileSystem::named(source.file_system).ok_or_else(|| Fault::Refused("it is no device of its own".into()))?;
        Ok((source.device, kind))
    }
}

impl<S: Store> Snapshots for MountedPool<S> {
    fn snapshot(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.copy_one(&volume.origin(), &volume.snapshot(name), &Progress::default())
    }

    fn restore(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        self.restore_volume(volume, name)
    }

    fn list(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError> {
        Ok(self.snapshot_names(volume))
    }
}

impl<S: Store> Images for MountedPool<S> {
    fn ensure(&self, image: &Fingerprint, fill: Fill<'_>) -> Result<bool, StorageError> {
        self.unpacking.once(image, || {
            let volume = Volume::image(image);
            if self.has(&volume) { Ok(false) } else { self.create(&volume, fill).map(|()| true) }
        })
    }

    fn clone_image(&self, image: &Fingerprint, volume: &Volume) -> Result<(), StorageError> {
        self.copy_one(&Volume::image(image), volume, &Progress::default())
    }
}
