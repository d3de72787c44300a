//! Making, copying, renaming and removing volumes.

use std::os::fd::AsFd;

use coffer_base::{Bytes, Progress};
use coffer_model::{Config, SnapshotName, VolumeKind};

use super::{Clones, Limits, MountedPool, Name, Store};
use crate::error::StorageError;
use crate::place::Scratch;
use crate::pool::{Fill, VolumeKeys};
use crate::tree;
use crate::volume::Volume;

impl<S: Store> MountedPool<S> {
    /// Makes a volume under a scratch name, fills it and gives it its own.
    pub(super) fn create_filled(&self, volume: &Volume, config: &Config, fill: Fill<'_>) -> Result<(), StorageError> {
        self.require_free(volume)?;
        let scratch = self.place.scratch()?;
        let name = self.prepare(volume, &scratch, config, fill)?;
        self.publish(&name, volume)
    }

    /// Makes a filled thing under a scratch name; takes it back if `fill` fails.
    pub(super) fn prepare(&self, volume: &Volume, scratch: &Scratch, config: &Config, fill: Fill<'_>) -> Result<Name, StorageError> {
        let name = Name::scratch(&scratch.name);
        let info = self.store.create(&name, &self.completed(volume, config)).map_err(self.fault(volume, "creating"))?;
        self.index().insert(name.clone(), info);
        match self.fill(&name, scratch, volume, fill) {
            Ok(used) => {
                if let Some(info) = self.index().get_mut(&name) {
                    info.used = Some(used);
                }
                Ok(name)
            }
            Err(error) => {
                self.discard(&name);
                Err(error)
            }
        }
    }

    /// Gives a finished thing its name.
    pub(super) fn publish(&self, scratch: &Name, volume: &Volume) -> Result<(), StorageError> {
        self.rename_thing(scratch, &Name::of(volume), &[], volume).inspect_err(|_| self.discard(scratch))
    }

    pub(super) fn copy_all(&self, from: &Volume, to: &Volume, snapshots: &[SnapshotName], progress: &Progress) -> Result<(), StorageError> {
        self.require_free(to)?;
        let pairs = snapshots.iter().map(|name| (from.snapshot(name), to.snapshot(name))).chain([(from.clone(), to.clone())]);
        let mut made: Vec<Volume> = Vec::new();
        for (from, to) in pairs {
            if let Err(error) = self.copy_one(&from, &to, progress) {
                for volume in &made {
                    // What cannot be taken back shows as a leftover.
                    let _ = self.remove_volume(volume);
                }
                return Err(error);
            }
            made.push(to);
        }
        Ok(())
    }

    pub(super) fn copy_one(&self, from: &Volume, to: &Volume, progress: &Progress) -> Result<(), StorageError> {
        self.info(from)?;
        self.require_free(to)?;
        // Snapshots, and volumes that begin as an image, share their data whatever is said about copies.
        let apart = from.origin() != to.origin() && from.kind() != VolumeKind::Image && !self.store.copies_share(&self.config());
        let apart = apart || self.differ(from, to);
        match self.store.clones().filter(|_| !apart) {
            Some(clones) => self.clone_one(clones, from, to),
            None => {
                let source = self.mount_volume(from)?;
                // As large as what it is a copy of, else it might not fit.
                let mut config = Config::default();
                if let Some(limit) = self.info(from)?.limit {
                    config.set("size", limit.to_string());
                }
                let copied = self.create_filled(to, &config, &mut |target| Ok(tree::copy(source.as_fd(), target, progress)?));
                drop(source);
                self.unmount_unless_used(from);
                copied
            }
        }
    }

    fn clone_one(&self, clones: &dyn Clones, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        let mut info = self.info(from)?;
        // Not every file system is told by its device to write down what it holds before a copy is made.
        self.write_out(from)?;
        let config = self.completed(to, &Config::default());
        clones.clone_thing(&Name::of(from), &Name::of(to), &config).map_err(self.fault(to, "creating"))?;
        if let Limits::Quotas(quotas) = self.store.limits() {
            // A limit is no part of what is copied.
            let size = if to.snapshot_name().is_none() { config.parse::<Bytes>("size") } else { None };
            info.limit = size.map(|size| size.0);
            if size.is_some() {
                let limited = quotas.limit(&Name::of(to), size, &config).map_err(self.fault(to, "limiting the size of"));
                limited.inspect_err(|_| self.discard(&Name::of(to)))?;
            }
        }
        self.index().insert(Name::of(to), info);
        Ok(())
    }

    pub(super) fn rename_volume(&self, from: &Volume, to: &Volume) -> Result<(), StorageError> {
        self.info(from)?;
        self.require_free(to)?;
        let snapshots = if from.snapshot_name().is_some() { Vec::new() } else { self.snapshot_names(from) };
        for snapshot in &snapshots {
            self.withdraw(&from.snapshot(snapshot))?;
        }
        self.withdraw(from)?;
        self.rename_thing(&Name::of(from), &Name::of(to), &snapshots, from)?;
        self.rename_keys(from, to);
        Ok(())
    }

    pub(super) fn remove_volume(&self, volume: &Volume) -> Result<(), StorageError> {
        self.info(volume)?;
        if volume.snapshot_name().is_none()
            && let Some(snapshot) = self.snapshot_names(volume).first()
        {
            let snapshot = snapshot.to_string();
            return Err(StorageError::HasSnapshots { pool: self.place.pool.clone(), volume: volume.clone(), snapshot });
        }
        self.withdraw(volume)?;
        self.store.remove(&Name::of(volume)).map_err(self.fault(volume, "removing"))?;
        self.index().remove(&Name::of(volume));
        if volume.snapshot_name().is_none() {
            self.forget(volume);
        }
        self.place.tidy_snapshots(volume);
        Ok(())
    }

    /// The names of a volume's snapshots, sorted.
    pub(super) fn snapshot_names(&self, volume: &Volume) -> Vec<SnapshotName> {
        let base = Name::of(&volume.origin()).base;
        let index = self.index();
        index.keys().filter(|name| name.base == base).filter_map(|name| name.snapshot.clone()).collect()
    }

    /// Removes a thing with a scratch name. What cannot be removed now goes with the temporaries.
    pub(super) fn discard(&self, scratch: &Name) {
        if self.store.remove(scratch).is_ok() {
            self.index().remove(scratch);
        }
    }

    pub(super) fn rename_thing(&self, from: &Name, to: &Name, snapshots: &[SnapshotName], volume: &Volume) -> Result<(), StorageError> {
        self.store.rename(from, to, snapshots).map_err(self.fault(volume, "renaming"))?;
        let mut index = self.index();
        let pairs = snapshots.iter().map(|snapshot| (from.with_snapshot(snapshot), to.with_snapshot(snapshot)));
        for (from, to) in pairs.chain([(from.clone(), to.clone())]) {
            if let Some(info) = index.remove(&from) {
                index.insert(to, info);
            }
        }
        Ok(())
    }

    /// Takes a mount away that was only made for one step; an instance's that runs is in use and stays.
    pub(super) fn unmount_unless_used(&self, volume: &Volume) {
        if volume.kind() != VolumeKind::Container || volume.snapshot_name().is_some() {
            let _ = self.unmount(volume);
        }
    }
}
