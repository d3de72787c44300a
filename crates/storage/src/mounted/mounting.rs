//! Mounting volumes at their places, and taking them off again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::PoisonError;

use coffer_model::{Config, VolumeKind};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::{Fault, MountedPool, Name, Store};
use crate::error::StorageError;
use crate::mounts;
use crate::place::{self, Scratch, Spot, open_directory};
use crate::pool::{Fill, Usage};
use crate::volume::Volume;

impl<S: Store> MountedPool<S> {
    /// Mounts a volume unless it is, and opens its top.
    pub(super) fn mount_volume(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        self.info(volume)?;
        let _held = self.mounting.lock().unwrap_or_else(PoisonError::into_inner);
        let spot = self.place.spot(volume, true)?;
        let failed = |cause| self.place.volume_failed(volume, "mounting", cause);
        make_directory(&spot).map_err(failed)?;
        let point = open_directory(spot.directory.as_fd(), &spot.name).map_err(failed)?;
        if mounts::is_mount(point.as_fd()).map_err(failed)? {
            return Ok(point);
        }
        let keep = volume.snapshot_name().is_some() || volume.kind() == VolumeKind::Image;
        let mounted = self.mount_at(&Name::of(volume), volume, point.as_fd(), keep);
        drop(point);
        if let Err(fault) = mounted {
            self.remove_point(&spot, volume);
            return Err(self.fault(volume, "mounting")(fault));
        }
        // What was opened before is the directory below the mount.
        open_directory(spot.directory.as_fd(), &spot.name).map_err(failed)
    }

    /// Takes a volume's mount away, which must not be in use; one that is not mounted is fine.
    pub(super) fn unmount(&self, volume: &Volume) -> Result<(), StorageError> {
        let _held = self.mounting.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |cause| self.place.volume_failed(volume, "unmounting", cause);
        let spot = match self.place.spot(volume, false) {
            Err(StorageError::NoVolume { .. }) => return Ok(()),
            other => other?,
        };
        let point = match open_directory(spot.directory.as_fd(), &spot.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        if mounts::is_mount(point.as_fd()).map_err(failed)? {
            let used = used(point.as_fd()).map_err(failed)?;
            drop(point);
            match mounts::unmount(&self.place.volume_path(volume)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    return Err(self.fault(volume, "unmounting")(Fault::Busy("some program has a file of it open".into())));
                }
                Err(error) => return Err(failed(error)),
            }
            if let Some(info) = self.index().get_mut(&Name::of(volume)) {
                info.used = Some(used);
            }
        }
        self.remove_point(&spot, volume);
        self.store.detach(&Name::of(volume)).map_err(self.fault(volume, "detaching"))
    }

    /// Refuses a volume inside which something is mounted, and takes its own mount away.
    pub(super) fn withdraw(&self, volume: &Volume) -> Result<(), StorageError> {
        self.require_nothing_inside(volume)?;
        self.unmount(volume)
    }

    /// Refuses a volume inside which something is mounted.
    pub(super) fn require_nothing_inside(&self, volume: &Volume) -> Result<(), StorageError> {
        let path = self.place.volume_path(volume);
        let found = mounts::below(&path).map_err(|cause| self.place.volume_failed(volume, "looking for mounts in", cause))?;
        match found.into_iter().find(|(mount, _)| *mount != path) {
            Some((mount, _)) => Err(StorageError::MountedInside { pool: self.place.pool.clone(), volume: volume.clone(), mount }),
            None => Ok(()),
        }
    }

    /// Fills something new.
    pub(super) fn fill(&self, name: &Name, scratch: &Scratch, volume: &Volume, fill: Fill<'_>) -> Result<u64, StorageError> {
        let failed = |cause| self.place.volume_failed(volume, "creating", cause);
        self.at_scratch(name, scratch, volume, &mut |top| {
            // What the file system's maker left in it.
            let _ = rustix::fs::unlinkat(top, "lost+found", AtFlags::REMOVEDIR);
            place::begin_top(volume, top).map_err(failed)?;
            fill(top).map_err(|cause| self.place.fill_failed(volume, cause))?;
            place::close_top(volume, top).map_err(failed)?;
            used(top).map_err(failed)
        })
    }

