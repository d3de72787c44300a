//! Fetching images from servers elsewhere, once for everybody who asks for the same.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coffer_base::{Architecture, Bytes};
use coffer_image::{Arrived, Incoming, Limits};
use coffer_model::{AliasName, Config, Fingerprint, Image, Origin, OriginServer, ProfileName, ProjectName, Time};
use coffer_remote::{RemoteImage, Server, Sink, Wanted};
use coffer_store::project::Feature;

use super::receive::describe;
use super::servers::ImageServer;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::{ImageUpload, PullImage, RemoteSource};

/// Images that are being fetched: who wants one that another is fetching waits for it.
#[derive(Default)]
pub(crate) struct Pulls(Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Pulls {
    pub(super) fn of(&self, fingerprint: &str) -> Arc<Mutex<()>> {
        let mut pulls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, pull| Arc::strong_count(pull) > 1);
        pulls.entry(fingerprint.to_owned()).or_default().clone()
    }
}

/// Holds what only one fetches at a time.
pub(super) fn kept(pull: &Mutex<()>) -> MutexGuard<'_, ()> {
    pull.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of a fetched image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keep {
    /// Whether it is kept only as long as it is used.
    pub cached: bool,
    /// Whether it follows its alias.
    pub auto_update: bool,
    /// Whether it is read to its last byte first: nobody is there who would see that it cannot be unpacked.
    pub proven: bool,
    /// Whether clients that are not trusted may have it.
    pub public: bool,
    /// Properties over its own.
    pub properties: Config,
    /// Profiles for instances made from it.
    pub profiles: Vec<ProfileName>,
    /// Aliases it gets.
    pub aliases: Vec<(AliasName, String)>,
}

