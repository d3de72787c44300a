//! Sending volumes in the store's own format, to another pool or into an archive, and receiving them.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::BorrowedFd;

use coffer_base::Bytes;
use coffer_model::Config;

use super::{Arrival, Departure, Info, Limits, MountedPool, Name, Replication, Store};
use crate::error::StorageError;
use crate::pool::Streams;
use crate::replica::{Outgoing, Replicas, StateId};
use crate::volume::Volume;

/// A state that is held to be sent.
struct Held<'p, S: Store> {
    pool: &'p MountedPool<S>,
    power: &'p dyn Replication,
    volume: Volume,
    departure: Departure,
}

impl<S: Store> Outgoing for Held<'_, S> {
    fn base(&self) -> Option<StateId> {
        self.departure.base.as_ref().map(|(id, _)| *id)
    }

    fn size(&self) -> u64 {
        self.departure.size
    }

    fn write(&self, into: File) -> Result<(), StorageError> {
        self.power.write(&self.departure, true, into).map_err(self.pool.fault(&self.volume, "sending"))
    }
}

impl<S: Store> Drop for Held<'_, S> {
    fn drop(&mut self) {
        self.power.forget(&self.departure);
    }
}

impl<S: Store> Replicas for MountedPool<S> {
    fn states(&self) -> Result<BTreeSet<StateId>, StorageError> {
        let states = self.store.replication().map_or_else(|| Ok(BTreeSet::new()), Replication::states);
        states.map_err(|fault| fault.of_pool(&self.place.pool, "looking through"))
    }

    fn send<'p>(&'p self, volume: &Volume, known: &BTreeSet<StateId>) -> Result<Box<dyn Outgoing + 'p>, StorageError> {
        Ok(Box::new(self.hold(volume, known, false)?))
    }

    fn receive(&self, volume: &Volume, base: Option<StateId>, stream: File) -> Result<(), StorageError> {
        self.require_free(volume)?;
        let power = self.replication(volume)?;
        let frozen = volume.snapshot_name().is_some();
        let config = self.completed(volume, &Config::default());
        let scratch = self.place.scratch()?;
        let name = Name::scratch(&scratch.name);
        let fault = self.fault(volume, "receiving");
        power.receive(&name, &Arrival { base, outside: None, frozen, config: &config }, stream).map_err(&fault)?;
        self.index().insert(name.clone(), Info::default());
        self.limit_received(&name, volume, &config).inspect_err(|_| self.discard(&name))?;
        self.publish(&name, volume)
    }
}

impl<S: Store> Streams for MountedPool<S> {
    fn send(&self, snapshot: &Volume, base: Option<&Volume>, into: BorrowedFd<'_>) -> Result<(), StorageError> {
        let base = base.map(|base| self.replication(base)?.state(&Name::of(base)).map_err(self.fault(base, "sending"))).transpose()?;
        let held = self.hold(snapshot, &base.flatten().into_iter().collect(), true)?;
        let failed = |cause| self.place.volume_failed(snapshot, "sending", cause);
        let into = into.try_clone_to_owned().map_err(failed)?;
        held.power.write(&held.departure, false, into.into()).map_err(self.fault(snapshot, "sending"))
    }
}

impl<S: Store> MountedPool<S> {
    fn hold(&self, volume: &Volume, known: &BTreeSet<StateId>, own: bool) -> Result<Held<'_, S>, StorageError> {
        self.info(volume)?;
        let power = self.replication(volume)?;
        self.write_out(volume)?;
        let departure = power.depart(&Name::of(volume), known, own).map_err(self.fault(volume, "sending"))?;
        Ok(Held { pool: self, power, volume: volume.clone(), departure })
    }

    /// Gives what was received the limit that new volumes have: that is no part of what is sent.
    pub(super) fn limit_received(&self, name: &Name, volume: &Volume, config: &Config) -> Result<(), StorageError> {
        let size = if volume.snapshot_name().is_some() { None } else { config.parse::<Bytes>("size") };
        if let (Limits::Quotas(quotas), Some(size)) = (self.store.limits(), size) {
            quotas.limit(name, Some(size), config).map_err(self.fault(volume, "limiting the size of"))?;
            self.index().insert(name.clone(), Info { limit: Some(size.0), used: None });
        }
        Ok(())
    }

    pub(super) fn replication(&self, volume: &Volume) -> Result<&dyn Replication, StorageError> {
        self.store.replication().ok_or_else(|| StorageError::VolumeRefused {
            pool: self.place.pool.clone(),
            volume: volume.clone(),
            doing: "sending",
            why: format!("driver {} has no streams of its own", self.store.driver()),
        })
    }
}
