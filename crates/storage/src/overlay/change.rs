//! Making, copying, renaming and removing volumes.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLockReadGuard};

use coffer_base::Progress;
use coffer_model::{SnapshotName, VolumeKind};

use super::OverlayPool;
use super::layers::{self, Stack};
use super::mounting::is_writable;
use crate::dir::quota;
use crate::error::StorageError;
use crate::place::Scratch;
use crate::pool::{Fill, Pool};
use crate::tree;
use crate::volume::Volume;

/// Something in a new volume would not be there once it lies in layers.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is a device node with the numbers 0:0, by which overlayfs marks what was deleted: take a pool of another driver, or keep the layers of a nested Docker or Podman on a volume",
    .0.display()
)]
struct Whiteout(PathBuf);

impl OverlayPool {
    pub(super) fn create_filled(&self, volume: &Volume, fill: Fill<'_>) -> Result<(), StorageError> {
        self.place().require_free(volume)?;
        let scratch = self.dir.prepare(volume, &mut |target| {
            fill(target)?;
            match tree::find_whiteout(target)? {
                Some(path) => Err(Whiteout(path).into()),
                None => Ok(()),
            }
        })?;
        let _shared = self.shared();
        let layered = self.layer_root(volume, &scratch);
        let layered = layered.map_err(|cause| self.place().volume_failed(volume, "making the layers of", cause));
        self.give_name(&scratch, volume, layered)
    }

    pub(super) fn copy_all(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], progress: &Progress) -> Result<(), StorageError> {
        self.place().require_free(to)?;
        let mut made: Vec<Volume> = Vec::new();
        let pairs = snapshots.iter().map(|name| (from.snapshot(name), to.snapshot(name))).chain([(from.clone(), to.clone())]);
        for (from, to) in pairs {
            if let Err(error) = self.copy_one(&from, &to, progress) {
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

    /// Makes a volume or snapshot that holds what another one holds.
    pub(super) fn copy_one(&self, from: &Volume, to: &Volume, progress: &Progress) -> Result<(), StorageError> {
        self.place().require_free(to)?;
        let stack = self.freeze(from, progress)?;
        let source = self.bare()?.volume(from).map_err(|cause| self.place().missing_or(from, "opening", cause))?;
        let _shared = self.shared();
        let writable = is_writable(to);
        let scratch = self.dir.prepare(to, &mut |target| self.copy_plain(source.as_fd(), target, stack.as_ref(), writable))?;
        let whole = stack.map_or(Ok(()), |stack| self.require_layers(from, &stack));
        self.give_name(&scratch, to, whole)
    }

    pub(super) fn rename_volume(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        if from.snapshot_name().is_none() {
            for snapshot in self.place().snapshots(from)? {
                self.release(&from.snapshot(&snapshot))?;
            }
        }
        self.release(from)?;
        self.place().rename(from, to)
    }

    pub(super) fn remove_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        self.place().require_no_snapshots(volume)?;
        self.release(volume)?;
        let failed = |cause| self.place().volume_failed(volume, "reading the layers of", cause);
        let directory = self.place().open_volume(volume)?;
        let stack = layers::of(directory.as_fd()).map_err(failed)?;
        let scratch = self.place().withdraw(volume)?;
        if volume.snapshot_name().is_some() {
            self.place().tidy_snapshots(volume);
        }
        let lifted = quota::release(directory.as_fd());
        drop(directory);
        self.dir.reclaim(volume, &scratch)?;
        self.sweep(volume, &stack)?;
        lifted.map_err(|cause| self.place().volume_failed(volume, "lifting the quota of", cause))
    }

    /// Gives a new volume its name if all went well until now, or takes it back.
    pub(super) fn give_name(&self, scratch: &Scratch, volume: &Volume, whole: Result<(), StorageError>) -> Result<(), StorageError> {
        whole.and_then(|()| self.place().publish(scratch, volume)).inspect_err(|_| {
            // Its layers go with the temporaries if not with the next volume that stands on them.
            let _ = self.dir.discard(scratch);
            if volume.snapshot_name().is_some() {
                self.place().tidy_snapshots(volume);
            }
        })
    }

    /// While this is held no layer goes that a list names.
    pub(super) fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that no layer went between reading a list and writing it anew.
    pub(super) fn require_layers(&self, from: &Volume, stack: &Stack) -> Result<(), StorageError> {
        let there = layers::Bare(self.place().open()?).open(stack);
        there.map(drop).map_err(|cause| self.place().volume_failed(from, "opening the layers of", cause))
    }

    /// Says whether a volume lies in layers at all, by what it is.
    pub(super) fn is_plain(volume: &Volume) -> bool {
        match volume.kind() {
            VolumeKind::Custom => true,
            VolumeKind::Container | VolumeKind::Image => false,
        }
    }
}
