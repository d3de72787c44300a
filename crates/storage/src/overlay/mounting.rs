//! Mounting roots at their places and aside, and taking them off.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};

use coffer_model::VolumeKind;
use coffer_sys::cred;
use coffer_sys::mount::{self, Change, Propagation};
use rustix::fs::{AtFlags, Mode};
use rustix::mount::UnmountFlags;

use super::layers::{self, Bare};
use super::{OverlayPool, root_path};
use crate::error::StorageError;
use crate::mounts;
use crate::place::{Place, Scratch, open_directory};
use crate::pool::View;
use crate::volume::Volume;

/// Something that is mounted in the scratch directory as long as this lives.
pub(super) struct Aside {
    scratch: Scratch,
    path: PathBuf,
}

impl Aside {
    pub(super) fn mount(place: &Place, mount: BorrowedFd<'_>) -> Result<Self, StorageError> {
        let scratch = place.scratch()?;
        let failed = |cause| place.failed("mounting something in", cause);
        rustix::fs::mkdirat(&scratch.directory, scratch.name.as_str(), Mode::RWXU).map_err(|errno| failed(errno.into()))?;
        let path = place.scratch_path(&scratch.name);
        let aside = Self { scratch, path };
        aside.top().and_then(|point| mount::attach(mount, point.as_fd())).map_err(failed)?;
        Ok(aside)
    }

    /// What is mounted.
    pub(super) fn top(&self) -> io::Result<OwnedFd> {
        open_directory(self.scratch.directory.as_fd(), &self.scratch.name)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Whoever still reads keeps it until the last descriptor is closed; what is left here goes with the temporaries.
        let _ = rustix::mount::unmount(&self.path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH);
        let _ = rustix::fs::unlinkat(&self.scratch.directory, &self.scratch.name, AtFlags::REMOVEDIR);
    }
}

impl OverlayPool {
    /// The pool as it is below all that is mounted in it.
    pub(super) fn bare(&self) -> Result<Bare, StorageError> {
        let top = self.place().open()?;
        mount::copy(top.as_fd(), false).map(Bare).map_err(|cause| self.place().failed("looking into", cause))
    }

    /// The same with ids mapped, mounted where overlayfs takes layers from: before Linux 6.15 it takes none from nowhere.
    fn ground(&self, ids: Option<BorrowedFd<'_>>) -> Result<Aside, StorageError> {
        let Bare(top) = self.bare()?;
        // A copy that shared its mounts with the pool would get each of them a second time.
        let change = Change { propagation: Some(Propagation::Private), idmap: ids, ..Change::default() };
        match mount::change(top.as_fd(), change) {
            Err(error) if ids.is_some() && error.kind() == io::ErrorKind::InvalidInput => Err(StorageError::PoolRefused {
                pool: self.place().pool.clone(),
                doing: "mapping ids in",
                why: "its file system cannot: it needs ext4, xfs, btrfs, tmpfs or another one that has idmapped mounts".into(),
            }),
            Err(cause) => Err(self.place().failed("mapping ids in", cause)),
            Ok(()) => Aside::mount(self.place(), top.as_fd()),
        }
    }

    /// Mounts all that a volume holds as one tree that can only be read; nothing if its root lies in no layers.
    pub(super) fn whole(&self, volume: &Volume) -> Result<Option<OwnedFd>, StorageError> {
        let failed = |cause| self.place().missing_or(volume, "mounting", cause);
        let ground = self.ground(None)?;
        let bare = Bare(ground.top().map_err(failed)?);
        let plain = bare.volume(volume).map_err(failed)?;
        let Some(state) = layers::state(plain.as_fd()).map_err(failed)? else { return Ok(None) };
        let mut stack = bare.open(&layers::read(state.as_fd()).map_err(failed)?).map_err(failed)?;
        stack.push(plain);
        let stack: Vec<_> = stack.iter().map(AsFd::as_fd).collect();
        layers::merge(&stack, None).map(Some).map_err(failed)
    }

