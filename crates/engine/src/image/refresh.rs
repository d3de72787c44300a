//! Bringing images up to date with where they came from, and removing those that nobody needs any more.

use std::time::Duration;

use coffer_base::{chain, fault};
use coffer_model::{Alias, Image, OriginServer, ProjectName, Time};
use coffer_remote::Protocol;

use super::pull::Keep;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::RemoteSource;

/// How often images are looked at that may have to go.
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Engine {
    /// Looks for a newer image under the alias that one was fetched by, and takes it in its place. The operation's metadata
    /// ends with `refreshed`: whether there was one.
    ///
    /// # Errors
    /// If there is no such image.
    pub fn refresh_image(&self, caller: &Caller, project: &ProjectName, prefix: &str) -> Result<OperationView, EngineError> {
        let image = self.find_image(project, prefix)?;
        let resources = [("images", vec![format!("/1.0/images/{}", image.fingerprint)])].into();
        let new = NewOperation::task("Refreshing image", project, resources);
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let newer = engine.follow(&image, operation, &caller)?;
            operation.set_metadata("refreshed", newer.is_some());
            if let Some(newer) = newer {
                operation.set_metadata("fingerprint", newer.fingerprint.as_str());
            }
            Ok(())
        }))
    }

    /// Takes the image that the alias means now in the place of the one that it meant; `None` if it means the same one, or
    /// the image follows none.
    fn follow(&self, image: &Image, operation: &OperationHandle, caller: &Caller) -> Result<Option<Image>, EngineError> {
        let origin = self.inner.store.read(|conn| coffer_store::origin::get(conn, &image.project, &image.fingerprint))?;
        let Some(from) = origin.and_then(|origin| origin.server).filter(|server| !server.alias.is_empty()) else { return Ok(None) };
        let source = source_of(&from)?;
        let server = self.remote_server(&source)?;
        let keep = Keep {
            cached: image.cached,
            auto_update: image.auto_update,
            proven: true,
            public: image.public,
            profiles: image.profiles.clone(),
            ..Keep::default()
        };
        let newer = self.fetch_image(&server, &source, &image.project, &keep, operation, caller)?;
        if newer.fingerprint == image.fingerprint {
            return Ok(None);
        }
        self.renew_image_volumes(&image.fingerprint, &newer, operation)?;
        self.replace_image(image, &newer)?;
        self.tell_image(&newer, "image-refreshed", caller);
        Ok(Some(newer))
    }

    /// Moves an image's aliases and last use to another one, and forgets it.
    fn replace_image(&self, old: &Image, new: &Image) -> Result<(), EngineError> {
        self.inner.store.try_write(|tx| {
            for alias in coffer_store::alias::of_image(tx, &old.project, &old.fingerprint)? {
                coffer_store::alias::update(tx, &Alias { target: new.fingerprint.clone(), ..alias })?;
            }
            if let Some(used) = old.last_used_at {
                coffer_store::image::touch(tx, &new.project, &new.fingerprint, used)?;
            }
            Ok::<_, EngineError>(coffer_store::image::delete(tx, &old.project, &old.fingerprint)?)
        })?;
        fault::point("image-refresh.replaced").map_err(|cause| EngineError::system("refreshing the image", cause))?;
        self.remove_image_remains(old)
    }

    /// Keeps images up to date and removes unused ones until the daemon ends: now, whenever their time has come, and when
    /// the configuration of either changes.
    pub async fn keep_images(&self) {
        let mut end = self.inner.end.subscribe();
        let caller = Caller { username: "coffer".into(), protocol: "internal", address: String::new() };
        loop {
            let (engine, by) = (self.clone(), caller.clone());
            let looked = tokio::task::spawn_blocking(move || engine.look_after_images(&by)).await;
            let hours = looked.unwrap_or(0);
            let next = if hours == 0 { DAY } else { DAY.min(Duration::from_secs(hours * 3600)) };
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = self.inner.images_configured.notified() => {}
                _ = end.wait_for(|end| *end) => return,
            }
        }
    }

    /// One round. Answers after how many hours the next is due; 0 is never.
    fn look_after_images(&self, caller: &Caller) -> u64 {
        let config = self.server_config().unwrap_or_default();
        let hours = config.parse("images.auto_update_interval").unwrap_or(6);
        let days = config.parse("images.remote_cache_expiry").unwrap_or(10);
        let images = self.inner.store.read(|conn| coffer_store::image::list(conn, None));
        let images = images.inspect_err(|error| tracing::error!("listing images: {}", chain(error))).unwrap_or_default();
        for image in images {
            let short = image.fingerprint.as_str()[..12].to_owned();
            if is_stale(&image, days, Time::now()) {
                tracing::info!("removing image {short}, which was not used for {days} days");
                if let Err(error) = self.forget_image(&image) {
                    tracing::error!("removing image {short}: {}", chain(&error));
                }
            } else if image.auto_update && hours > 0 {
                let new = NewOperation::task("Refreshing image", &image.project, [].into());
                let operation = self.operations().begin(new);
                let followed = self.follow(&image, &operation, caller);
                operation.set_metadata("refreshed", matches!(followed, Ok(Some(_))));
                if let Err(error) = &followed {
                    tracing::warn!("bringing image {short} up to date: {}", chain(error));
                }
                operation.finish(followed.map(drop));
            }
        }
        hours
    }

    /// Removes an image's record and what belongs to it.
    fn forget_image(&self, image: &Image) -> Result<(), EngineError> {
        self.inner.store.write(|tx| coffer_store::image::delete(tx, &image.project, &image.fingerprint))?;
        self.remove_image_remains(image)
    }
}

