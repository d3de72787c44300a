//! What an instance keeps of its image: `metadata.yaml` and the templates beside its root.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use coffer_image::{Architecture, Metadata, metadata, template};
use coffer_model::{Instance, InstanceName, ProjectName};
use coffer_storage::Volume;
use coffer_sys::path::Root;
use rustix::fs::FileType;

use super::templates::{METADATA, TEMPLATES};
use crate::error::EngineError;
use crate::events::Caller;
use crate::{Engine, Precondition};

/// The most templates that are listed.
const MOST_TEMPLATES: usize = 4096;

impl Engine {
    /// Reads an instance's metadata; for one that was made without an image, what is known of it.
    ///
    /// # Errors
    /// If there is no such instance, or its file cannot be read.
    pub fn instance_metadata(&self, project: &ProjectName, name: &InstanceName) -> Result<Metadata, EngineError> {
        let instance = self.load(project, name)?.instance;
        metadata_in(&instance, &self.volume_of(&instance)?)
    }

    /// Replaces an instance's metadata; `text` is YAML, of which JSON is a part.
    ///
    /// # Errors
    /// If there is no such instance, the text is no metadata, or it changed since the client read it.
    pub fn update_instance_metadata(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        text: &[u8],
        only_if: Precondition<'_, Metadata>,
    ) -> Result<(), EngineError> {
        let instance = self.load(project, name)?.instance;
        let new = Metadata::parse(text).and_then(|metadata| metadata.to_yaml()).map_err(|error| refused(&instance, METADATA, &error))?;
        let _claim = self.inner.cells.get(project, name).claim_beside_readers("changing")?;
        if let Some(check) = only_if
            && !check(&self.instance_metadata(project, name)?)
        {
            return Err(EngineError::Changed { entity: "metadata of instance", name: name.to_string() });
        }
        let written = self.volume_of(&instance)?.replace_file(METADATA, new.as_bytes(), 0o644);
        written.map_err(|cause| failed(&instance, "writing", METADATA, cause))?;
        self.tell_metadata(&instance, "instance-metadata-updated", "metadata", caller);
        Ok(())
    }

    /// Lists an instance's templates by their paths beneath `templates/`.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn instance_templates(&self, project: &ProjectName, name: &InstanceName) -> Result<Vec<String>, EngineError> {
        let instance = self.load(project, name)?.instance;
        let mut names = Vec::new();
        match self.volume_of(&instance)?.dir(TEMPLATES).and_then(|directory| list(&directory, "", &mut names)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failed(&instance, "listing", TEMPLATES, cause)),
            _ => {
                names.sort();
                Ok(names)
            }
        }
    }

    /// Reads a template.
    ///
    /// # Errors
    /// If there is no such instance or template.
    pub fn instance_template(&self, project: &ProjectName, name: &InstanceName, template: &str) -> Result<Vec<u8>, EngineError> {
        let instance = self.load(project, name)?.instance;
        let path = Path::new(TEMPLATES).join(check_name(template)?);
        self.volume_of(&instance)?.read(path, template::MAX_SOURCE as u64).map_err(|cause| missing(&instance, "reading", template, cause))
    }

    /// Writes a template, a new one or over one that is there.
    ///
    /// # Errors
    /// If there is no such instance, or the text is too long or no text.
    pub fn put_instance_template(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        template: &str,
        text: &[u8],
    ) -> Result<(), EngineError> {
        let instance = self.load(project, name)?.instance;
        let path = Path::new(TEMPLATES).join(check_name(template)?);
        if text.len() > template::MAX_SOURCE || std::str::from_utf8(text).is_err() {
            let most = template::MAX_SOURCE >> 10;
            return Err(EngineError::Refused(format!("template {template:?} must be text of at most {most} KiB")));
        }
        let _claim = self.inner.cells.get(project, name).claim_beside_readers("changing")?;
        let volume = self.volume_of(&instance)?;
        let directory = volume.create_dir_all(path.parent().unwrap_or(Path::new(TEMPLATES)), 0o755);
        let written = directory.and_then(|_| volume.replace_file(&path, text, 0o644));
        written.map_err(|cause| failed(&instance, "writing template", template, cause))?;
        self.tell_metadata(&instance, "instance-metadata-template-created", &format!("metadata/templates?path={template}"), caller);
        Ok(())
    }

    /// Removes a template.
    ///
    /// # Errors
    /// If there is no such instance or template.
    pub fn delete_instance_template(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        template: &str,
    ) -> Result<(), EngineError> {
        let instance = self.load(project, name)?.instance;
        let path = Path::new(TEMPLATES).join(check_name(template)?);
        let _claim = self.inner.cells.get(project, name).claim_beside_readers("changing")?;
        self.volume_of(&instance)?.remove_file(path).map_err(|cause| missing(&instance, "removing", template, cause))?;
        self.tell_metadata(&instance, "instance-metadata-template-deleted", &format!("metadata/templates?path={template}"), caller);
        Ok(())
    }

    /// An instance's volume, in which no link is followed: what is beside the root is ours.
    fn volume_of(&self, instance: &Instance) -> Result<Root, EngineError> {
        let directory = self.pool_driver(&instance.pool)?.directory(&Volume::instance(&instance.project, &instance.name))?;
        let opened = directory.as_fd().try_clone_to_owned().and_then(|directory| Root::from_fd(directory).strict());
        opened.map_err(|cause| failed(instance, "opening", "volume", cause))
    }

    fn tell_metadata(&self, instance: &Instance, action: &'static str, below: &str, caller: &Caller) {
        let source = format!("/1.0/instances/{}/{below}", instance.name);
        self.inner.events.lifecycle(Some(&instance.project), action, source, Some(caller));
    }
}