    /// A volume as one tree to read, aside of its place.
    pub(super) fn view(&self, volume: &Volume) -> Result<View, StorageError> {
        let Some(whole) = self.whole(volume)? else { return Ok(View::of(self.place().open_volume(volume)?)) };
        let aside = Aside::mount(self.place(), whole.as_fd())?;
        let top = aside.top().map_err(|cause| self.place().volume_failed(volume, "opening", cause))?;
        Ok(View::with(top, aside))
    }

    /// Mounts a volume at its place unless it is, for the server's own use.
    pub(super) fn mount_for_us(&self, volume: &Volume) -> Result<OwnedFd, StorageError> {
        let _held = self.mounting();
        let failed = |cause| self.place().volume_failed(volume, "mounting", cause);
        let top = self.place().open_volume(volume)?;
        if self.point(volume, &top).map_err(failed)?.is_none_or(|point| mounts::is_mount(point.as_fd()).unwrap_or(false)) {
            return Ok(top);
        }
        if is_writable(volume) {
            if self.mount_root(volume, None)? {
                self.at_hand().insert(volume.clone());
            }
            return Ok(top);
        }
        let Some(whole) = self.whole(volume)? else { return Ok(top) };
        mount::attach(whole.as_fd(), top.as_fd()).map_err(failed)?;
        // What was opened before lies below.
        self.place().open_volume(volume)
    }

    /// Mounts an instance's root for an instance that is about to run, with ids mapped, and opens it.
    pub(super) fn mount_to_run(&self, volume: &Volume, ids: Option<BorrowedFd<'_>>) -> Result<OwnedFd, StorageError> {
        let _held = self.mounting();
        let failed = |cause| self.place().volume_failed(volume, "mounting", cause);
        self.unmount_own(volume)?;
        if !self.mount_root(volume, ids)? {
            let why = "it holds no root file system".into();
            return Err(StorageError::VolumeRefused { pool: self.place().pool.clone(), volume: volume.clone(), doing: "mounting", why });
        }
        let top = self.place().open_volume(volume)?;
        open_directory(top.as_fd(), layers::ROOT).map_err(failed)
    }

    /// Mounts the merged root over its directory; false if it lies in no layers.
    fn mount_root(&self, volume: &Volume, ids: Option<BorrowedFd<'_>>) -> Result<bool, StorageError> {
        let failed = |cause| self.place().missing_or(volume, "mounting", cause);
        let ground = self.ground(ids)?;
        let bare = Bare(ground.top().map_err(failed)?);
        let merge = || -> io::Result<Option<OwnedFd>> {
            let Some(state) = layers::state(bare.volume(volume)?.as_fd())? else { return Ok(None) };
            let (changes, below) = layers::read(state.as_fd())?.split()?;
            let (below, (top, work)) = (bare.open(&below)?, bare.open_changes(changes)?);
            let below: Vec<_> = below.iter().map(AsFd::as_fd).collect();
            layers::merge(&below, Some((top.as_fd(), work.as_fd()))).map(Some)
        };
        // What overlayfs makes for itself belongs to whoever mounts it, which must be somebody whom the map knows.
        let owner = rustix::fs::fstat(&bare.0).map_err(|errno| failed(errno.into()))?;
        let merged = if ids.is_some() { cred::as_owner(owner.st_uid, owner.st_gid, merge) } else { merge() };
        let Some(merged) = merged.map_err(failed)? else { return Ok(false) };
        // A part of a mount can be taken only where the mount is attached, before Linux 6.15.
        let aside = Aside::mount(self.place(), merged.as_fd())?;
        let attach = || -> io::Result<()> {
            let root = mount::copy(open_directory(aside.top()?.as_fd(), layers::ROOT)?.as_fd(), false)?;
            let top = self.place().open_volume(volume).map_err(io::Error::other)?;
            mount::attach(root.as_fd(), open_directory(top.as_fd(), layers::ROOT)?.as_fd())
        };
        attach().map_err(failed)?;
        Ok(true)
    }

