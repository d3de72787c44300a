//! What is said of single volumes: learned when the pool is opened, and told before a volume is made or changed.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use coffer_base::Bytes;
use coffer_model::Config;

use super::{Fault, MountedPool, Name, Store};
use crate::block::FileSystem;
use crate::config;
use crate::error::StorageError;
use crate::pool::VolumeKeys;
use crate::volume::Volume;

/// What is said of each volume of a pool, as far as it is the driver's.
pub(super) type Keys = BTreeMap<Volume, Config>;

impl<S: Store> VolumeKeys for MountedPool<S> {
    fn check(&self, keys: &Config) -> Result<(), StorageError> {
        let mut keys = keys.clone();
        if let (None, Some(size)) = (keys.get("size"), self.config().get("volume.size")) {
            keys.set("size", size);
        }
        self.store.check(&keys).map_err(|fault| fault.of_pool(&self.place.pool, "looking at"))
    }

    fn learn(&self, volume: &Volume, keys: &Config) {
        let driver = self.store.driver();
        // The size is not among them: what is copied or restored may need more.
        let own = |key: &str| key != "size" && config::is_of_driver(driver, key);
        self.keys_mut().insert(volume.origin(), keys.iter().filter(|(key, _)| own(key)).collect());
    }

    fn configure(&self, volume: &Volume, keys: &Config) -> Result<(), StorageError> {
        if !self.has(volume) {
            self.learn(volume, keys);
            return Ok(());
        }
        let old = self.keys().get(&volume.origin()).cloned();
        let before = self.completed(volume, &Config::default());
        self.learn(volume, keys);
        let after = self.completed(volume, &Config::default());
        let limit = self.info(volume)?.limit.map(Bytes);
        self.store.configure(&Name::of(volume), &before, &after, limit).map_err(|fault| {
            match old {
                Some(old) => self.learn(volume, &old),
                None => self.forget(volume),
            }
            self.fault(volume, "changing")(fault)
        })
    }

    fn forget(&self, volume: &Volume) {
        self.keys_mut().remove(&volume.origin());
    }
}

impl<S: Store> MountedPool<S> {
    /// What holds of a volume: what is said now, behind that what was said of the volume, and behind that what the pool says of all.
    pub(super) fn completed(&self, volume: &Volume, now: &Config) -> Config {
        let mut completed: Config = self.config().under("volume.").collect();
        if let Some(own) = self.keys().get(&volume.origin()) {
            completed.merge(own);
        }
        completed.merge(now);
        completed
    }

    /// Lets what was said of a volume hold of another name.
    pub(super) fn rename_keys(&self, from: &Volume, to: &Volume) {
        let mut keys = self.keys_mut();
        if from.snapshot_name().is_none()
            && let Some(own) = keys.remove(from)
        {
            keys.insert(to.clone(), own);
        }
    }

    /// Says whether two volumes are to have different file systems, so that one cannot begin as a clone of the other.
    pub(super) fn differ(&self, one: &Volume, other: &Volume) -> bool {
        let keys = self.keys();
        let kind = |volume: &Volume| FileSystem::named(keys.get(&volume.origin())?.get("block.filesystem")?);
        matches!((kind(one), kind(other)), (Some(one), Some(other)) if one != other)
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys_mut(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// Says that a key of a pool or volume cannot be had.
    pub(crate) fn key(key: &'static str, why: impl Into<String>) -> Self {
        Self::Key(key, why.into())
    }
}
