//! Pools that are not there: said so, tried again when they are used and when something may have brought them back.

use std::sync::Weak;

use coffer_base::chain;
use coffer_model::{Pool, PoolName, WarningKind};
use coffer_storage::PoolSpec;
use coffer_storage::arrival::Arrivals;

use crate::error::EngineError;
use crate::{Engine, Inner};

impl Engine {
    /// Notes that a pool which was made once cannot be opened, and waits for it in the background.
    pub(super) fn miss_pool(&self, name: &PoolName, error: &EngineError) {
        self.warn(WarningKind::PoolUnavailable, &url(name), None, chain(error));
        let watching = {
            let mut missing = self.inner.pools.missing();
            missing.names.insert(name.clone());
            std::mem::replace(&mut missing.watched, true)
        };
        if watching {
            return;
        }
        let inner = std::sync::Arc::downgrade(&self.inner);
        let started = std::thread::Builder::new().name("missing-pools".into()).spawn(move || wait_for_pools(&inner));
        if let Err(error) = started {
            // They are still tried when they are used.
            tracing::warn!("watching for storage pools that are missing: {error}");
            self.inner.pools.missing().watched = false;
        }
    }

    /// Notes that a pool is there.
    pub(super) fn find_pool(&self, name: &PoolName) {
        if self.inner.pools.missing().names.remove(name) {
            tracing::info!(pool = %name, "it is there again");
        }
        self.well(WarningKind::PoolUnavailable, &url(name), None);
    }

    /// The pools that are missing.
    fn missing_pools(&self) -> Result<Vec<Pool>, EngineError> {
        let all = self.inner.store.read(coffer_store::pool::list)?;
        let names = self.inner.pools.missing().names.clone();
        Ok(all.into_iter().filter(|pool| names.contains(&pool.name)).collect())
    }
}

/// The URL of a pool.
pub(super) fn url(name: &PoolName) -> String {
    format!("/1.0/storage-pools/{name}")
}

/// Tries missing pools each time that something may have brought one back, until none is missing.
fn wait_for_pools(inner: &Weak<Inner>) {
    while let Some(arrivals) = look(inner) {
        if let Err(error) = arrivals.wait() {
            tracing::warn!("watching for storage pools that are missing: {error}");
            break;
        }
    }
    if let Some(inner) = inner.upgrade() {
        inner.pools.missing().watched = false;
    }
}

/// Tries the missing pools; answers what to wait for, if one still is.
fn look(inner: &Weak<Inner>) -> Option<Arrivals> {
    let engine = Engine { inner: inner.upgrade()? };
    if engine.shutting_down() {
        return None;
    }
    let pools = engine.missing_pools().inspect_err(|error| tracing::warn!("listing missing pools: {}", chain(error))).ok()?;
    let specs: Vec<PoolSpec> = pools.iter().filter_map(|pool| engine.spec_of(pool).ok()).collect();
    // Watched first, so that what comes between the look and the wait is not missed.
    let arrivals = Arrivals::watch(&specs).inspect_err(|error| tracing::warn!("watching for missing pools: {error}")).ok()?;
    let still = pools.iter().filter(|pool| engine.pool_driver(&pool.name).is_err()).count();
    (still > 0).then_some(arrivals)
}
