//! Images as pools have them: unpacked once for all instances, where the driver clones cheaply.

use coffer_base::chain;
use coffer_model::{Fingerprint, Image};
use coffer_storage::{Found, Pool, Volume};

use crate::Engine;
use crate::error::EngineError;
use crate::operations::OperationHandle;

impl Engine {
    /// Unpacks an image in every pool that has the one unpacked whose place it takes, so that the next instance need not
    /// wait for it. A pool where that fails has it unpacked with the next instance.
    pub(crate) fn renew_image_volumes(&self, old: &Fingerprint, new: &Image, operation: &OperationHandle) -> Result<(), EngineError> {
        for pool in self.all_pool_drivers()? {
            let Some(images) = pool.images().filter(|_| pool.exists(&Volume::image(old)).unwrap_or(false)) else { continue };
            let renewed = self.require_room_for(pool.as_ref(), new).and_then(|()| {
                let mut fill = self.filler(new, operation.progress())?;
                Ok(images.ensure(&new.fingerprint, &mut fill)?)
            });
            if let Err(error) = renewed {
                tracing::warn!(pool = %pool.name(), image = %new.fingerprint, "unpacking it beforehand: {}", chain(&error));
            }
        }
        Ok(())
    }

    /// Removes the volumes of images that the store does not know: a deletion was cut off, or the pool was not there then.
    pub(crate) fn sweep_image_volumes(&self, pool: &dyn Pool) -> Result<(), EngineError> {
        if pool.images().is_none() {
            return Ok(());
        }
        let known = self.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
        let known: Vec<Volume> = known.iter().map(|image| Volume::image(&image.fingerprint)).collect();
        for found in pool.list()? {
            let Found::Volume(volume) = found else { continue };
            if volume.kind() == coffer_model::VolumeKind::Image && !known.contains(&volume) {
                tracing::info!(pool = %pool.name(), "removing {volume}, of an image that is gone");
                pool.delete_volume(&volume)?;
            }
        }
        Ok(())
    }

    /// Refuses to unpack an image where there is certainly no room: unpacked it takes at least what it takes packed.
    pub(crate) fn require_room_for(&self, pool: &dyn Pool, image: &Image) -> Result<(), EngineError> {
        let unpacked = pool.images().is_some() && pool.exists(&Volume::image(&image.fingerprint))?;
        if unpacked { Ok(()) } else { Ok(coffer_storage::require_room(pool, &Volume::image(&image.fingerprint), image.size)?) }
    }
}
