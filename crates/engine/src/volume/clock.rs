//! What happens to snapshots of volumes by itself, at the moments that the clock of all snapshots finds.

use coffer_base::chain;
use coffer_model::{CustomVolume, Phase, Schedule, Time};
use coffer_store::volume_snapshot;
use jiff::tz::TimeZone;

use super::{SnapshotExpiry, VolumePlace};
use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// Deletes the snapshots of volumes that have expired by a moment; answers when the next one does.
    pub(crate) fn delete_expired_of_volumes(&self, now: Time, again: jiff::SignedDuration) -> Result<Option<Time>, EngineError> {
        let mut next: Option<Time> = None;
        for (place, name, at) in self.inner.store.read(volume_snapshot::expiring)? {
            if at > now {
                return Ok(next.into_iter().chain([at]).min());
            }
            let place = VolumePlace { pool: place.0, key: place.1 };
            match self.remove_volume_snapshot(&place, &name, None) {
                Ok(()) => tracing::info!(volume = %place.key.name, snapshot = %name, "deleted it: it has expired"),
                Err(error) => {
                    tracing::error!(volume = %place.key.name, snapshot = %name, "deleting it, as it has expired: {}", chain(&error));
                    next = now.checked_add(again).ok();
                }
            }
        }
        Ok(next)
    }

    /// Takes the snapshots of volumes that came due after a moment; answers when the next one does.
    pub(crate) fn take_scheduled_of_volumes(&self, since: Time, now: Time) -> Result<Option<Time>, EngineError> {
        let zone = TimeZone::system();
        let mut next: Option<Time> = None;
        let all = self.inner.store.read(|conn| coffer_store::volume::list(conn, None, None))?;
        for volume in all.iter().filter(|volume| volume.phase == Phase::Ready) {
            let Some(schedule) = volume.config.parse::<Schedule>("snapshots.schedule") else { continue };
            if schedule.next_after(since, &zone).is_some_and(|due| due <= now) {
                self.take_due_of_volume(volume);
            }
            next = next.into_iter().chain(schedule.next_after(now, &zone)).min();
        }
        Ok(next)
    }

    fn take_due_of_volume(&self, volume: &CustomVolume) {
        if let Err(error) = self.take_volume_snapshot(&VolumePlace::of(volume), None, SnapshotExpiry::Scheduled) {
            tracing::error!(volume = %volume.name, pool = %volume.pool, "taking its scheduled snapshot: {}", chain(&error));
        }
    }
}
