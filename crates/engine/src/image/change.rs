//! Changing and deleting images.

use coffer_model::{Image, ProjectName};
use coffer_storage::Volume;

use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};
use crate::request::ImageChange;
use crate::{Engine, Precondition};

impl Engine {
    /// Replaces an image's writable part.
    ///
    /// # Errors
    /// If there is no such image, it changed since the client read it, or it names a profile that does not exist.
    pub fn update_image(
        &self,
        caller: &Caller,
        project: &ProjectName,
        prefix: &str,
        change: ImageChange,
        only_if: Precondition<'_, Image>,
    ) -> Result<(), EngineError> {
        let found = self.find_image(project, prefix)?;
        self.inner.store.try_write(|tx| {
            let now = coffer_store::image::get(tx, &found.project, &found.fingerprint)?;
            let now = now.ok_or_else(|| EngineError::not_found("image", prefix))?;
            if only_if.is_some_and(|check| !check(&now)) {
                return Err(EngineError::Changed { entity: "image", name: now.fingerprint.to_string() });
            }
            let new = Image {
                public: change.public,
                auto_update: change.auto_update,
                properties: change.properties,
                profiles: change.profiles,
                expires_at: change.expires_at,
                ..now
            };
            Ok(coffer_store::image::update(tx, &new)?)
        })?;
        self.tell_image(&found, "image-updated", caller);
        Ok(())
    }

    /// Deletes an image in an operation: its record, its volumes in the pools, its files. Instances made from it stay.
    ///
    /// # Errors
    /// If there is no such image.
    pub fn delete_image(&self, caller: &Caller, project: &ProjectName, prefix: &str) -> Result<OperationView, EngineError> {
        let image = self.find_image(project, prefix)?;
        let resources = [("images", vec![format!("/1.0/images/{}", image.fingerprint)])].into();
        let new = NewOperation::task("Deleting image", project, resources);
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            engine.inner.store.write(|tx| coffer_store::image::delete(tx, &image.project, &image.fingerprint))?;
            engine.remove_image_remains(&image)?;
            engine.tell_image(&image, "image-deleted", &caller);
            Ok(())
        }))
    }

    /// Removes what a forgotten image left, unless another project has the same image.
    pub(super) fn remove_image_remains(&self, image: &Image) -> Result<(), EngineError> {
        let all = self.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
        if all.iter().any(|other| other.fingerprint == image.fingerprint) {
            return Ok(());
        }
        let volume = Volume::image(&image.fingerprint);
        for pool in self.all_pool_drivers()? {
            if pool.images().is_some() && pool.exists(&volume)? {
                pool.delete_volume(&volume)?;
            }
        }
        self.remove_image_files(&image.fingerprint)
    }

    pub(super) fn tell_image(&self, image: &Image, action: &'static str, caller: &Caller) {
        self.events().lifecycle(Some(&image.project), action, format!("/1.0/images/{}", image.fingerprint), Some(caller));
    }
}
