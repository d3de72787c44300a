//! Pools whose volumes are file systems of their own, each mounted at its place when it is used.
//!
//! What every such driver shares: places and mounts, what is made under a scratch name and published when it is whole, an
//! index in memory so that looking starts no program. What a volume is made of is the driver's [`Store`].

mod change;
mod foreign;
mod keys;
mod mounting;
mod name;
mod pool;
mod replica;
mod restore;
mod spelling;
mod store;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use coffer_model::Config;

pub(crate) use self::name::{Base, Name};
pub(crate) use self::spelling::Spelling;
pub(crate) use self::store::{Arrival, Clones, Departure, Devices, Fault, Info, Limits, Quotas, Replication, Source, Store};
use crate::error::StorageError;
use crate::place::Place;
use crate::unpacking::Unpacking;
use crate::volume::Volume;

/// A pool of such volumes.
pub(crate) struct MountedPool<S> {
    place: Place,
    store: S,
    /// What is in the store, as this server left it.
    index: Mutex<BTreeMap<Name, Info>>,
    /// Held while a volume is mounted or unmounted: whoever comes second finds it done.
    mounting: Mutex<()>,
    unpacking: Unpacking,
    config: RwLock<Config>,
    /// What is said of single volumes.
    keys: RwLock<keys::Keys>,
}

impl<S: Store> MountedPool<S> {
    /// Opens the pool over a store that is ready, and lays out its directories.
    pub(crate) fn open(place: Place, store: S, config: &Config) -> Result<Self, StorageError> {
        place.ensure_layout()?;
        let pool = Self {
            place,
            store,
            index: Mutex::default(),
            mounting: Mutex::default(),
            unpacking: Unpacking::default(),
            config: RwLock::new(config.clone()),
            keys: RwLock::default(),
        };
        pool.scan()?;
        Ok(pool)
    }

    /// What the volumes are made of.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// Reads anew what is in the store.
    fn scan(&self) -> Result<(), StorageError> {
        let found = self.store.scan().map_err(|fault| fault.of_pool(&self.place.pool, "listing"))?;
        let mut index = self.index();
        let known = std::mem::take(&mut *index);
        *index = found
            .into_iter()
            .map(|(name, info)| (name.clone(), Info { used: known.get(&name).and_then(|info| info.used), ..info }))
            .collect();
        Ok(())
    }

    fn index(&self) -> MutexGuard<'_, BTreeMap<Name, Info>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn info(&self, volume: &Volume) -> Result<Info, StorageError> {
        let found = self.index().get(&Name::of(volume)).copied();
        found.ok_or_else(|| StorageError::NoVolume { pool: self.place.pool.clone(), volume: volume.clone() })
    }

    fn has(&self, volume: &Volume) -> bool {
        self.index().contains_key(&Name::of(volume))
    }

    fn require_free(&self, volume: &Volume) -> Result<(), StorageError> {
        if self.has(volume) {
            return Err(StorageError::VolumeExists { pool: self.place.pool.clone(), volume: volume.clone() });
        }
        Ok(())
    }

    fn config(&self) -> Config {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fault<'a>(&'a self, volume: &'a Volume, doing: &'static str) -> impl Fn(Fault) -> StorageError + 'a {
        move |fault| fault.of_volume(&self.place.pool, volume, doing)
    }
}
