//! Who works on which volume: one at a time.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::VolumePlace;
use crate::error::EngineError;

/// How long a use case waits for another one on the same volume.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is being done with which volume, in words.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    busy: Mutex<HashMap<VolumePlace, &'static str>>,
    freed: Condvar,
}

/// The right to work on some volumes; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    places: Vec<VolumePlace>,
}

impl Claims {
    /// Waits until nobody else works on a volume, and claims it.
    ///
    /// # Errors
    /// [`EngineError::VolumeBusy`] if somebody else is still working on it after 30 seconds.
    pub(crate) fn claim(&self, place: &VolumePlace, doing: &'static str) -> Result<Claim<'_>, EngineError> {
        self.claim_all(std::slice::from_ref(place), doing)
    }

    /// Claims several volumes in one step, so that two who want the same ones cannot wait for each other.
    ///
    /// # Errors
    /// Those of [`Claims::claim`].
    pub(crate) fn claim_all(&self, places: &[VolumePlace], doing: &'static str) -> Result<Claim<'_>, EngineError> {
        let mut busy = self.lock();
        let until = Instant::now() + PATIENCE;
        while let Some((place, other)) = places.iter().find_map(|place| busy.get(place).map(|other| (place, *other))) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(EngineError::VolumeBusy { volume: place.key.name.clone(), pool: place.pool.clone(), doing: other });
            }
            busy = self.freed.wait_timeout(busy, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        busy.extend(places.iter().map(|place| (place.clone(), doing)));
        Ok(Claim { claims: self, places: places.to_vec() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VolumePlace, &'static str>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut busy = self.claims.lock();
        for place in &self.places {
            busy.remove(place);
        }
        self.claims.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> VolumePlace {
        VolumePlace { pool: "pool".parse().unwrap(), key: text.parse().unwrap() }
    }

    #[test]
    fn only_one_works_on_a_volume() {
        let claims = Claims::default();
        let (one, two) = (place("default_one"), place("default_two"));
        let claim = claims.claim_all(&[one.clone(), two.clone()], "moving").unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| claims.claim_all(&[two.clone(), one.clone()], "moving").map(drop).is_ok());
            let other = claims.claim(&place("dev_one"), "deleting").map(drop);
            assert!(other.is_ok(), "another project's volume is another volume");
            drop(claim);
            assert!(waiting.join().unwrap());
        });
        assert!(claims.lock().is_empty());
    }
}
