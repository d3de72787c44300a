//! Fetching an image from a registry: the layers that are not here yet, checked as they come, then the record of them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use coffer_base::{Bytes, Progress, fault};
use coffer_image::{Incoming, Limits};
use coffer_model::entity::ImageForm;
use coffer_model::{Config, Fingerprint, Image, Origin, ProjectName, Time};
use coffer_remote::oci::{Descriptor, ImageConfig, OciImage, Reference, Registry};
use coffer_sys::path::Root;

use super::record::{Process, Record};
use super::user;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::image::pull::{Keep, origin};
use crate::operations::OperationHandle;
use crate::request::RemoteSource;

/// The stage under which fetching reports its progress.
const STAGE: &str = "download";

impl Engine {
    /// Has an image here that a registry offers: fetches what is missing of it. Blocks.
    pub(in crate::image) fn fetch_from_registry(
        &self,
        registry: &Registry,
        source: &RemoteSource,
        home: &ProjectName,
        keep: &Keep,
        operation: &OperationHandle,
        caller: &Caller,
    ) -> Result<Image, EngineError> {
        let reference: Reference = source.name.parse().map_err(coffer_remote::oci::OciError::from)?;
        let found = self.inner.runtime.block_on(registry.find(&reference, self.wanted_architecture()?))?;
        let pull = self.inner.pulls.of(&found.digest);
        let _one_at_a_time = pull.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fingerprint: Fingerprint = found.digest.parse()?;
        if let Some(image) = self.inner.store.read(|conn| coffer_store::image::get(conn, home, &fingerprint))? {
            return Ok(image);
        }
        let origin = origin(source, &fingerprint, caller);
        if let Some(image) = self.image_of_another_project(&fingerprint, home, keep)? {
            self.record_image(&image, &keep.aliases, &origin)?;
            return Ok(image);
        }
        let layers: Result<Vec<Fingerprint>, _> = found.layers.iter().map(|layer| layer.digest.parse()).collect();
        let layers = layers?;
        let pinned = self.inner.layer_pins.pin(&layers);
        let fetched = self.fetch_layers(registry, &found, operation).and_then(|()| {
            fault::point("image-layers.fetched").map_err(|cause| EngineError::system("fetching layers", cause))?;
            let image = describe(&found, &fingerprint, &reference, registry, home, keep);
            self.inspect_and_record(&found, layers, &image, keep, &origin, operation)?;
            Ok(image)
        });
        drop(pinned);
        if fetched.is_err() {
            self.sweep_layers()?;
        }
        fetched
    }

    /// Fetches the layers that are not here.
    fn fetch_layers(&self, registry: &Registry, found: &OciImage, operation: &OperationHandle) -> Result<(), EngineError> {
        let directory = self.layers_directory()?;
        let here = Root::from_fd(self.layers_directory()?);
        let distinct: BTreeMap<&str, &Descriptor> = found.layers.iter().map(|layer| (layer.digest.as_str(), layer)).collect();
        let missing: Vec<&Descriptor> = distinct.into_values().filter(|layer| !here.exists(&layer.digest)).collect();
        let total = missing.iter().map(|layer| layer.size).sum();
        let mut before = 0;
        for layer in missing {
            let (outer, start) = (operation.progress(), before);
            let progress = Progress::to(move |step| outer.report(STAGE, start + step.done, Some(total)));
            let mut incoming = Incoming::begin(directory.as_fd(), Some(Bytes(layer.size)), None, progress)?;
            let mut take = |bytes: &[u8]| incoming.write(bytes).map_err(io::Error::other);
            self.inner.runtime.block_on(registry.blob(&found.repository, layer, &mut take))?;
            // Named by what its bytes hash to, which is what was asked for.
            incoming.finish()?.keep()?;
            before += layer.size;
        }
        Ok(())
    }

    /// Reads all layers once without writing, so that what can't be unpacked is refused now, and records the image.
    fn inspect_and_record(
        &self,
        found: &OciImage,
        layers: Vec<Fingerprint>,
        image: &Image,
        keep: &Keep,
        origin: &Origin,
        operation: &OperationHandle,
    ) -> Result<(), EngineError> {
        let mut record = Record::new(layers, Process::default());
        let files = self.open_layers(&record)?;
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let accounts = self.inner.unpacker.inspect_layers(&borrowed, Limits::default(), &operation.progress())?;
        let user = user::resolve(&found.config.user, &accounts.passwd, &accounts.group);
        let user = user.map_err(|error| EngineError::Refused(error.to_string()))?;
        record.process = process(&found.config, &user)?;
        self.write_record(&image.fingerprint, &record)?;
        fault::point("image-layers.recorded").map_err(|cause| EngineError::system("recording layers", cause))?;
        self.record_image(image, &keep.aliases, origin)
    }
}

/// The process of an image.
fn process(config: &ImageConfig, user: &user::User) -> Result<Process, EngineError> {
    if !config.stop_signal.is_empty() && config.stop_signal.parse::<coffer_runtime_spec::Signal>().is_err() {
        let signal: String = config.stop_signal.chars().filter(|character| !character.is_control()).take(40).collect();
        return Err(EngineError::Refused(format!("the image's stop signal {signal:?} is none")));
    }
    let mut env = config.env.clone();
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".into(), user.home.clone()));
    }
    Ok(Process {
        command: config.command.clone(),
        env,
        cwd: config.cwd.clone(),
        uid: user.uid,
        gid: user.gid,
        stop_signal: config.stop_signal.clone(),
    })
}

/// The record of an image in the store.
fn describe(
    found: &OciImage,
    fingerprint: &Fingerprint,
    reference: &Reference,
    registry: &Registry,
    home: &ProjectName,
    keep: &Keep,
) -> Image {
    let config = &found.config;
    let one_line = |text: &str| text.chars().filter(|character| !character.is_control()).take(512).collect::<String>();
    let own = [
        ("description", format!("{reference} ({})", registry.url().host())),
        ("os", one_line(found.repository.rsplit('/').next().unwrap_or_default())),
        ("release", reference.tag.clone()),
        ("architecture", config.architecture.to_string()),
        ("type", "oci".to_owned()),
        ("oci.ports", one_line(&config.ports.join(" "))),
        ("oci.volumes", one_line(&config.volumes.join(" "))),
    ];
    let mut properties: Config = own.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    properties.merge(&keep.properties);
    Image {
        project: home.clone(),
        fingerprint: fingerprint.clone(),
        filename: String::new(),
        size: found.size(),
        public: keep.public,
        auto_update: keep.auto_update && reference.digest.is_none(),
        cached: keep.cached,
        architecture: config.architecture.to_string(),
        properties,
        profiles: keep.profiles.clone(),
        created_at: config.created_at.and_then(|seconds| Time::from_second(seconds).ok()),
        expires_at: None,
        last_used_at: None,
        uploaded_at: Time::now(),
        form: ImageForm::Layers,
    }
}
