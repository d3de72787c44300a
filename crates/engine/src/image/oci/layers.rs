//! Layers on disk: each once, however many images have it; gone with the last of them.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coffer_model::Fingerprint;
use coffer_model::entity::ImageForm;
use coffer_sys::path::Root;
use rustix::fs::{Mode, OFlags};

use crate::Engine;
use crate::error::EngineError;

/// The directory of layers below the state directory.
pub(crate) const DIRECTORY: &str = "image-layers";

/// Layers that images on their way here count on.
#[derive(Default)]
pub(crate) struct Pins(Mutex<HashMap<Fingerprint, usize>>);

/// Keeps layers from being swept as long as it lives.
pub(super) struct Pinned<'e> {
    pins: &'e Pins,
    layers: Vec<Fingerprint>,
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, HashMap<Fingerprint, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pin(&self, layers: &[Fingerprint]) -> Pinned<'_> {
        let mut pins = self.lock();
        for layer in layers {
            *pins.entry(layer.clone()).or_default() += 1;
        }
        Pinned { pins: self, layers: layers.to_vec() }
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        let mut pins = self.pins.lock();
        for layer in &self.layers {
            if let Some(count) = pins.get_mut(layer) {
                *count -= 1;
            }
        }
        pins.retain(|_, count| *count > 0);
    }
}

impl Engine {
    /// The directory of layers.
    pub(super) fn layers_directory(&self) -> Result<OwnedFd, EngineError> {
        let path = self.inner.settings.dir.join(DIRECTORY);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(|cause| EngineError::system(format!("opening {}", path.display()), cause))
    }

    /// Removes the layers that no image has and none is about to have.
    pub(crate) fn sweep_layers(&self) -> Result<(), EngineError> {
        // Held to the end: who pins a layer afterwards looks whether it is there afterwards.
        let pins = self.inner.layer_pins.lock();
        let images = self.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
        let mut used: BTreeSet<Fingerprint> = pins.keys().cloned().collect();
        for image in images.iter().filter(|image| image.form == ImageForm::Layers) {
            match self.record_of(image) {
                Ok(record) => used.extend(record.layers),
                Err(error) => {
                    // Who knows what it has: nothing goes.
                    tracing::warn!("layers of images that are gone stay: {}", coffer_base::chain(&error));
                    return Ok(());
                }
            }
        }
        let failed = |cause| EngineError::system("removing layers that no image has", cause);
        let root = Root::from_fd(self.layers_directory()?);
        for entry in root.entries(".").map_err(failed)? {
            let kept = entry.name.to_str().and_then(|name| name.parse().ok()).is_some_and(|digest: Fingerprint| used.contains(&digest));
            if !kept {
                root.remove_file(&entry.name).map_err(failed)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_pinned_as_long_as_anybody_counts_on_it() {
        let (pins, layer): (Pins, Fingerprint) = (Pins::default(), "a".repeat(64).parse().unwrap());
        let first = pins.pin(std::slice::from_ref(&layer));
        let second = pins.pin(std::slice::from_ref(&layer));
        drop(first);
        assert!(pins.lock().contains_key(&layer));
        drop(second);
        assert!(pins.lock().is_empty());
    }
}
