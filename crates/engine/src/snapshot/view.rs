//! Reading snapshots.

use coffer_model::{Instance, InstanceName, InstanceSnapshot, Phase, Profile, ProfileName, ProjectName, SnapshotName};

use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::instance::view::{ProfileMap, profiles_by_project};
use crate::request::SnapshotView;

impl Engine {
    /// Lists an instance's snapshots, the oldest first.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn snapshots(&self, project: &ProjectName, instance: &InstanceName) -> Result<Vec<SnapshotView>, EngineError> {
        let loaded = self.load(project, instance)?;
        let (snapshots, profiles) = self
            .inner
            .store
            .read(|conn| Ok((coffer_store::snapshot::of_instance(conn, project, instance)?, profiles_by_project(conn, Some(project))?)))?;
        let whole = snapshots.into_iter().filter(is_whole);
        Ok(whole.map(|snapshot| SnapshotView::of(&loaded.instance, snapshot, &profiles)).collect())
    }

    /// Reads one snapshot.
    ///
    /// # Errors
    /// If there is no such instance or snapshot.
    pub fn snapshot(&self, project: &ProjectName, instance: &InstanceName, name: &SnapshotName) -> Result<SnapshotView, EngineError> {
        let (loaded, snapshot) = self.load_snapshot(project, instance, name)?;
        let profiles = self.inner.store.read(|conn| profiles_by_project(conn, Some(project)))?;
        Ok(SnapshotView::of(&loaded.instance, snapshot, &profiles))
    }

    /// Reads an instance and one of its snapshots.
    pub(crate) fn load_snapshot(
        &self,
        project: &ProjectName,
        instance: &InstanceName,
        name: &SnapshotName,
    ) -> Result<(Loaded, InstanceSnapshot), EngineError> {
        let loaded = self.load(project, instance)?;
        let found = self.inner.store.read(|conn| coffer_store::snapshot::get(conn, project, instance, name))?;
        let found = found.filter(is_whole);
        Ok((loaded, found.ok_or_else(|| EngineError::not_found("snapshot", format_args!("{instance}/{name}")))?))
    }

    /// Reads the whole snapshots of an instance, the oldest first, each with the profiles that it names.
    pub(crate) fn snapshots_with_profiles(&self, instance: &Instance) -> Result<Vec<(InstanceSnapshot, Vec<Profile>)>, EngineError> {
        let (snapshots, profiles) = self.inner.store.read(|conn| {
            let snapshots = coffer_store::snapshot::of_instance(conn, &instance.project, &instance.name)?;
            let profiles = if snapshots.is_empty() { ProfileMap::new() } else { profiles_by_project(conn, Some(&instance.project))? };
            Ok((snapshots, profiles))
        })?;
        let whole = snapshots.into_iter().filter(is_whole);
        Ok(whole
            .map(|snapshot| {
                let own = named(&instance.project, &snapshot.profiles, &profiles);
                (snapshot, own)
            })
            .collect())
    }
}

impl SnapshotView {
    /// Shows a snapshot of `instance` with what its profiles are now.
    pub(crate) fn of(instance: &Instance, snapshot: InstanceSnapshot, profiles: &ProfileMap) -> Self {
        let own = named(&instance.project, &snapshot.profiles, profiles);
        Self { expanded_config: snapshot.expanded_config(&own), expanded_devices: snapshot.expanded_devices(&own), snapshot }
    }
}

/// One that is being made or deleted is for nobody to see.
pub(crate) fn is_whole(snapshot: &InstanceSnapshot) -> bool {
    snapshot.phase == Phase::Ready
}

fn named(project: &ProjectName, names: &[ProfileName], profiles: &ProfileMap) -> Vec<Profile> {
    names.iter().filter_map(|name| profiles.get(&(project.clone(), name.clone())).cloned()).collect()
}
