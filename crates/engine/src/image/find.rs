//! Finding images by fingerprint or alias, and listing them.

use std::collections::HashMap;

use coffer_model::{AliasName, Config, Image, ProjectName};
use coffer_store::project::Feature;

use crate::Engine;
use crate::error::EngineError;
use crate::request::{ImageView, Scope};

impl Engine {
    /// Lists images.
    ///
    /// # Errors
    /// If the project does not exist.
    pub fn images(&self, scope: &Scope) -> Result<Vec<ImageView>, EngineError> {
        Ok(self.inner.store.read(|conn| {
            let home = match scope {
                Scope::Project(project) => Some(coffer_store::project::home(conn, project, Feature::Images)?),
                Scope::All => None,
            };
            let mut names: HashMap<_, Vec<_>> = HashMap::new();
            for alias in coffer_store::alias::list(conn, home.as_ref())? {
                names.entry((alias.project, alias.target)).or_default().push((alias.name, alias.description));
            }
            let images = coffer_store::image::list(conn, home.as_ref())?;
            let mut origins = coffer_store::origin::list(conn, home.as_ref())?;
            let view = |image: Image| {
                let key = (image.project.clone(), image.fingerprint.clone());
                ImageView { aliases: names.remove(&key).unwrap_or_default(), origin: origins.remove(&key), image }
            };
            Ok(images.into_iter().map(view).collect())
        })?)
    }

    /// Reads one image by its fingerprint or the only one whose fingerprint begins so.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn image(&self, project: &ProjectName, prefix: &str) -> Result<ImageView, EngineError> {
        let image = self.find_image(project, prefix)?;
        let (aliases, origin) = self.inner.store.read(|conn| {
            let aliases = coffer_store::alias::of_image(conn, &image.project, &image.fingerprint)?;
            Ok((aliases, coffer_store::origin::get(conn, &image.project, &image.fingerprint)?))
        })?;
        Ok(ImageView { aliases: aliases.into_iter().map(|alias| (alias.name, alias.description)).collect(), origin, image })
    }

    /// Finds an image by the beginning of its fingerprint.
    pub(crate) fn find_image(&self, project: &ProjectName, prefix: &str) -> Result<Image, EngineError> {
        let hexadecimal = !prefix.is_empty() && prefix.len() <= 64 && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal {
            // Whoever writes this means an alias.
            let all = self.aliases(project).unwrap_or_default();
            return Err(EngineError::not_found_among("image", prefix, all.iter().map(|alias| alias.name.as_str())));
        }
        let mut found = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            coffer_store::image::with_prefix(conn, &home, &prefix.to_ascii_lowercase())
        })?;
        match (found.pop(), found.is_empty()) {
            (Some(image), true) => Ok(image),
            (Some(_), false) => {
                Err(EngineError::Refused(format!("more than one image's fingerprint begins with {prefix}; give more of it")))
            }
            (None, _) => Err(EngineError::not_found("image", prefix)),
        }
    }

    /// Finds the image that was taken in last of those with all of these properties.
    pub(crate) fn newest_image(&self, project: &ProjectName, wanted: &Config) -> Result<Image, EngineError> {
        let all = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            coffer_store::image::list(conn, Some(&home))
        })?;
        let has_all = |image: &Image| wanted.iter().all(|(key, value)| image.properties.get(key) == Some(value));
        all.into_iter().filter(has_all).max_by_key(|image| image.uploaded_at).ok_or_else(|| {
            let wanted: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
            EngineError::not_found("image with", wanted.join(", "))
        })
    }

    /// Finds an image by alias.
    pub(crate) fn image_by_alias(&self, project: &ProjectName, alias: &AliasName) -> Result<Image, EngineError> {
        let found = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            match coffer_store::alias::get(conn, &home, alias)? {
                Some(alias) => coffer_store::image::get(conn, &home, &alias.target),
                None => Ok(None),
            }
        })?;
        found.ok_or_else(|| {
            let all = self.aliases(project).unwrap_or_default();
            EngineError::not_found_among("image alias", alias.as_str(), all.iter().map(|alias| alias.name.as_str()))
        })
    }
}

/// Refuses an image whose programs this host does not run.
pub(crate) fn runs_here(image: &Image) -> Result<(), EngineError> {
    let (here, architecture) = (std::env::consts::ARCH, image.architecture.as_str());
    if architecture == here || matches!((here, architecture), ("x86_64", "i686" | "i386") | ("aarch64", "armv7l" | "armv6l")) {
        return Ok(());
    }
    Err(EngineError::Refused(format!(
        "image {} is for architecture {architecture}, which this host does not run",
        &image.fingerprint.as_str()[..12],
    )))
}
