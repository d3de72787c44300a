//! Projects.

use coffer_model::{Config, Devices, Profile, ProfileName, Project, ProjectName, key, keys};

use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};
use crate::request::Scope;
use crate::{Detail, Engine, Precondition, used_by};

impl Engine {
    /// Lists projects with their users.
    ///
    /// # Errors
    /// Only the store's.
    pub fn projects(&self) -> Result<Vec<(Project, Vec<String>)>, EngineError> {
        let projects = self.inner.store.read(coffer_store::project::list)?;
        projects.into_iter().map(|project| self.with_users(project)).collect()
    }

    /// Reads one project with its users.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn project(&self, name: &ProjectName) -> Result<(Project, Vec<String>), EngineError> {
        let found = self.inner.store.read(|conn| coffer_store::project::get(conn, name))?;
        self.with_users(found.ok_or_else(|| EngineError::not_found("project", name))?)
    }

    /// Makes a project with a profile `default` of its own.
    ///
    /// # Errors
    /// If a key is refused or the project exists already.
    pub fn create_project(&self, caller: &Caller, mut project: Project) -> Result<(), EngineError> {
        check(&project)?;
        own(&mut project, |feature| feature != "features.networks");
        let default = default_profile(&project.name)?;
        self.inner.store.write(|tx| {
            coffer_store::project::insert(tx, &project)?;
            if project.has("features.profiles") {
                coffer_store::profile::insert(tx, &default)?;
            }
            Ok(())
        })?;
        self.tell_project(&project.name, "project-created", caller);
        Ok(())
    }

    /// Replaces a project's description and configuration. Features stay as they are while the project holds anything.
    ///
    /// # Errors
    /// If it does not exist, changed since the client read it, a key is refused, or a feature would change under its things.
    pub fn update_project(&self, caller: &Caller, mut project: Project, only_if: Precondition<'_, Project>) -> Result<(), EngineError> {
        check(&project)?;
        // Left out, a feature is off and not shown either: who says the same again is to find nothing changed.
        let all = project.name.is_default();
        own(&mut project, |_| all);
        let (now, users) = self.project(&project.name)?;
        if only_if.is_some_and(|check| !check(&now)) {
            return Err(EngineError::Changed { entity: "project", name: now.name.to_string() });
        }
        let changed = |feature: &str| now.has(feature) != project.has(feature);
        if let Some(feature) = FEATURES.iter().find(|feature| changed(feature)) {
            if now.name.is_default() {
                return Err(EngineError::Refused(format!("project default: {feature} is always on")));
            }
            if !others(&now.name, users).is_empty() {
                return Err(EngineError::Refused(format!("project {}: {feature} can change only while the project is empty", now.name)));
            }
        }
        let default = default_profile(&project.name)?;
        self.inner.store.write(|tx| {
            coffer_store::project::update(tx, &project)?;
            match (changed("features.profiles"), project.has("features.profiles")) {
                (true, true) => coffer_store::profile::insert(tx, &default).map(drop),
                (true, false) => coffer_store::profile::delete(tx, &project.name, &default.name),
                (false, _) => Ok(()),
            }
        })?;
        self.tell_project(&project.name, "project-updated", caller);
        Ok(())
    }

    /// Renames a project that holds nothing, in an operation.
    ///
    /// # Errors
    /// If it does not exist, holds something, is `default`, or the new name is taken.
    pub fn rename_project(&self, caller: &Caller, name: &ProjectName, new: &ProjectName) -> Result<OperationView, EngineError> {
        self.refuse_default_or_used(name, "renamed")?;
        if self.inner.store.read(|conn| coffer_store::project::get(conn, new))?.is_some() {
            return Err(EngineError::exists("project", new));
        }
        let resources = [("projects", vec![format!("/1.0/projects/{name}")])].into();
        let operation = NewOperation::task("Renaming project", &ProjectName::default_project(), resources);
        let (engine, caller, name, new) = (self.clone(), caller.clone(), name.clone(), new.clone());
        Ok(self.operations().spawn(operation.by(&caller), move |_| {
            engine.refuse_default_or_used(&name, "renamed")?;
            engine.inner.store.write(|tx| coffer_store::project::rename(tx, &name, &new))?;
            engine.events().renamed(None, "project-renamed", format!("/1.0/projects/{new}"), &name, Some(&caller));
            Ok(())
        }))
    }

    /// Says what a project uses: instances, and what is promised to them.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn project_usage(&self, name: &ProjectName) -> Result<ProjectUsage, EngineError> {
        let (project, _) = self.project(name)?;
        let views = self.instances(&Scope::Project(project.name.clone()), Detail::Plain)?;
        let networks = self.inner.store.read(|conn| coffer_store::network::list(conn, Some(&project.name)))?;
        let volumes = self.inner.store.read(|conn| coffer_store::volume::list(conn, None, Some(&project.name)))?;
        let mut usage = ProjectUsage { containers: views.len() as u64, networks: networks.len() as u64, ..ProjectUsage::default() };
        let size = |text: Option<&str>| text.and_then(|text| text.parse::<coffer_base::Bytes>().ok()).map_or(0, |bytes| bytes.0);
        for view in &views {
            let number = |key: &str| view.expanded_config.parse::<u64>(key).unwrap_or(0);
            usage.cpu += number("limits.cpu");
            usage.processes += number("limits.processes");
            usage.memory += size(view.expanded_config.get("limits.memory"));
            let root = view.expanded_devices.0.values().find(|device| device.get("path") == Some("/"));
            usage.disk += size(root.and_then(|root| root.get("size")));
        }
        usage.disk += volumes.iter().map(|volume| size(volume.config.get("size"))).sum::<u64>();
        Ok(usage)
    }

    /// Deletes a project that holds nothing.
    ///
    /// # Errors
    /// If it does not exist, holds something, or is `default`.
    pub fn delete_project(&self, caller: &Caller, name: &ProjectName) -> Result<(), EngineError> {
        self.refuse_default_or_used(name, "deleted")?;
        self.inner.store.write(|tx| coffer_store::project::delete(tx, name))?;
        self.tell_project(name, "project-deleted", caller);
        Ok(())
    }

    fn refuse_default_or_used(&self, name: &ProjectName, what: &'static str) -> Result<(), EngineError> {
        let (_, users) = self.project(name)?;
        if name.is_default() {
            return Err(EngineError::Refused(format!("project default cannot be {what}")));
        }
        let users = others(name, users);
        if users.is_empty() {
            return Ok(());
        }
        Err(EngineError::InUse { entity: "project", name: name.to_string(), users: users.join(", ") })
    }

    fn with_users(&self, project: Project) -> Result<(Project, Vec<String>), EngineError> {
        let scope = Scope::Project(project.name.clone());
        let mut users = Vec::new();
        if project.has("features.images") {
            let images = self.images(&scope)?;
            users.extend(images.iter().map(|view| used_by::url("images", &project.name, view.image.fingerprint.as_str())));
        }
        if project.has("features.profiles") {
            let profiles = self.profiles(&scope)?;
            users.extend(profiles.iter().map(|view| used_by::url("profiles", &project.name, view.profile.name.as_str())));
        }
        let instances = self.instances(&scope, Detail::Plain)?;
        users.extend(instances.iter().map(|view| used_by::url("instances", &project.name, view.instance.name.as_str())));
        if project.has("features.networks") {
            let networks = self.inner.store.read(|conn| coffer_store::network::list(conn, Some(&project.name)))?;
            users.extend(networks.iter().map(|network| used_by::url("networks", &project.name, network.name.as_str())));
        }
        if project.has("features.storage.volumes") {
            let volumes = self.inner.store.read(|conn| coffer_store::volume::list(conn, None, Some(&project.name)))?;
            users.extend(volumes.iter().map(used_by::volume_url));
        }
        Ok((project, users))
    }

    fn tell_project(&self, name: &ProjectName, action: &'static str, caller: &Caller) {
        self.events().lifecycle(None, action, format!("/1.0/projects/{name}"), Some(caller));
    }
}

