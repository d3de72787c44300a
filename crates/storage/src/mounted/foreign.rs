//! Making volumes of streams that somebody else wrote.

use std::fs::File;

use coffer_model::Config;

use super::{Arrival, Info, MountedPool, Name, Store};
use crate::error::StorageError;
use crate::place::{self, Scratch};
use crate::replica::{Foreign, Settle};
use crate::volume::Volume;

/// Something that was received and has no name yet.
struct Received {
    volume: Volume,
    scratch: Scratch,
    name: Name,
}

impl<S: Store> Foreign for MountedPool<S> {
    fn receive_foreign(&self, streams: Vec<(Volume, File)>, settle: Settle<'_>) -> Result<(), StorageError> {
        let mut received: Vec<Received> = Vec::new();
        let mut published: Vec<Volume> = Vec::new();
        let done = self.receive_each(streams, &mut received).and_then(|()| {
            self.settle_each(&received, settle)?;
            for Received { name, volume, .. } in &received {
                self.rename_thing(name, &Name::of(volume), &[], volume)?;
                published.push(volume.clone());
            }
            Ok(())
        });
        if done.is_err() {
            // The last one first, for it may be a change of those before. What cannot be taken back goes with the temporaries or
            // shows as a leftover.
            for volume in published.iter().rev() {
                let _ = self.remove_volume(volume);
            }
            received.iter().rev().for_each(|received| self.discard(&received.name));
        }
        done
    }
}

impl<S: Store> MountedPool<S> {
    fn receive_each(&self, streams: Vec<(Volume, File)>, received: &mut Vec<Received>) -> Result<(), StorageError> {
        for (volume, stream) in streams {
            self.require_free(&volume)?;
            let config = self.completed(&volume, &Config::default());
            let power = self.replication(&volume)?;
            let scratch = self.place.scratch()?;
            let name = Name::scratch(&scratch.name);
            let before: Vec<&Name> = received.iter().map(|received| &received.name).collect();
            let frozen = volume.snapshot_name().is_some();
            let arrival = Arrival { base: None, outside: Some(&before), frozen, config: &config };
            power.receive(&name, &arrival, stream).map_err(self.fault(&volume, "receiving"))?;
            self.index().insert(name.clone(), Info::default());
            received.push(Received { volume, scratch, name });
        }
        Ok(())
    }

    /// Makes of each what a volume may be; from then on those that are snapshots do not change any more.
    fn settle_each(&self, received: &[Received], settle: Settle<'_>) -> Result<(), StorageError> {
        for (number, Received { volume, scratch, name }) in received.iter().enumerate() {
            self.at_scratch(name, scratch, volume, &mut |top| {
                settle(number, top).map_err(|cause| self.place.fill_failed(volume, cause))?;
                place::close_top(volume, top).map_err(|cause| self.place.volume_failed(volume, "creating", cause))
            })?;
            self.limit_received(name, volume, &self.completed(volume, &Config::default()))?;
        }
        let Some(last) = received.last() else { return Ok(()) };
        let names: Vec<(&Name, bool)> =
            received.iter().map(|received| (&received.name, received.volume.snapshot_name().is_some())).collect();
        self.replication(&last.volume)?.settle(&names).map_err(self.fault(&last.volume, "receiving"))
    }
}