/// Says whether an image is here only for instances that were made from it long ago.
fn is_stale(image: &Image, days: i64, now: Time) -> bool {
    let used = image.last_used_at.unwrap_or(image.uploaded_at);
    image.cached && days > 0 && now.as_second() - used.as_second() >= days * 24 * 3600
}

/// What to ask for again.
fn source_of(server: &OriginServer) -> Result<RemoteSource, EngineError> {
    let protocol: Protocol =
        server.protocol.parse().map_err(|error: coffer_remote::ProtocolError| EngineError::Refused(error.to_string()))?;
    Ok(RemoteSource {
        server: server.url.clone(),
        protocol,
        certificate: server.certificate.clone(),
        name: server.alias.clone(),
        secret: String::new(),
        project: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_model::Config;

    fn image(cached: bool, uploaded: &str, used: Option<&str>) -> Image {
        Image {
            project: ProjectName::default_project(),
            fingerprint: "a".repeat(64).parse().unwrap(),
            filename: String::new(),
            size: 1,
            public: false,
            auto_update: true,
            cached,
            architecture: "x86_64".into(),
            properties: Config::default(),
            profiles: Vec::new(),
            created_at: None,
            expires_at: None,
            last_used_at: used.map(|time| time.parse().unwrap()),
            uploaded_at: uploaded.parse().unwrap(),
            form: coffer_model::entity::ImageForm::Unified,
        }
    }

    #[track_caller]
    fn check(image: &Image, days: i64, expect: bool) {
        assert_eq!(is_stale(image, days, "2026-01-11T00:00:00Z".parse().unwrap()), expect);
    }

    #[test]
    fn only_cached_images_that_were_not_used_for_long_go() {
        let old = "2025-12-31T00:00:00Z";
        check(&image(true, old, None), 10, true);
        check(&image(true, old, Some("2026-01-01T00:00:00Z")), 10, true);
        check(&image(true, old, Some("2026-01-01T00:00:01Z")), 10, false);
        check(&image(true, old, None), 0, false);
        check(&image(true, "2026-01-05T00:00:00Z", None), 10, false);
        check(&image(false, old, None), 10, false);
    }
}