/// What a project uses: numbers of things, and what is promised to its instances and volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProjectUsage {
    /// Containers.
    pub containers: u64,
    /// Networks of its own.
    pub networks: u64,
    /// Processors.
    pub cpu: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Processes.
    pub processes: u64,
    /// Bytes of root disks and volumes.
    pub disk: u64,
}

/// The profile that a project of that name begins with.
fn default_profile(project: &ProjectName) -> Result<coffer_model::Checked<Profile>, EngineError> {
    let profile = Profile {
        project: project.clone(),
        name: ProfileName::default_profile(),
        description: format!("Default Coffer profile for project {project}"),
        config: Config::default(),
        devices: Devices::default(),
    };
    Ok(coffer_model::gate::profile(profile)?)
}

/// Who uses a project beside its own default profile, without which it would be none.
fn others(project: &ProjectName, users: Vec<String>) -> Vec<String> {
    let own_profile = used_by::url("profiles", project, "default");
    users.into_iter().filter(|url| *url != own_profile).collect()
}

/// What a project can have of its own. A new one has all but networks unless said, as with LXD.
const FEATURES: &[&str] = &["features.images", "features.networks", "features.profiles", "features.storage.volumes"];

/// Gives a project things of its own of these kinds, where nothing is said.
fn own(project: &mut Project, which: impl Fn(&str) -> bool) {
    for feature in FEATURES.iter().filter(|feature| which(feature)) {
        if project.config.get(feature).is_none() {
            project.config.set(*feature, "true");
        }
    }
}

fn check(project: &Project) -> Result<(), EngineError> {
    for (name, value) in project.config.iter() {
        key::check("project", keys::PROJECT, name, value)?;
    }
    Ok(())
}