/// Reads the metadata in a volume of an instance, its own or a snapshot's.
pub(crate) fn metadata_in(instance: &Instance, volume: &Root) -> Result<Metadata, EngineError> {
    match volume.read(METADATA, metadata::MAX_SIZE as u64) {
        Ok(text) => Metadata::parse(&text).map_err(|error| refused(instance, METADATA, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(without_image(instance)),
        Err(cause) => Err(failed(instance, "reading", METADATA, cause)),
    }
}

/// What is known of an instance that came without an image.
fn without_image(instance: &Instance) -> Metadata {
    Metadata {
        // What runs here has an architecture that is known.
        architecture: instance.architecture.parse().unwrap_or(Architecture::X86_64),
        creation_date: instance.created_at.as_second().max(1),
        expiry_date: None,
        properties: instance.config.under("image.").map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        templates: std::collections::BTreeMap::new(),
    }
}

/// Refuses a template's name that is no relative path without dots.
fn check_name(template: &str) -> Result<&str, EngineError> {
    let fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.chars().any(char::is_control);
    if template.len() <= 255 && template.split('/').all(fine) {
        Ok(template)
    } else {
        Err(EngineError::Refused(format!("invalid template name {template:?}: it must be a relative path without hidden parts")))
    }
}

fn list(directory: &Root, above: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in directory.entries(".")? {
        let Some(name) = entry.name.to_str() else { continue };
        let path = format!("{above}{name}");
        match entry.kind {
            FileType::Directory => list(&directory.dir(name)?, &format!("{path}/"), names)?,
            FileType::RegularFile if names.len() < MOST_TEMPLATES => names.push(path),
            _ => {}
        }
    }
    Ok(())
}

fn missing(instance: &Instance, doing: &str, template: &str, cause: io::Error) -> EngineError {
    match cause.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => EngineError::not_found("template", template),
        _ => failed(instance, doing, template, cause),
    }
}

fn failed(instance: &Instance, doing: &str, what: &str, cause: io::Error) -> EngineError {
    EngineError::system(format!("instance {}: {doing} {what}", instance.name), cause)
}

fn refused(instance: &Instance, what: &str, error: &dyn std::error::Error) -> EngineError {
    let chained = coffer_base::chain(error);
    // Its errors begin with the file's name already.
    let text = chained.strip_prefix(what).unwrap_or(&chained);
    EngineError::Refused(format!("instance {}: {what}{text}", instance.name))
}
