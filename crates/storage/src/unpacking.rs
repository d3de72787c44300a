//! One lock for each image that is being unpacked: who wants the same image waits for the first one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use coffer_model::Fingerprint;

/// The images that are being unpacked in a pool.
#[derive(Debug, Default)]
pub(crate) struct Unpacking(Mutex<HashMap<Fingerprint, Arc<Mutex<()>>>>);

impl Unpacking {
    /// Runs `unpack` while nobody else works on the same image.
    pub(crate) fn once<T>(&self, image: &Fingerprint, unpack: impl FnOnce() -> T) -> T {
        let lock = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(image.clone()).or_default().clone();
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let done = unpack();
        drop(guard);
        drop(lock);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, lock| Arc::strong_count(lock) > 1);
        done
    }
}
