//! Receiving an image.

use std::os::fd::AsFd;

use coffer_base::{Progress, fault};
use coffer_image::{Arrived, Incoming, Inspected, Limits, Parts};
use coffer_model::entity::ImageForm;
use coffer_model::{Alias, AliasName, Config, Image, Origin, ProjectName, Time};
use coffer_store::project::Feature;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::ImageUpload;

impl Engine {
    /// Begins to receive an image: the caller writes the file's bytes into the answer, or a split image's metadata, then
    /// its root file system. What is not stored afterwards leaves nothing.
    ///
    /// # Errors
    /// If the project does not exist or the images directory cannot be written.
    pub fn receive_image(&self, project: &ProjectName) -> Result<Incoming, EngineError> {
        self.inner.store.read(|conn| coffer_store::project::home(conn, project, Feature::Images))?;
        let directory = self.images_directory()?;
        Ok(Incoming::begin(directory.as_fd(), None, None, Progress::default())?)
    }

    /// Stores a received image in an operation, whose metadata ends with its `fingerprint` and `size`.
    ///
    /// # Errors
    /// If nothing was received, or it has another fingerprint than it should.
    pub fn store_image(
        &self,
        caller: &Caller,
        project: &ProjectName,
        incoming: Incoming,
        upload: ImageUpload,
    ) -> Result<OperationView, EngineError> {
        let home = self.inner.store.read(|conn| coffer_store::project::home(conn, project, Feature::Images))?;
        let arrived = incoming.finish()?;
        if let Some(expected) = &upload.fingerprint
            && expected != arrived.fingerprint()
        {
            return Err(EngineError::Refused(format!(
                "the image's fingerprint is {}, not {expected}: it was damaged on the way",
                arrived.fingerprint()
            )));
        }
        let mut new = NewOperation::task("Downloading image", project, [].into());
        new.metadata.extend(upload.secret.clone().map(|secret| ("secret".to_owned(), secret.into())));
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| engine.inspect_and_keep(arrived, home, upload, operation, &caller)))
    }

    fn inspect_and_keep(
        &self,
        arrived: Arrived,
        project: ProjectName,
        upload: ImageUpload,
        operation: &OperationHandle,
        caller: &Caller,
    ) -> Result<(), EngineError> {
        let fingerprint = arrived.fingerprint().clone();
        operation.set_metadata("fingerprint", fingerprint.as_str());
        operation.set_metadata("size", arrived.size().to_string());
        let existing = self.inner.store.read(|conn| coffer_store::image::get(conn, &project, &fingerprint))?;
        if existing.is_some() {
            return Err(EngineError::exists("image", &fingerprint));
        }
        let inspected = arrived.inspect(&self.inner.unpacker, Limits::default(), false, &operation.progress())?;
        let image = describe(&arrived, inspected, project, &upload);
        arrived.keep()?;
        let origin = Origin { server: None, by: format!("{} ({})", caller.username, caller.protocol), at: image.uploaded_at };
        self.record_image(&image, &upload.aliases, &origin)?;
        let context = Some(serde_json::json!({ "type": "container" }));
        self.events().lifecycle_with(Some(&image.project), "image-created", format!("/1.0/images/{fingerprint}"), context, Some(caller));
        Ok(())
    }

    /// Stores an image that was made here, in the operation that made it.
    pub(super) fn keep_image(
        &self,
        arrived: Arrived,
        image: &Image,
        aliases: &[(AliasName, String)],
        operation: &OperationHandle,
        caller: &Caller,
    ) -> Result<(), EngineError> {
        operation.set_metadata("fingerprint", image.fingerprint.as_str());
        operation.set_metadata("size", image.size.to_string());
        if self.inner.store.read(|conn| coffer_store::image::get(conn, &image.project, &image.fingerprint))?.is_some() {
            return Err(EngineError::exists("image", &image.fingerprint));
        }
        arrived.keep()?;
        let origin = Origin { server: None, by: format!("{} ({})", caller.username, caller.protocol), at: image.uploaded_at };
        self.record_image(image, aliases, &origin)?;
        let context = Some(serde_json::json!({ "type": "container" }));
        let source = format!("/1.0/images/{}", image.fingerprint);
        self.events().lifecycle_with(Some(&image.project), "image-created", source, context, Some(caller));
        Ok(())
    }

    /// Records an image whose files stand in the images directory. On failure they go, unless another record has them.
    pub(super) fn record_image(&self, image: &Image, aliases: &[(AliasName, String)], origin: &Origin) -> Result<(), EngineError> {
        let recorded = self.inner.store.write(|tx| {
            coffer_store::image::insert(tx, image)?;
            coffer_store::origin::set(tx, &image.project, &image.fingerprint, origin)?;
            for (name, description) in aliases {
                let alias = Alias {
                    project: image.project.clone(),
                    name: name.clone(),
                    description: description.clone(),
                    target: image.fingerprint.clone(),
                };
                coffer_store::alias::insert(tx, &alias)?;
            }
            Ok(())
        });
        if let Err(error) = recorded {
            self.remove_image_remains(image)?;
            return Err(error.into());
        }
        fault::point("image.recorded").map_err(|cause| EngineError::system("storing the image", cause))
    }
}

/// The record of an image: what it says of itself, under what the upload says.
pub(super) fn describe(arrived: &Arrived, inspected: Inspected, project: ProjectName, upload: &ImageUpload) -> Image {
    let metadata = inspected.metadata;
    let mut properties: Config = metadata.properties.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    properties.merge(&upload.properties);
    Image {
        project,
        fingerprint: arrived.fingerprint().clone(),
        filename: upload.filename.clone(),
        size: arrived.size(),
        public: upload.public,
        auto_update: false,
        cached: false,
        architecture: metadata.architecture.to_string(),
        properties,
        profiles: upload.profiles.clone(),
        created_at: Time::from_second(metadata.creation_date).ok(),
        expires_at: metadata.expiry_date.and_then(|date| Time::from_second(date).ok()),
        last_used_at: None,
        uploaded_at: Time::now(),
        form: match arrived.parts() {
            Parts::Unified => ImageForm::Unified,
            Parts::Split => ImageForm::Split,
        },
    }
}
