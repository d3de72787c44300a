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
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What somebody is doing with a volume alone.
    busy: HashMap<VolumePlace, &'static str>,
    /// What some are doing with volumes that must stay what and where they are meanwhile.
    pinned: HashMap<VolumePlace, Vec<&'static str>>,
}

/// The right to work on some volumes; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    places: Vec<VolumePlace>,
}

/// The right to read a volume for as long as that takes; given back when dropped.
#[derive(Debug)]
pub(crate) struct Pin<'a> {
    claims: &'a Claims,
    place: VolumePlace,
    doing: &'static str,
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
        let free = |state: &State| places.iter().find_map(|place| Some((place, state.other(place)?)));
        let mut state = self.wait(free)?;
        state.busy.extend(places.iter().map(|place| (place.clone(), doing)));
        drop(state);
        Ok(Claim { claims: self, places: places.to_vec() })
    }

    /// Claims a volume for something that those who read it need not wait for, nor it for them: attaching, for instance.
    ///
    /// # Errors
    /// Those of [`Claims::claim`].
    pub(crate) fn claim_beside_readers(&self, place: &VolumePlace, doing: &'static str) -> Result<Claim<'_>, EngineError> {
        let mut state = self.wait(|state| Some((place, *state.busy.get(place)?)))?;
        state.busy.insert(place.clone(), doing);
        drop(state);
        Ok(Claim { claims: self, places: vec![place.clone()] })
    }

    /// Waits until nobody works on a volume, and keeps it from being changed into something else, moved or deleted.
    ///
    /// # Errors
    /// Those of [`Claims::claim`].
    pub(crate) fn pin(&self, place: &VolumePlace, doing: &'static str) -> Result<Pin<'_>, EngineError> {
        let mut state = self.wait(|state| Some((place, *state.busy.get(place)?)))?;
        state.pinned.entry(place.clone()).or_default().push(doing);
        drop(state);
        Ok(Pin { claims: self, place: place.clone(), doing })
    }

    /// Waits until nobody is in the way any more: `other` says who is, and where.
    fn wait<'p>(&self, other: impl Fn(&State) -> Option<(&'p VolumePlace, &'static str)>) -> Result<MutexGuard<'_, State>, EngineError> {
        let mut state = self.lock();
        let until = Instant::now() + PATIENCE;
        while let Some((place, doing)) = other(&state) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(EngineError::VolumeBusy { volume: place.key.name.clone(), pool: place.pool.clone(), doing });
            }
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What somebody else is doing with a volume.
    fn other(&self, place: &VolumePlace) -> Option<&'static str> {
        self.busy.get(place).or_else(|| self.pinned.get(place)?.first()).copied()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.claims.lock();
        for place in &self.places {
            state.busy.remove(place);
        }
        self.claims.freed.notify_all();
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut state = self.claims.lock();
        if let Some(doing) = state.pinned.get_mut(&self.place) {
            if let Some(at) = doing.iter().position(|doing| *doing == self.doing) {
                doing.swap_remove(at);
            }
            if doing.is_empty() {
                state.pinned.remove(&self.place);
            }
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
        assert!(claims.lock().busy.is_empty());
    }

    #[test]
    fn a_volume_that_is_read_can_be_attached_and_read_again_but_not_deleted() {
        let claims = Claims::default();
        let one = place("default_one");
        let (pin, again) = (claims.pin(&one, "backing up").unwrap(), claims.pin(&one, "backing up").unwrap());
        drop(claims.claim_beside_readers(&one, "attaching").unwrap());
        std::thread::scope(|scope| {
            let (ask, asked) = std::sync::mpsc::channel();
            let (one, claims) = (&one, &claims);
            let deleting = scope.spawn(move || {
                ask.send(()).unwrap();
                claims.claim(one, "deleting").map(drop).is_ok()
            });
            asked.recv().unwrap();
            drop(pin);
            assert_eq!(claims.lock().other(one), Some("backing up"), "one is left");
            drop(again);
            assert!(deleting.join().unwrap());
        });
        assert!(claims.lock().pinned.is_empty() && claims.lock().busy.is_empty());
    }
}
