//! The pool as everybody sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use coffer_base::{Bytes, Progress};
use coffer_model::{Config, Fingerprint, PoolName, SnapshotName};

use super::mounting::is_writable;
use super::{OverlayPool, layers};
use crate::dir::quota;
use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::pool::{Enforcement, Fill, Found, Images, Mapped, Pool, Resources, Snapshots, Usage, View};
use crate::tree;
use crate::volume::Volume;

impl Pool for OverlayPool {
    fn name(&self) -> &PoolName {
        &self.place().pool
    }

    fn driver(&self) -> DriverKind {
        DriverKind::Overlay
    }

    fn path(&self) -> &Path {
        &self.place().path
    }

    fn resources(&self) -> Result<Resources, StorageError> {
        self.place().resources()
    }

    fn update(&self, config: &Config) -> Result<(), StorageError> {
        self.dir.update(config)
    }

    fn unmount(&self) -> Result<(), StorageError> {
        self.unmount_all()?;
        self.dir.unmount()
    }

    fn delete(&self) -> Result<(), StorageError> {
        self.place().require_empty()?;
        self.unmount_all()?;
        for found in self.place().list()? {
            if let Found::Volume(image) = found {
                self.delete_volume(&image)?;
            }
        }
        self.clear()?;
        let top = self.place().open()?;
        tree::remove(top.as_fd(), layers::HOME.as_ref()).map_err(|cause| StorageError::PoolTree {
            pool: self.place().pool.clone(),
            doing: "emptying",
            cause,
        })?;
        drop(top);
        self.dir.delete()
    }

    fn list(&self) -> Result<Vec<Found>, StorageError> {
        self.place().list()
    }

    fn clear_temporaries(&self) -> Result<usize, StorageError> {
        self.clear()
    }

    fn create(&self, volume: &Volume, fill: Fill<'_>) -> Result<(), StorageError> {
        if Self::is_plain(volume) { self.dir.create(volume, fill) } else { self.create_filled(volume, fill) }
    }

    fn copy(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], progress: &Progress) -> Result<(), StorageError> {
        if Self::is_plain(from) { self.dir.copy(from, to, snapshots, progress) } else { self.copy_all(from, to, snapshots, progress) }
    }

    fn rename(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        if Self::is_plain(from) { self.dir.rename(from, to) } else { self.rename_volume(from, to) }
    }

    fn delete_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        if Self::is_plain(volume) { self.dir.delete_volume(volume) } else { self.remove_volume(volume) }
    }

    fn exists(&self, volume: &Volume) -> Result<bool, StorageError> {
        self.place().exists(volume)
    }

    fn mount(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        if Self::is_plain(volume) { self.dir.mount(volume) } else { self.mount_for_us(volume) }
    }

    fn directory(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.place().open_volume(volume)
    }

    fn read(&self, volume: &Volume) -> Result<View, StorageError> {
        if Self::is_plain(volume) { self.dir.read(volume) } else { self.view(volume) }
    }

    fn unmount_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        if Self::is_plain(volume) {
            return self.dir.unmount_volume(volume);
        }
        match self.take_off(volume) {
            // Somebody else still works on it: it goes with the next start, or when the pool is closed.
            Err(StorageError::VolumeBusy { .. }) => Ok(()),
            other => other,
        }
    }

    fn usage(&self, volume: &Volume) -> Result<Option<Usage>, StorageError> {
        let directory = self.below(volume)?;
        quota::usage(directory.as_fd()).map_err(|cause| self.place().volume_failed(volume, "measuring", cause))
    }

    fn set_quota(&self, volume: &Volume, size: Option<Bytes>) -> Result<Enforcement, StorageError> {
        let directory = self.below(volume)?;
        let limited = quota::limit(directory.as_fd(), size);
        let limited = limited.and_then(|limited| self.limit_changes(volume, directory.as_fd()).map(|()| limited));
        limited.map_err(|cause| StorageError::Tree {
            pool: self.place().pool.clone(),
            volume: volume.clone(),
            doing: "setting the size of",
            cause,
        })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }

    fn images(&self) -> Option<&dyn Images> {
        Some(self)
    }

    fn mapped(&self) -> Option<&dyn Mapped> {
        Some(self)
    }
}

impl OverlayPool {
    /// A volume's directory with the place of its changes, whatever is mounted over that.
    fn below(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.bare()?.volume(volume).map_err(|cause| self.place().missing_or(volume, "opening", cause))
    }
}

impl OverlayPool {
    /// Lets what an instance changes count for its volume.
    fn limit_changes(&self, volume: &Volume, directory: BorrowedFd<'_>) -> Result<(), tree::TreeError> {
        let here = |cause| tree::TreeError { path: Path::new(layers::ROOT).into(), cause };
        if !is_writable(volume) || Self::is_plain(volume) {
            return Ok(());
        }
        let Some((changes, _)) = layers::of(directory).map_err(here)?.split().ok() else { return Ok(()) };
        let home = self.bare().map_err(std::io::Error::other).and_then(|bare| bare.layers()).map_err(here)?;
        let layer = crate::place::open_directory(home.as_fd(), &changes.to_string()).map_err(here)?;
        quota::share(directory, layer.as_fd())
    }
}

impl Snapshots for OverlayPool {
    fn at_once(&self) -> bool {
        // What an instance that runs has changed is copied file by file.
        false
    }

    fn snapshot(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        if Self::is_plain(volume) {
            return self.dir.snapshot(volume, name);
        }
        self.copy_one(&volume.origin(), &volume.snapshot(name), &Progress::default())
    }

    fn restore(&self, volume: &Volume, name: &SnapshotName) -> Result<(), StorageError> {
        if Self::is_plain(volume) { self.dir.restore(volume, name) } else { self.restore_volume(volume, name) }
    }

    fn list(&self, volume: &Volume) -> Result<Vec<SnapshotName>, StorageError> {
        self.place().snapshots(volume)
    }
}

impl Images for OverlayPool {
    fn ensure(&self, image: &Fingerprint, fill: Fill<'_>) -> Result<bool, StorageError> {
        let volume = Volume::image(image);
        self.unpacking.once(
            image,
            || {
                if self.place().exists(&volume)? { Ok(false) } else { self.create_filled(&volume, fill).map(|()| true) }
            },
        )
    }

    fn clone_image(&self, image: &Fingerprint, volume: &Volume) -> Result<(), StorageError> {
        self.copy_one(&Volume::image(image), volume, &Progress::default())
    }
}

impl Mapped for OverlayPool {
    fn mount_root(&self, volume: &Volume, ids: Option<BorrowedFd<'_>>) -> Result<OwnedFd, StorageError> {
        self.mount_to_run(volume, ids)
    }
}
