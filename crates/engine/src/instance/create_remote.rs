//! Creating an instance from an image that a server elsewhere has.

use coffer_base::{Undo, fault};
use coffer_model::gate::{self, Origin};
use coffer_model::{Image, Instance};
use coffer_store::project::Feature;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::image::find::runs_here;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::{CreateInstance, RemoteSource, Source};

impl Engine {
    /// Creates an instance in an operation that fetches the image first. What does not depend on the image is refused before
    /// anybody is asked for it, and the name is taken from then on.
    pub(super) fn create_from_remote(
        &self,
        caller: &Caller,
        mut request: CreateInstance,
        source: RemoteSource,
    ) -> Result<OperationView, EngineError> {
        let server = self.remote_server(&source)?;
        if let Some(image) = self.image_fetched_before(&request.project, &source)? {
            request.source = Source::Fingerprint(image.fingerprint.to_string());
            return self.create_instance(caller, request);
        }
        let home = self.inner.store.read(|conn| coffer_store::project::home(conn, &request.project, Feature::Images))?;
        let keep = self.keep_cached()?;
        let setup = self.first_use(&request)?;
        let (instance, id) = self.record(&request, None)?;
        let mut new = NewOperation::instance("Creating instance", &instance.project, instance.name.as_str());
        if !setup.is_empty() {
            new.metadata.insert("default_setup".into(), setup.into());
        }
        let (engine, caller, start) = (self.clone(), caller.clone(), request.start);
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim("creating")?;
            let fetch = |operation: &OperationHandle| engine.fetch_image(&server, &source, &home, &keep, operation, &caller);
            let (instance, image) = engine.adopt(&instance, operation, fetch)?;
            engine.make(&instance, id, Some(&image), operation)?;
            engine.lifecycle(&instance, "instance-created", Some(&caller));
            if start { engine.start(&claim, &instance, Some(&caller)) } else { Ok(()) }
        }))
    }

    /// Gives a recorded instance the image that `fetch` brings. On failure the instance is forgotten.
    fn adopt(
        &self,
        instance: &Instance,
        operation: &OperationHandle,
        fetch: impl FnOnce(&OperationHandle) -> Result<Image, EngineError>,
    ) -> Result<(Instance, Image), EngineError> {
        let store = &self.inner.store;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a creation: {warning}"));
        undo.push(format!("forgetting instance {}", instance.name), || {
            store.write(|tx| coffer_store::instance::delete(tx, &instance.project, &instance.name))
        });
        let image = fetch(operation)?;
        fault::point("create.image-fetched").map_err(|cause| EngineError::system("creating", cause))?;
        runs_here(&image)?;
        let adopted = store.try_write(|tx| {
            let now = coffer_store::instance::get(tx, &instance.project, &instance.name)?;
            let mut now = now.ok_or_else(|| EngineError::not_found("instance", &instance.name))?;
            let home = coffer_store::project::home(tx, &now.project, Feature::Profiles)?;
            let profiles = coffer_store::profile::for_instance(tx, &home, &now.profiles)?;
            for (key, value) in image.properties.iter() {
                now.config.set(format!("image.{key}"), value);
            }
            now.config.set("volatile.base_image", image.fingerprint.as_str());
            now.architecture.clone_from(&image.architecture);
            self.adopt_process(&mut now, &profiles, &image)?;
            let checked = gate::instance(now, &profiles, None, Origin::Server)?;
            coffer_store::instance::update(tx, &checked)?;
            Ok::<_, EngineError>(checked.into_inner())
        })?;
        undo.keep();
        Ok((adopted, image))
    }
}
