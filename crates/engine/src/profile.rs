//! Profiles.

use coffer_base::{Undo, fault};
use coffer_model::gate::{self, Origin};
use coffer_model::{Checked, Instance, Profile, ProfileName, ProjectName};
use coffer_store::project::Feature;
use coffer_store::{Conn, StoreError};

use crate::error::EngineError;
use crate::events::Caller;
use crate::instance::start::Loaded;
use crate::instance::unsettled;
use crate::request::{ProfileView, Scope};
use crate::used_by;
use crate::{Engine, Precondition};

impl Engine {
    /// Lists profiles with their users.
    ///
    /// # Errors
    /// If the project does not exist.
    pub fn profiles(&self, scope: &Scope) -> Result<Vec<ProfileView>, EngineError> {
        Ok(self.inner.store.read(|conn| {
            let home = match scope {
                Scope::Project(project) => Some(coffer_store::project::home(conn, project, Feature::Profiles)?),
                Scope::All => None,
            };
            let profiles = coffer_store::profile::list(conn, home.as_ref())?;
            profiles.into_iter().map(|profile| view(conn, profile)).collect()
        })?)
    }

    /// Reads one profile with its users.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn profile(&self, project: &ProjectName, name: &ProfileName) -> Result<ProfileView, EngineError> {
        let found = self.inner.store.read(|conn| {
            let home = coffer_store::project::home(conn, project, Feature::Profiles)?;
            coffer_store::profile::get(conn, &home, name)?.map(|profile| view(conn, profile)).transpose()
        })?;
        found.ok_or_else(|| EngineError::not_found("profile", name))
    }

    /// Makes a profile.
    ///
    /// # Errors
    /// If the gate refuses it or it exists already.
    pub fn create_profile(&self, caller: &Caller, profile: Profile) -> Result<(), EngineError> {
        let home = self.profile_home(&profile.project)?;
        let checked = gate::profile(Profile { project: home, ..profile })?;
        self.inner.store.write(|tx| coffer_store::profile::insert(tx, &checked))?;
        self.tell_profile(&checked, "profile-created", caller);
        Ok(())
    }

    /// Replaces a profile. Every instance that uses it must stay valid with it; running ones change at once.
    ///
    /// # Errors
    /// If it does not exist, changed since the client read it, or the gate refuses it or an instance with it.
    pub fn update_profile(&self, caller: &Caller, profile: Profile, only_if: Precondition<'_, Profile>) -> Result<(), EngineError> {
        let home = self.profile_home(&profile.project)?;
        let checked = gate::profile(Profile { project: home.clone(), ..profile })?;
        let users = self.inner.store.try_write(|tx| {
            let now = coffer_store::profile::get(tx, &home, &checked.name)?;
            let now = now.ok_or_else(|| EngineError::not_found("profile", &checked.name))?;
            if only_if.is_some_and(|check| !check(&now)) {
                return Err(EngineError::Changed { entity: "profile", name: now.name.to_string() });
            }
            let users = self.check_users(tx, &checked)?;
            coffer_store::profile::update(tx, &checked)?;
            for (before, _) in &users {
                unsettled::note(tx, &before.instance, &before.expanded())?;
            }
            Ok(users)
        })?;
        fault::point("profile-change.recorded").map_err(|cause| EngineError::system("changing the profile", cause))?;
        self.tell_profile(&checked, "profile-updated", caller);
        self.schedule_may_have_changed(&checked.config);
        self.change_users(users)
    }

    /// Renames a profile; `default` keeps its name.
    ///
    /// # Errors
    /// If it does not exist, is `default`, or the new name is taken.
    pub fn rename_profile(&self, caller: &Caller, project: &ProjectName, name: &ProfileName, new: &ProfileName) -> Result<(), EngineError> {
        refuse_default(name, "renamed")?;
        let home = self.profile_home(project)?;
        self.inner.store.write(|tx| coffer_store::profile::rename(tx, &home, name, new))?;
        self.events().renamed(Some(&home), "profile-renamed", format!("/1.0/profiles/{new}"), name, Some(caller));
        Ok(())
    }

    /// Deletes a profile that nobody uses.
    ///
    /// # Errors
    /// If it does not exist, is `default`, or is in use.
    pub fn delete_profile(&self, caller: &Caller, project: &ProjectName, name: &ProfileName) -> Result<(), EngineError> {
        refuse_default(name, "deleted")?;
        let home = self.profile_home(project)?;
        self.inner.store.write(|tx| coffer_store::profile::delete(tx, &home, name))?;
        self.events().lifecycle(Some(&home), "profile-deleted", format!("/1.0/profiles/{name}"), Some(caller));
        Ok(())
    }

    /// The instances that use a profile, as they are and as they will be; each checked with it.
    fn check_users(&self, conn: &Conn, new: &Checked<Profile>) -> Result<Vec<(Loaded, Loaded)>, EngineError> {
        let mut users = Vec::new();
        for instance in used_by::instances_of_profile(conn, &new.project, &new.name)? {
            let before = coffer_store::profile::for_instance(conn, &new.project, &instance.profiles)?;
            let after: Vec<Profile> =
                before.iter().map(|profile| if profile.name == new.name { (**new).clone() } else { profile.clone() }).collect();
            let checked = gate::instance(instance.clone(), &after, Some(&instance), Origin::Server)?;
            self.references(conn, &checked, &after)?;
            let id = coffer_store::instance::get_with_id(conn, &instance.project, &instance.name)?.map_or(0, |(id, _)| id);
            users.push((loaded(instance, id, before), loaded(checked.into_inner(), id, after)));
        }
        Ok(users)
    }

    /// Makes the instances have their changed profile. One that cannot now has it after its next start, and is named.
    fn change_users(&self, users: Vec<(Loaded, Loaded)>) -> Result<(), EngineError> {
        let mut failed = Vec::new();
        for (before, after) in users {
            let cell = self.inner.cells.get(&after.instance.project, &after.instance.name);
            let changed = cell.claim_beside_readers("changing").and_then(|claim| {
                let mut undo = Undo::new(|warning| tracing::warn!("taking back a change: {warning}"));
                let keys = self.apply_live(&claim, &before, &after, &mut undo)?;
                let keys: Vec<(String, Option<String>)> = keys.into_iter().map(|(key, value)| (key, Some(value))).collect();
                let (project, name) = (&after.instance.project, &after.instance.name);
                self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, project, name, &keys))?;
                undo.keep();
                self.write_backup(&self.load(project, name)?)
            });
            let changed = changed.and_then(|()| self.forget_change(&after.instance));
            if let Err(error) = changed {
                failed.push(format!("{}: {}", after.instance.name, coffer_base::chain(&error)));
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(EngineError::Refused(format!(
            "the profile was changed, but these instances take it only after a restart: {}",
            failed.join("; ")
        )))
    }

    fn profile_home(&self, project: &ProjectName) -> Result<ProjectName, StoreError> {
        self.inner.store.read(|conn| coffer_store::project::home(conn, project, Feature::Profiles))
    }

    fn tell_profile(&self, profile: &Profile, action: &'static str, caller: &Caller) {
        self.events().lifecycle(Some(&profile.project), action, format!("/1.0/profiles/{}", profile.name), Some(caller));
    }
}

fn view(conn: &Conn, profile: Profile) -> Result<ProfileView, StoreError> {
    let used_by = used_by::instances_of_profile(conn, &profile.project, &profile.name)?;
    let used_by = used_by.iter().map(|instance| used_by::url("instances", &instance.project, instance.name.as_str())).collect();
    Ok(ProfileView { profile, used_by })
}

fn loaded(instance: Instance, id: i64, profiles: Vec<Profile>) -> Loaded {
    let config = instance.expanded_config(&profiles);
    Loaded { instance, id, profiles, config }
}

fn refuse_default(name: &ProfileName, what: &'static str) -> Result<(), EngineError> {
    if *name == ProfileName::default_profile() {
        return Err(EngineError::Refused(format!("profile default cannot be {what}")));
    }
    Ok(())
}
