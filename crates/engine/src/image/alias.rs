//! Image aliases.

use coffer_model::{Alias, AliasName, ProjectName};
use coffer_store::project::Feature;

use crate::error::EngineError;
use crate::events::Caller;
use crate::{Engine, Precondition};

impl Engine {
    /// Lists a project's aliases.
    ///
    /// # Errors
    /// If the project does not exist.
    pub fn aliases(&self, project: &ProjectName) -> Result<Vec<Alias>, EngineError> {
        Ok(self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            coffer_store::alias::list(conn, Some(&home))
        })?)
    }

    /// Reads one alias.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn alias(&self, project: &ProjectName, name: &AliasName) -> Result<Alias, EngineError> {
        let found = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Images)?;
            coffer_store::alias::get(conn, &home, name)
        })?;
        found.ok_or_else(|| EngineError::not_found("image alias", name))
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// If the image does not exist or the alias does already.
    pub fn create_alias(&self, caller: &Caller, alias: Alias) -> Result<(), EngineError> {
        let image = self.find_image(&alias.project, alias.target.as_str())?;
        let alias = Alias { project: image.project, ..alias };
        self.inner.store.write(|tx| coffer_store::alias::insert(tx, &alias))?;
        self.tell_alias(&alias, "image-alias-created", caller);
        Ok(())
    }

    /// Replaces an alias.
    ///
    /// # Errors
    /// If it does not exist, changed since the client read it, or its new image does not exist.
    pub fn update_alias(&self, caller: &Caller, alias: Alias, only_if: Precondition<'_, Alias>) -> Result<(), EngineError> {
        let image = self.find_image(&alias.project, alias.target.as_str())?;
        let alias = Alias { project: image.project, ..alias };
        self.inner.store.try_write(|tx| {
            let now = coffer_store::alias::get(tx, &alias.project, &alias.name)?;
            let now = now.ok_or_else(|| EngineError::not_found("image alias", &alias.name))?;
            if only_if.is_some_and(|check| !check(&now)) {
                return Err(EngineError::Changed { entity: "image alias", name: now.name.to_string() });
            }
            Ok(coffer_store::alias::update(tx, &alias)?)
        })?;
        self.tell_alias(&alias, "image-alias-updated", caller);
        Ok(())
    }

    /// Renames an alias.
    ///
    /// # Errors
    /// If it does not exist or the new name is taken.
    pub fn rename_alias(&self, caller: &Caller, project: &ProjectName, name: &AliasName, new: &AliasName) -> Result<(), EngineError> {
        let alias = self.alias(project, name)?;
        self.inner.store.write(|tx| coffer_store::alias::rename(tx, &alias.project, name, new))?;
        self.events().renamed(Some(&alias.project), "image-alias-renamed", format!("/1.0/images/aliases/{new}"), name, Some(caller));
        Ok(())
    }

    /// Removes an alias; its image stays.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn delete_alias(&self, caller: &Caller, project: &ProjectName, name: &AliasName) -> Result<(), EngineError> {
        let alias = self.alias(project, name)?;
        self.inner.store.write(|tx| coffer_store::alias::delete(tx, &alias.project, name))?;
        self.tell_alias(&alias, "image-alias-deleted", caller);
        Ok(())
    }

    fn tell_alias(&self, alias: &Alias, action: &'static str, caller: &Caller) {
        let context = Some(serde_json::json!({ "target": alias.target.as_str() }));
        self.events().lifecycle_with(Some(&alias.project), action, format!("/1.0/images/aliases/{}", alias.name), context, Some(caller));
    }
}
