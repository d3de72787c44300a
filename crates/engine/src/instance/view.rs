//! Reading instances.

use std::collections::HashMap;

use coffer_model::{Backup, BackupOwner, Instance, InstanceName, InstanceSnapshot, Profile, ProfileName, ProjectName};
use coffer_network::Inspector;
use coffer_store::project::Feature;
use coffer_store::{Conn, StoreError};

use super::start::Loaded;
use crate::Engine;
use crate::backup::of_instance;
use crate::error::EngineError;
use crate::request::{Detail, InstanceView, Scope, SnapshotView};
use crate::snapshot::is_whole;

/// How many instances are worth a thread of their own.
const SHARE: usize = 16;

impl Engine {
    /// Lists instances by project and name. Starts no process and enters no namespace.
    ///
    /// # Errors
    /// If the project does not exist.
    pub fn instances(&self, scope: &Scope, detail: Detail) -> Result<Vec<InstanceView>, EngineError> {
        let (instances, profiles, snapshots, backups) = self.inner.store.read(|conn| {
            let project = match scope {
                Scope::Project(project) => Some(project),
                Scope::All => None,
            };
            let instances = coffer_store::instance::list(conn, project)?;
            let snapshots = if detail == Detail::Full { coffer_store::snapshot::list(conn, project)? } else { Vec::new() };
            let backups = if detail == Detail::Full { coffer_store::kept_backup::of_instances(conn, project)? } else { Vec::new() };
            Ok((instances, profiles_by_project(conn, project)?, snapshots, backups))
        })?;
        let mut kept: HashMap<BackupOwner, Vec<Backup>> = HashMap::new();
        for owned in backups {
            kept.entry(owned.owner).or_default().push(owned.backup);
        }
        let mut by_instance: HashMap<(ProjectName, InstanceName), Vec<InstanceSnapshot>> = HashMap::new();
        for owned in snapshots.into_iter().filter(|owned| is_whole(&owned.snapshot)) {
            by_instance.entry((owned.project, owned.instance)).or_default().push(owned.snapshot);
        }
        let with_all = |instance: Instance| {
            let snapshots = by_instance.remove(&(instance.project.clone(), instance.name.clone())).unwrap_or_default();
            let backups = kept.remove(&of_instance(&instance)).unwrap_or_default();
            (instance, snapshots, backups)
        };
        let instances: Vec<_> = instances.into_iter().map(with_all).collect();
        // What runs is looked at in the kernel, one call after another: several threads do that side by side.
        let least = if detail == Detail::Full { SHARE } else { usize::MAX };
        let inspector = Inspector::default();
        Ok(coffer_base::spread(instances, least, |share| {
            let mut inspector = inspector.beside();
            let view = |(instance, snapshots, backups): (Instance, Vec<InstanceSnapshot>, Vec<Backup>)| {
                let own = |name: &ProfileName| profiles.get(&(instance.project.clone(), name.clone())).cloned();
                let own: Vec<Profile> = instance.profiles.iter().filter_map(own).collect();
                let snapshots = snapshots.into_iter().map(|snapshot| SnapshotView::of(&instance, snapshot, &profiles)).collect();
                InstanceView { snapshots, backups, ..self.view(instance, &own, detail, &mut inspector) }
            };
            share.into_iter().map(view).collect()
        }))
    }

    /// Reads one instance.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn instance(&self, project: &ProjectName, name: &InstanceName, detail: Detail) -> Result<InstanceView, EngineError> {
        let loaded = self.load(project, name)?;
        let snapshots = if detail == Detail::Full { self.snapshots(project, name)? } else { Vec::new() };
        let backups = if detail == Detail::Full { self.backups(&of_instance(&loaded.instance))? } else { Vec::new() };
        Ok(InstanceView { snapshots, backups, ..self.view(loaded.instance, &loaded.profiles, detail, &mut Inspector::default()) })
    }

    /// Reads an instance with its profiles.
    pub(crate) fn load(&self, project: &ProjectName, name: &InstanceName) -> Result<Loaded, EngineError> {
        let found = self.inner.store.read(|conn| {
            let Some((id, instance)) = coffer_store::instance::get_with_id(conn, project, name)? else { return Ok(None) };
            let home = coffer_store::project::home(conn, project, Feature::Profiles)?;
            let profiles = coffer_store::profile::for_instance(conn, &home, &instance.profiles)?;
            let config = instance.expanded_config(&profiles);
            Ok(Some(Loaded { instance, id, profiles, config }))
        })?;
        found.ok_or_else(|| {
            let all = self.inner.store.read(|conn| coffer_store::instance::list(conn, Some(project))).unwrap_or_default();
            EngineError::not_found_among("instance", name.as_str(), all.iter().map(|instance| instance.name.as_str()))
        })
    }

    fn view(&self, instance: Instance, profiles: &[Profile], detail: Detail, inspector: &mut Inspector) -> InstanceView {
        let (status, running) = self.inner.cells.peek(&instance.project, &instance.name);
        let expanded_devices = instance.expanded_devices(profiles);
        let state = (detail == Detail::Full).then(|| self.usage(&instance, &expanded_devices, status, running.as_deref(), inspector));
        InstanceView {
            expanded_config: instance.expanded_config(profiles),
            expanded_devices,
            ready: self.inner.cells.is_ready(&instance.project, &instance.name),
            status,
            state,
            snapshots: Vec::new(),
            backups: Vec::new(),
            instance,
        }
    }
}

/// Profiles by the project that sees them.
pub(crate) type ProfileMap = HashMap<(ProjectName, ProfileName), Profile>;

/// All profiles by the project that sees them.
pub(crate) fn profiles_by_project(conn: &Conn, project: Option<&ProjectName>) -> Result<ProfileMap, StoreError> {
    let projects: Vec<ProjectName> = match project {
        Some(project) => vec![project.clone()],
        None => coffer_store::project::list(conn)?.into_iter().map(|project| project.name).collect(),
    };
    let mut map = HashMap::new();
    for project in projects {
        let home = coffer_store::project::home(conn, &project, Feature::Profiles)?;
        for profile in coffer_store::profile::list(conn, Some(&home))? {
            map.insert((project.clone(), profile.name.clone()), profile);
        }
    }
    Ok(map)
}