impl Engine {
    /// Fetches an image in an operation, whose metadata ends with its `fingerprint` and `size`.
    ///
    /// # Errors
    /// If the address or protocol is none, or the server is not one that images may come from.
    pub fn pull_image(&self, caller: &Caller, project: &ProjectName, request: PullImage) -> Result<OperationView, EngineError> {
        let server = self.remote_server(&request.source)?;
        let home = self.inner.store.read(|conn| coffer_store::project::home(conn, project, Feature::Images))?;
        let new = NewOperation::task("Downloading image", project, [].into());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let keep = Keep {
                cached: false,
                auto_update: request.auto_update,
                proven: false,
                public: request.public,
                properties: request.properties,
                profiles: request.profiles,
                aliases: request.aliases,
            };
            let image = engine.fetch_image(&server, &request.source, &home, &keep, operation, &caller)?;
            engine.settle_pulled(&image, &keep, &origin(&request.source, &image.fingerprint, &caller))?;
            operation.set_metadata("fingerprint", image.fingerprint.as_str());
            operation.set_metadata("size", image.size.to_string());
            Ok(())
        }))
    }

    /// An image that was fetched from there by this name before and is kept up to date: nobody need be asked.
    pub(crate) fn image_fetched_before(&self, project: &ProjectName, source: &RemoteSource) -> Result<Option<Image>, EngineError> {
        let config = self.server_config()?;
        if config.parse::<u64>("images.auto_update_interval") == Some(0) || source.name.parse::<Fingerprint>().is_ok() {
            return Ok(None);
        }
        let host = self.wanted_architecture()?;
        let found = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            coffer_store::origin::fetched_as(conn, &home, &origin_server(source))
        })?;
        let fits = |image: &Image| image.auto_update && image.architecture.parse::<Architecture>().is_ok_and(|image| host.runs(image));
        Ok(found.into_iter().find(fits))
    }

    /// Has an image here that a server offers: fetches it unless it is here. Blocks.
    pub(crate) fn fetch_image(
        &self,
        server: &ImageServer,
        source: &RemoteSource,
        home: &ProjectName,
        keep: &Keep,
        operation: &OperationHandle,
        caller: &Caller,
    ) -> Result<Image, EngineError> {
        let server = match server {
            ImageServer::Listing(server) => server,
            ImageServer::Registry(registry) => return self.fetch_from_registry(registry, source, home, keep, operation, caller),
        };
        let wanted = Wanted { secret: source.secret.clone(), project: source.project.clone() };
        let found = self.inner.runtime.block_on(server.find(&source.name, self.wanted_architecture()?, &wanted))?;
        let pull = self.inner.pulls.of(&found.fingerprint);
        let _one_at_a_time = kept(&pull);
        let fingerprint: Fingerprint = found.fingerprint.parse()?;
        if let Some(image) = self.inner.store.read(|conn| coffer_store::image::get(conn, home, &fingerprint))? {
            return Ok(image);
        }
        let origin = origin(source, &fingerprint, caller);
        if let Some(image) = self.image_of_another_project(&fingerprint, home, keep)? {
            self.record_image(&image, &keep.aliases, &origin)?;
            return Ok(image);
        }
        self.download(server, &found, &wanted, keep, &origin, home, operation)
    }

    #[expect(clippy::too_many_arguments, reason = "one call; each is another thing")]
    fn download(
        &self,
        server: &Server,
        found: &RemoteImage,
        wanted: &Wanted,
        keep: &Keep,
        origin: &Origin,
        home: &ProjectName,
        operation: &OperationHandle,
    ) -> Result<Image, EngineError> {
        let arrived = match self.fetch_by_delta(server, found, operation)? {
            Some(arrived) => arrived,
            None => self.fetch_whole(server, found, wanted, operation)?,
        };
        let mut properties: Config = found.properties.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        properties.merge(&keep.properties);
        let expires_at = found.expires_at.and_then(|seconds| Time::from_second(seconds).ok());
        self.record_arrived(arrived, &found.filename, &properties, expires_at, keep, origin, home, operation)
    }

    /// Makes an image of what has arrived; `filename` is a stranger's word.
    #[expect(clippy::too_many_arguments, reason = "one call; each is another thing")]
    pub(super) fn record_arrived(
        &self,
        arrived: Arrived,
        filename: &str,
        properties: &Config,
        expires_at: Option<Time>,
        keep: &Keep,
        origin: &Origin,
        home: &ProjectName,
        operation: &OperationHandle,
    ) -> Result<Image, EngineError> {
        let inspected = arrived.inspect(&self.inner.unpacker, Limits::default(), keep.proven, &operation.progress())?;
        let upload = ImageUpload {
            filename: filename.chars().filter(|character| character.is_ascii_graphic() && *character != '/').take(255).collect(),
            public: keep.public,
            properties: properties.clone(),
            profiles: keep.profiles.clone(),
            ..ImageUpload::default()
        };
        let mut image = describe(&arrived, inspected, home.clone(), &upload);
        image.cached = keep.cached;
        image.auto_update = keep.auto_update;
        image.expires_at = image.expires_at.or(expires_at);
        arrived.keep()?;
        self.record_image(&image, &keep.aliases, origin)?;
        Ok(image)
    }

    fn fetch_whole(
        &self,
        server: &Server,
        found: &RemoteImage,
        wanted: &Wanted,
        operation: &OperationHandle,
    ) -> Result<Arrived, EngineError> {
        let directory = self.images_directory()?;
        let limit = (found.size > 0).then_some(Bytes(found.size));
        let total = (found.size > 0).then_some(found.size);
        let mut sink = Receiving(Incoming::begin(directory.as_fd(), limit, total, operation.progress())?);
        self.unless_cancelled(operation, async { Ok(server.fetch(found, wanted, &mut sink).await?) })?;
        let arrived = sink.0.finish()?;
        if arrived.fingerprint().as_str() != found.fingerprint {
            return Err(EngineError::Refused(format!("the image's fingerprint is {}, not {}", arrived.fingerprint(), found.fingerprint)));
        }
        Ok(arrived)
    }

    /// What becomes of an image that is fetched for an instance.
    pub(crate) fn keep_cached(&self) -> Result<Keep, EngineError> {
        Ok(Keep { cached: true, auto_update: self.server_config()?.flag("images.auto_update_cached", true), ..Keep::default() })
    }

    /// Waits for a download that ends when its operation is cancelled.
    pub(super) fn unless_cancelled(
        &self,
        operation: &OperationHandle,
        fetching: impl Future<Output = Result<(), EngineError>>,
    ) -> Result<(), EngineError> {
        operation.cancellable(|| {
            self.inner.runtime.block_on(async {
                tokio::select! {
                    fetched = fetching => fetched,
                    () = operation.cancelled() => Err(EngineError::Refused("the operation was cancelled".into())),
                }
            })
        })
    }

    /// The same image as another project has it: its files are here.
    pub(super) fn image_of_another_project(
        &self,
        fingerprint: &Fingerprint,
        home: &ProjectName,
        keep: &Keep,
    ) -> Result<Option<Image>, EngineError> {
        let all = self.inner.store.read(|conn| coffer_store::image::list(conn, None))?;
        let other = all.into_iter().find(|image| image.fingerprint == *fingerprint);
        Ok(other.map(|mut image| {
            image.project = home.clone();
            image.cached = keep.cached;
            image.auto_update = keep.auto_update;
            image.public = keep.public;
            image.profiles = keep.profiles.clone();
            image.properties.merge(&keep.properties);
            image.uploaded_at = Time::now();
            image.last_used_at = None;
            image
        }))
    }

    /// What somebody copies on purpose is not only cached any more, and has the aliases that were asked for.
    pub(super) fn settle_pulled(&self, image: &Image, keep: &Keep, origin: &Origin) -> Result<(), EngineError> {
        self.inner.store.try_write(|tx| {
            let now = coffer_store::image::get(tx, &image.project, &image.fingerprint)?;
            let mut new = now.ok_or_else(|| EngineError::not_found("image", &image.fingerprint))?;
            new.cached = false;
            new.auto_update = keep.auto_update;
            new.public |= keep.public;
            new.properties.merge(&keep.properties);
            coffer_store::image::update(tx, &new)?;
            // Who asks for it by an alias wants it to follow that one.
            if origin.server.as_ref().is_some_and(|server| !server.alias.is_empty()) {
                coffer_store::origin::set(tx, &image.project, &image.fingerprint, origin)?;
            }
            let named = coffer_store::alias::of_image(tx, &image.project, &image.fingerprint)?;
            for (name, description) in keep.aliases.iter().filter(|(name, _)| !named.iter().any(|alias| alias.name == *name)) {
                let (project, target) = (image.project.clone(), image.fingerprint.clone());
                coffer_store::alias::insert(
                    tx,
                    &coffer_model::Alias { project, name: name.clone(), description: description.clone(), target },
                )?;
            }
            Ok(())
        })
    }

    /// The architecture that images are looked for: the host's, unless the configuration names another.
    pub(crate) fn wanted_architecture(&self) -> Result<Architecture, EngineError> {
        if let Some(wanted) = self.server_config()?.parse("images.default_architecture") {
            return Ok(wanted);
        }
        Architecture::of_kernel().map_err(|error| EngineError::Refused(format!("this host's architecture: {error}")))
    }
}

/// Where an image comes from that a source names, and for whom.
pub(super) fn origin(source: &RemoteSource, fingerprint: &Fingerprint, caller: &Caller) -> Origin {
    let alias = if fingerprint.as_str().starts_with(&source.name) { String::new() } else { source.name.clone() };
    Origin {
        server: Some(OriginServer { alias, ..origin_server(source) }),
        by: format!("{} ({})", caller.username, caller.protocol),
        at: Time::now(),
    }
}

/// How a server is noted with an image.
fn origin_server(source: &RemoteSource) -> OriginServer {
    OriginServer {
        url: source.server.trim_end_matches('/').to_owned(),
        protocol: source.protocol.as_str().to_owned(),
        alias: source.name.clone(),
        certificate: source.certificate.clone(),
    }
}

/// An image on its way into the images directory.
pub(super) struct Receiving(pub(super) Incoming);

impl Sink for Receiving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes).map_err(io::Error::other)
    }

    fn begin_rootfs(&mut self) -> io::Result<()> {
        self.0.begin_rootfs().map_err(io::Error::other)
    }

    fn expect(&mut self, _: u64) {}
}
