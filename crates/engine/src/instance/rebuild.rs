//! Making an instance's root anew from an image, or empty.

use coffer_model::entity::ImageForm;
use coffer_model::{Image, Instance, InstanceName, InstanceSnapshot, ProjectName, Status, Time};
use coffer_store::project::Feature;
use uuid::Uuid;

use super::create::empty_root;
use super::refresh::hidden_name;
use super::templates::DEFERRED;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::image::find::runs_here;
use crate::operations::{NewOperation, OperationView};
use crate::request::Source;

impl Engine {
    /// Makes a stopped instance's root anew in an operation. Its configuration, devices and snapshots stay.
    ///
    /// # Errors
    /// If there is no such instance or image, or the instance runs.
    pub fn rebuild_instance(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        source: &Source,
    ) -> Result<OperationView, EngineError> {
        let instance = self.load(project, name)?.instance;
        let fetched = match source {
            Source::Remote(source) => self.image_fetched_before(project, source)?,
            _ => None,
        };
        let image = if fetched.is_some() { fetched } else { self.image_of(project, source)? };
        image.as_ref().map_or(Ok(()), |image| fits(image, name))?;
        // What is not here is asked for once nothing else is in the way.
        let elsewhere = match source {
            Source::Remote(source) if image.is_none() => Some((self.remote_server(source)?, source.clone())),
            _ => None,
        };
        let cell = self.inner.cells.get(project, name);
        if cell.status() != Status::Stopped {
            return Err(cell.wrong_state(cell.status(), "it can be rebuilt only when it is stopped (or with --force)"));
        }
        let new = NewOperation::instance("Rebuilding instance", project, name.as_str());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let claim = cell.claim("rebuilding")?;
            let instance = engine.load(&instance.project, &instance.name)?.instance;
            let image = match &elsewhere {
                Some((server, source)) => {
                    let home = engine.inner.store.read(|conn| coffer_store::project::home(conn, &instance.project, Feature::Images))?;
                    let image = engine.fetch_image(server, source, &home, &engine.keep_cached()?, operation, &caller)?;
                    runs_here(&image)?;
                    fits(&image, &instance.name)?;
                    Some(image)
                }
                None => image,
            };
            let pool = engine.pool_driver(&instance.pool)?;
            let next = rebuilt(&instance, image.as_ref())?;
            engine.replace_root(&claim, &instance, &next, |volume| match &image {
                Some(image) => engine.unpack_into(pool.as_ref(), volume, image, operation),
                None => Ok(pool.create(volume, &mut |directory| Ok(empty_root(directory)?))?),
            })?;
            engine.lifecycle(&instance, "instance-updated", Some(&caller));
            Ok(())
        }))
    }
}

/// Refuses an image that a root cannot be made anew from.
fn fits(image: &Image, instance: &InstanceName) -> Result<(), EngineError> {
    if image.form == ImageForm::Layers {
        return Err(EngineError::Refused(format!(
            "instance {instance}: a rebuild does not take images of registries, which bring a process of their own: delete it and launch anew"
        )));
    }
    Ok(())
}

/// What the instance is with a root of another image: the image's properties and what tells about the files change.
fn rebuilt(instance: &Instance, image: Option<&Image>) -> Result<InstanceSnapshot, EngineError> {
    let mut next = InstanceSnapshot::of(instance, hidden_name("rebuild")?, Time::now(), None);
    next.config.0.retain(|key, _| !key.starts_with("image."));
    next.config.unset("volatile.base_image");
    next.config.unset("volatile.last_state.idmap");
    next.config.set(DEFERRED, coffer_image::Trigger::Create.as_str());
    next.config.set("volatile.cloud-init.instance-id", Uuid::new_v4().to_string());
    if let Some(image) = image {
        next.architecture.clone_from(&image.architecture);
        for (key, value) in image.properties.iter() {
            next.config.set(format!("image.{key}"), value);
        }
        next.config.set("volatile.base_image", image.fingerprint.as_str());
    }
    Ok(next)
}
