//! The pools that are looked through: those that are known, and those that somebody names.

use std::sync::Arc;

use coffer_model::{Pool, VolumeKind};
use coffer_storage::{Found, Pool as Driver, PoolSpec, Volume};

use super::UnknownPool;
use crate::Engine;
use crate::error::EngineError;

/// A pool to be looked through. One that was opened for that alone is taken off the host's file tree again when this is dropped.
pub(super) struct Searched {
    pub(super) pool: Pool,
    /// Whether the store knows it.
    pub(super) known: bool,
    driver: Arc<dyn Driver>,
    /// Whether it was opened only to be looked through.
    borrowed: bool,
}

impl Searched {
    pub(super) fn driver(&self) -> &dyn Driver {
        self.driver.as_ref()
    }

    /// Keeps the pool open and hands out its driver.
    pub(super) fn keep(mut self) -> Arc<dyn Driver> {
        self.borrowed = false;
        self.driver.clone()
    }
}

impl Drop for Searched {
    fn drop(&mut self) {
        if self.borrowed
            && let Err(error) = self.driver.unmount()
        {
            tracing::warn!(pool = %self.pool.name, "unmounting it after looking through it: {}", coffer_base::chain(&error));
        }
    }
}

impl Engine {
    /// Opens the pools that the store knows and those that are named beside them.
    pub(super) fn search(&self, named: &[UnknownPool]) -> Result<Vec<Searched>, EngineError> {
        let mut searched = Vec::new();
        for pool in self.inner.store.read(coffer_store::pool::list)?.into_iter().filter(|pool| pool.made) {
            let driver = self.pool_driver(&pool.name)?;
            searched.push(Searched { pool, known: true, driver, borrowed: false });
        }
        for named in named {
            if searched.iter().any(|place| place.pool.name == named.name) {
                continue;
            }
            searched.push(self.open_unknown(named)?);
        }
        Ok(searched)
    }

    fn open_unknown(&self, named: &UnknownPool) -> Result<Searched, EngineError> {
        let mut config = named.config.clone();
        if config.get("source").is_none() {
            let own = coffer_storage::own_source(&self.inner.settings.dir, &named.name);
            config.set("source", own.to_string_lossy());
        }
        let spec = PoolSpec { name: named.name.clone(), driver: named.driver.parse()?, config, state_dir: self.inner.settings.dir.clone() };
        coffer_storage::config::check_pool(&spec.name, spec.driver, &spec.config)?;
        let mounted = coffer_storage::is_mounted(&spec);
        let driver: Arc<dyn Driver> = coffer_storage::open_pool(&spec)?.into();
        let pool = Pool {
            name: named.name.clone(),
            description: named.description.clone(),
            driver: spec.driver.to_string(),
            config: spec.config,
            made: true,
        };
        Ok(Searched { pool, known: false, driver, borrowed: !mounted })
    }

    /// The volumes of a pool that are in no record, images and snapshots apart: the latter come with theirs.
    pub(super) fn unknown_in(&self, place: &Searched) -> Result<Vec<Volume>, EngineError> {
        // The disk first: what appears between the two looks is in the store before it is on disk.
        let found = place.driver.list()?;
        let (instances, volumes) = self.inner.store.read(|conn| {
            Ok((coffer_store::instance::list(conn, None)?, coffer_store::volume::list(conn, Some(&place.pool.name), None)?))
        })?;
        let known = |volume: &Volume| {
            let instance = |instance: &coffer_model::Instance| {
                instance.pool == place.pool.name && Volume::instance(&instance.project, &instance.name) == *volume
            };
            instances.iter().any(instance) || volumes.iter().any(|own| Volume::custom(&own.project, &own.name) == *volume)
        };
        let wanted = |found| match found {
            Found::Volume(volume) if volume.snapshot_name().is_none() && volume.kind() != VolumeKind::Image => Some(volume),
            Found::Volume(_) | Found::Foreign(_) => None,
        };
        Ok(found.into_iter().filter_map(wanted).filter(|volume| !known(volume)).collect())
    }
}