    /// Works on something that is mounted at a scratch place while that lasts.
    pub(super) fn at_scratch<T>(
        &self,
        name: &Name,
        scratch: &Scratch,
        volume: &Volume,
        work: &mut dyn FnMut(BorrowedFd<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let failed = |cause| self.place.volume_failed(volume, "creating", cause);
        let spot =
            Spot { directory: rustix::io::dup(&scratch.directory).map_err(|errno| failed(errno.into()))?, name: scratch.name.clone() };
        make_directory(&spot).map_err(failed)?;
        let point = open_directory(spot.directory.as_fd(), &spot.name).map_err(failed)?;
        let mounted = self.mount_at(name, volume, point.as_fd(), false);
        drop(point);
        let done = mounted.map_err(self.fault(volume, "mounting")).and_then(|()| {
            let top = open_directory(spot.directory.as_fd(), &spot.name).map_err(failed)?;
            work(top.as_fd())
        });
        let left =
            self.leave_scratch(&spot).map_err(failed).and_then(|()| self.store.detach(name).map_err(self.fault(volume, "detaching")));
        let done = done?;
        left?;
        Ok(done)
    }

    /// Takes the mount at a scratch place away, and the place.
    pub(super) fn leave_scratch(&self, spot: &Spot) -> io::Result<()> {
        let path = self.place.scratch_path(&spot.name);
        if mounts::below(&path)?.iter().any(|(point, _)| *point == path) {
            mounts::unmount(&path)?;
        }
        Ok(rustix::fs::unlinkat(&spot.directory, &spot.name, AtFlags::REMOVEDIR)?)
    }

    /// Has a volume's file system write down what it still holds in memory, if it is mounted.
    pub(super) fn write_out(&self, volume: &Volume) -> Result<(), StorageError> {
        let Some(top) = self.mounted_top(volume) else { return Ok(()) };
        rustix::fs::syncfs(&top).map_err(|errno| self.place.volume_failed(volume, "writing out", errno.into()))
    }

    /// The top of a volume that is mounted.
    fn mounted_top(&self, volume: &Volume) -> Option<OwnedFd> {
        let spot = self.place.spot(volume, false).ok()?;
        let point = open_directory(spot.directory.as_fd(), &spot.name).ok()?;
        mounts::is_mount(point.as_fd()).ok()?.then_some(point)
    }

    /// How much a volume holds: asked of its mount, remembered from the last one, or looked up by a short one.
    pub(super) fn measure(&self, volume: &Volume) -> Result<Usage, StorageError> {
        let info = self.info(volume)?;
        let now = self.mounted_top(volume).and_then(|top| used(top.as_fd()).ok());
        let used = match now.or(info.used) {
            Some(used) => used,
            None => {
                let top = self.mount_volume(volume)?;
                let used = used(top.as_fd()).map_err(|cause| self.place.volume_failed(volume, "measuring", cause))?;
                drop(top);
                self.unmount(volume)?;
                used
            }
        };
        Ok(Usage { used, exclusive: None, limit: info.limit })
    }

    /// Takes everything of the pool that is mounted off the host's file tree.
    pub(super) fn unmount_all(&self) -> Result<(), StorageError> {
        let mut points: Vec<PathBuf> = mounts::below(&self.place.path)
            .map_err(|cause| self.place.failed("unmounting", cause))?
            .into_iter()
            .map(|(point, _)| point)
            .collect();
        // The inner ones first.
        points.sort();
        for point in points.iter().rev() {
            mounts::unmount(point).map_err(|cause| self.place.failed("unmounting", cause))?;
        }
        let names: Vec<Name> = self.index().keys().cloned().collect();
        for name in names {
            self.store.detach(&name).map_err(|fault| fault.of_pool(&self.place.pool, "detaching a volume of"))?;
        }
        Ok(())
    }

    /// Mounts a volume, or what is to become it, as is said of the volume.
    fn mount_at(&self, name: &Name, volume: &Volume, point: BorrowedFd<'_>, read_only: bool) -> Result<(), Fault> {
        let source = self.store.attach(name, &self.completed(volume, &Config::default()))?;
        let attributes = if read_only { source.attributes | MountAttrFlags::MOUNT_ATTR_RDONLY } else { source.attributes };
        mounts::mount_device(source.file_system, &source.device, &source.options, attributes, point)
            .map_err(|(cause, said)| Fault::Mount(source.device, cause, said))
    }

    /// Removes an empty mount point, and the directory of a volume's snapshots with the last one.
    fn remove_point(&self, spot: &Spot, volume: &Volume) {
        // Something is mounted there again, or it is gone: both are fine.
        let _ = rustix::fs::unlinkat(&spot.directory, &spot.name, AtFlags::REMOVEDIR);
        if volume.snapshot_name().is_some() {
            self.place.tidy_snapshots(volume);
        }
    }
}

fn make_directory(spot: &Spot) -> io::Result<()> {
    match rustix::fs::mkdirat(&spot.directory, &spot.name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The bytes in use of a mounted file system.
fn used(top: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(top)?;
    Ok(stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize)
}
