//! Giving a volume an earlier state back, and finishing or removing what a kill has left.

use std::os::fd::AsFd;

use coffer_base::Progress;
use coffer_model::{Config, SnapshotName};

use super::{Base, Limits, MountedPool, Name, Store};
use crate::error::StorageError;
use crate::place::Spot;
use crate::tree;
use crate::volume::Volume;

impl<S: Store> MountedPool<S> {
    pub(super) fn restore_volume(&self, volume: &Volume, snapshot: &SnapshotName) -> Result<(), StorageError> {
        let kept = volume.snapshot(snapshot);
        let limit = self.info(volume)?.limit;
        let mut info = self.info(&kept)?;
        self.withdraw(volume)?;
        let scratch = self.place.scratch()?;
        let next = Name::next(volume);
        if let Some(clones) = self.store.clones() {
            self.withdraw(&kept)?;
            clones
                .clone_thing(&Name::of(&kept), &next, &self.completed(volume, &Config::default()))
                .map_err(self.fault(volume, "restoring"))?;
            if let Limits::Quotas(_) = self.store.limits() {
                // Such a copy begins without one.
                info.limit = None;
            }
        } else {
            let source = self.mount_volume(&kept)?;
            let mut config = Config::default();
            if let Some(limit) = limit {
                config.set("size", limit.to_string());
            }
            let made = self.prepare(volume, &scratch, &config, &mut |target| Ok(tree::copy(source.as_fd(), target, &Progress::default())?));
            drop(source);
            self.unmount_unless_used(&kept);
            let made = made?;
            info = self.index().get(&made).copied().unwrap_or(info);
            self.rename_thing(&made, &next, &[], volume)?;
        }
        self.index().insert(next.clone(), info);
        let replaced = self.resize_thing(volume, &next, info.limit, limit).and_then(|()| {
            self.store.replace(&next, &Name::of(volume), &Name::scratch(&scratch.name)).map_err(self.fault(volume, "restoring"))
        });
        if let Err(error) = replaced {
            self.discard(&next);
            return Err(error);
        }
        let mut index = self.index();
        index.remove(&next);
        let limit = match self.store.limits() {
            Limits::Devices(_) => limit.or(info.limit),
            Limits::Quotas(_) => limit,
        };
        index.insert(Name::of(volume), Info { limit, used: info.used });
        Ok(())
    }

    /// Finishes or removes what was left half done, and says how many things that were.
    pub(super) fn clear(&self) -> Result<usize, StorageError> {
        let failed = |cause| self.place.failed("clearing temporaries of", cause);
        let (directory, places) = self.place.temporaries()?;
        for place in &places {
            let name = place.to_string_lossy().into_owned();
            let spot = Spot { directory: rustix::io::dup(&directory).map_err(|errno| failed(errno.into()))?, name };
            if self.leave_scratch(&spot).is_err() {
                let removed = tree::remove(directory.as_fd(), place);
                removed.map_err(|cause| StorageError::PoolTree {
                    pool: self.place.pool.clone(),
                    doing: "clearing temporaries of",
                    cause,
                })?;
            }
        }
        self.scan()?;
        let names: Vec<Name> = self.index().keys().filter(|name| !matches!(name.base, Base::Volume(_))).cloned().collect();
        for name in &names {
            match &name.base {
                Base::Next(volume) if !self.has(volume) => self.rename_thing(name, &Name::of(volume), &[], volume)?,
                Base::Next(_) | Base::Scratch(_) | Base::Volume(_) => {
                    self.store
                        .detach(name)
                        .and_then(|()| self.store.remove(name))
                        .map_err(|fault| fault.of_pool(&self.place.pool, "clearing temporaries of"))?;
                    self.index().remove(name);
                }
            }
        }
        let untold = self.store.tidy().map_err(|fault| fault.of_pool(&self.place.pool, "clearing temporaries of"))?;
        Ok(places.len() + names.len() + untold)
    }
}

use super::Info;
