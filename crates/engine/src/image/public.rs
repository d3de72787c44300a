//! What callers that are not trusted see of images: the public ones, as if there were no others.

use coffer_model::{Alias, AliasName, ProjectName};
use coffer_store::StoreError;

use crate::Engine;
use crate::error::EngineError;
use crate::request::{ImageView, Scope};

impl Engine {
    /// Lists the public images of a project. One that does not exist has none.
    ///
    /// # Errors
    /// Only the store's.
    pub fn public_images(&self, project: &ProjectName) -> Result<Vec<ImageView>, EngineError> {
        match self.images(&Scope::Project(project.clone())) {
            Ok(mut views) => {
                views.retain(|view| view.image.public);
                Ok(views)
            }
            Err(EngineError::Store(StoreError::NotFound(_))) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Reads a public image by the beginning of its fingerprint, which no other public image's has.
    ///
    /// # Errors
    /// If there is none, whatever there is besides.
    pub fn public_image(&self, project: &ProjectName, prefix: &str) -> Result<ImageView, EngineError> {
        let missing = || EngineError::not_found("image", prefix);
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let prefix = prefix.to_ascii_lowercase();
        let mut found = self.public_images(project)?.into_iter().filter(|view| view.image.fingerprint.as_str().starts_with(&prefix));
        match (found.next(), found.next()) {
            (Some(view), None) => Ok(view),
            _ => Err(missing()),
        }
    }

    /// Reads the alias of a public image.
    ///
    /// # Errors
    /// If there is none, whatever there is besides.
    pub fn public_alias(&self, project: &ProjectName, name: &AliasName) -> Result<Alias, EngineError> {
        let missing = || EngineError::not_found("image alias", name);
        let alias = self.alias(project, name).map_err(|_| missing())?;
        self.public_image(project, alias.target.as_str()).map_err(|_| missing())?;
        Ok(alias)
    }
}
