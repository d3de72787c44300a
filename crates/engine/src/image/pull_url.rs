//! Fetching a single image from an address.

use std::os::fd::AsFd as _;

use coffer_image::{Arrived, Incoming};
use coffer_model::{Fingerprint, Image, Origin, OriginServer, ProjectName, Time};
use coffer_remote::direct::{self, DirectImage};
use coffer_store::project::Feature;
use coffer_web::Url;

use super::pull::{Keep, Receiving, kept};
use super::servers::{REQUIRED, permitted, proxies, signers};
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::PullUrl;

impl Engine {
    /// Fetches the image that an address leads to, in an operation whose metadata ends with its `fingerprint` and `size`.
    ///
    /// # Errors
    /// If it is no address, or not one that images may come from.
    pub fn pull_image_at(&self, caller: &Caller, project: &ProjectName, request: PullUrl) -> Result<OperationView, EngineError> {
        let url: Url = request.url.parse().map_err(|error| EngineError::Refused(format!("image: {error}")))?;
        let config = self.server_config()?;
        permitted(&config, &url)?;
        if signers(&config)?.required {
            return Err(EngineError::Forbidden(format!("{REQUIRED} is on, and nobody signs a single image at an address")));
        }
        let home = self.inner.store.read(|conn| coffer_store::project::home(conn, project, Feature::Images))?;
        let new = NewOperation::task("Downloading image", project, [].into());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let PullUrl { public, properties, profiles, aliases, .. } = request;
            let keep = Keep { public, properties, profiles, aliases, ..Keep::default() };
            let image = engine.fetch_image_at(&url, &home, &keep, operation, &caller)?;
            operation.set_metadata("fingerprint", image.fingerprint.as_str());
            operation.set_metadata("size", image.size.to_string());
            Ok(())
        }))
    }

    fn fetch_image_at(
        &self,
        url: &Url,
        home: &ProjectName,
        keep: &Keep,
        operation: &OperationHandle,
        caller: &Caller,
    ) -> Result<Image, EngineError> {
        let config = self.server_config()?;
        let found = self.inner.runtime.block_on(direct::find(url, self.wanted_architecture()?, proxies(&config)?))?;
        permitted(&config, &found.url)?;
        let pull = self.inner.pulls.of(&found.fingerprint);
        let _one_at_a_time = kept(&pull);
        let fingerprint: Fingerprint = found.fingerprint.parse()?;
        let server =
            OriginServer { url: url.to_string(), protocol: direct::PROTOCOL.into(), alias: String::new(), certificate: String::new() };
        let by = format!("{} ({})", caller.username, caller.protocol);
        let origin = Origin { server: Some(server), by, at: Time::now() };
        if let Some(image) = self.inner.store.read(|conn| coffer_store::image::get(conn, home, &fingerprint))? {
            self.settle_pulled(&image, keep, &origin)?;
            return Ok(image);
        }
        if let Some(image) = self.image_of_another_project(&fingerprint, home, keep)? {
            self.record_image(&image, &keep.aliases, &origin)?;
            return Ok(image);
        }
        let arrived = self.fetch_file_at(&found, operation)?;
        let target = found.url.target();
        let filename = target.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        self.record_arrived(arrived, filename, &keep.properties, None, keep, &origin, home, operation)
    }

    fn fetch_file_at(&self, found: &DirectImage, operation: &OperationHandle) -> Result<Arrived, EngineError> {
        let proxies = proxies(&self.server_config()?)?;
        let mut sink = Receiving(Incoming::begin(self.images_directory()?.as_fd(), None, None, operation.progress())?);
        self.unless_cancelled(operation, async { Ok(direct::fetch(found, proxies, &mut sink).await?) })?;
        Ok(sink.0.finish()?)
    }
}