    /// Refuses a volume in which something else is mounted than its own root, and takes that off.
    pub(super) fn release(&self, volume: &Volume) -> Result<(), StorageError> {
        let _held = self.mounting();
        let own = self.own_point(volume);
        let found = mounts::below(&self.place().volume_path(volume));
        let found = found.map_err(|cause| self.place().volume_failed(volume, "looking for mounts in", cause))?;
        if let Some((mount, _)) = found.into_iter().find(|(mount, _)| *mount != own) {
            return Err(StorageError::MountedInside { pool: self.place().pool.clone(), volume: volume.clone(), mount });
        }
        self.unmount_own(volume)
    }

    /// Takes a volume's own mount off; one that is not mounted is fine.
    pub(super) fn take_off(&self, volume: &Volume) -> Result<(), StorageError> {
        let _held = self.mounting();
        self.unmount_own(volume)
    }

    fn unmount_own(&self, volume: &Volume) -> Result<(), StorageError> {
        let failed = |cause| self.place().volume_failed(volume, "unmounting", cause);
        let top = self.place().open_volume(volume)?;
        let Some(point) = self.point(volume, &top).map_err(failed)? else { return Ok(()) };
        if !mounts::is_mount(point.as_fd()).map_err(failed)? {
            return Ok(());
        }
        drop((top, point));
        match mounts::unmount(&self.own_point(volume)) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let why = "some program has a file of it open".into();
                Err(StorageError::VolumeBusy { pool: self.place().pool.clone(), volume: volume.clone(), why })
            }
            Err(cause) => Err(failed(cause)),
            Ok(()) => {
                self.at_hand().remove(volume);
                Ok(())
            }
        }
    }

    /// Sees to it that nobody changes an instance's root through a mount; false if somebody may.
    ///
    /// Only what this server mounted for itself is taken off: behind any other mount there may be one of an instance that
    /// runs, which would go on.
    pub(super) fn rests(&self, volume: &Volume) -> Result<bool, StorageError> {
        let _held = self.mounting();
        let failed = |cause| self.place().volume_failed(volume, "looking at", cause);
        let top = self.place().open_volume(volume)?;
        let Some(point) = self.point(volume, &top).map_err(failed)? else { return Ok(true) };
        if !mounts::is_mount(point.as_fd()).map_err(failed)? {
            return Ok(true);
        }
        if !self.at_hand().contains(volume) {
            return Ok(false);
        }
        drop((top, point));
        match self.unmount_own(volume) {
            Ok(()) => Ok(true),
            Err(StorageError::VolumeBusy { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes everything off that is mounted in the pool for the server alone.
    pub(super) fn unmount_all(&self) -> Result<(), StorageError> {
        let mut points: Vec<PathBuf> = mounts::below(&self.place().path)
            .map_err(|cause| self.place().failed("unmounting", cause))?
            .into_iter()
            .map(|(point, _)| point)
            .filter(|point| *point != self.place().path)
            .collect();
        // The inner ones first.
        points.sort();
        for point in points.iter().rev() {
            mounts::unmount(point).map_err(|cause| self.place().failed("unmounting", cause))?;
        }
        self.at_hand().clear();
        Ok(())
    }

    /// Where a volume's mount is or would be; nothing if it has no root.
    fn point(&self, volume: &Volume, top: &OwnedFd) -> io::Result<Option<OwnedFd>> {
        if !is_writable(volume) {
            return top.try_clone().map(Some);
        }
        match open_directory(top.as_fd(), layers::ROOT) {
            Ok(point) => Ok(Some(point)),
            Err(error) if layers::is_no_directory(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn own_point(&self, volume: &Volume) -> PathBuf {
        let path = self.place().volume_path(volume);
        if is_writable(volume) { root_path(&path) } else { path }
    }

    fn mounting(&self) -> MutexGuard<'_, ()> {
        self.mounting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at_hand(&self) -> MutexGuard<'_, std::collections::HashSet<Volume>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether a volume takes changes: snapshots and images do not.
pub(super) fn is_writable(volume: &Volume) -> bool {
    volume.kind() == VolumeKind::Container && volume.snapshot_name().is_none()
}
