//! Copying an instance or a snapshot on this server.

use coffer_base::{Progress, Undo, fault};
use coffer_model::gate::{self, Origin};
use coffer_model::{Config, Devices, Instance, InstanceSnapshot, Phase, PoolName, SnapshotName, Time};
use coffer_storage::{Volume, copy_between, copy_between_after};
use coffer_store::project::Feature;

use super::names;
use super::refresh::{REFRESHED_FROM, refreshed_from};
use super::start::Loaded;
use super::templates::DEFERRED;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};
use crate::request::CopyInstance;
use crate::snapshot::is_whole;

/// What a copy is made of.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// The instance, as it was if a snapshot is copied.
    pub instance: Instance,
    /// The snapshot that is copied.
    pub snapshot: Option<SnapshotName>,
    /// The snapshots that go along, the oldest first.
    pub snapshots: Vec<InstanceSnapshot>,
}

/// What stands beside a root that is copied.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beside<'a> {
    /// Snapshots that go along, the oldest first.
    Snapshots(&'a [SnapshotName]),
    /// A snapshot that source and target have already, with one content; best the latest.
    Common(Option<&'a SnapshotName>),
}

/// The server's keys that tell about files, and so are true of a copy of these too.
pub(crate) const OF_COPIED_FILES: [&str; 2] = ["volatile.base_image", "volatile.last_state.idmap"];

impl Engine {
    /// Copies an instance or a snapshot in an operation, or brings an earlier copy up to date.
    ///
    /// # Errors
    /// If there is no such source, the copy's name is taken, the gate refuses it, or a copy to be brought up to date runs.
    pub fn copy_instance(&self, caller: &Caller, request: CopyInstance) -> Result<OperationView, EngineError> {
        let model = self.model_of(&request)?;
        if let (true, Some(name)) = (request.refresh, &request.name)
            && let Ok(target) = self.load(&request.project, name)
        {
            return self.refresh_instance(caller, model, target.instance, request.with_snapshots);
        }
        let (instance, id) = self.record_copy(&request, &model)?;
        let new = NewOperation::instance("Copying instance", &instance.project, instance.name.as_str());
        let (engine, caller, start) = (self.clone(), caller.clone(), request.start);
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let store = &engine.inner.store;
            let mut undo = Undo::new(|warning| tracing::warn!("taking back a copy: {warning}"));
            undo.push(format!("forgetting instance {}", instance.name), || {
                store.write(|tx| coffer_store::instance::delete(tx, &instance.project, &instance.name))
            });
            fault::point("copy.recorded").map_err(cut)?;
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim("creating")?;
            let from = engine.inner.cells.get(&model.instance.project, &model.instance.name).claim_beside_readers("copying")?;
            let names: Vec<SnapshotName> = model.snapshots.iter().map(|snapshot| snapshot.name.clone()).collect();
            let to = Volume::instance(&instance.project, &instance.name);
            operation.cancellable(|| {
                engine.copy_root(&from, &model, &instance.pool, &to, Beside::Snapshots(&names), &operation.progress())?;
                undo.push(format!("removing the volumes of instance {}", instance.name), || engine.remove_volumes(&instance));
                Ok(())
            })?;
            drop(from);
            fault::point("copy.volume-made").map_err(cut)?;
            engine.finish_copy(&instance, id)?;
            undo.keep();
            fault::point("copy.finished").map_err(cut)?;
            engine.lifecycle(&instance, "instance-created", Some(&caller));
            if start { engine.start(&claim, &instance, Some(&caller)) } else { Ok(()) }
        }))
    }

    /// Reads what is to be copied.
    fn model_of(&self, request: &CopyInstance) -> Result<Model, EngineError> {
        let (project, name) = (&request.source_project, &request.source);
        if let Some(snapshot) = &request.snapshot {
            let (loaded, kept) = self.load_snapshot(project, name, snapshot)?;
            return Ok(Model { instance: kept.as_instance(&loaded.instance), snapshot: Some(snapshot.clone()), snapshots: Vec::new() });
        }
        let instance = self.load(project, name)?.instance;
        if instance.phase != Phase::Ready {
            return Err(EngineError::Refused(format!("instance {name} is not whole: it is being made or deleted")));
        }
        let mut snapshots = Vec::new();
        if request.with_snapshots {
            snapshots = self.inner.store.read(|conn| coffer_store::snapshot::of_instance(conn, project, name))?;
            snapshots.retain(is_whole);
        }
        Ok(Model { instance, snapshot: None, snapshots })
    }

    /// Puts the copy together, passes it through the gate and records it as being created, with its snapshots.
    fn record_copy(&self, request: &CopyInstance, model: &Model) -> Result<(Instance, i64), EngineError> {
        let source = &model.instance;
        let profiles = request.profiles.clone().unwrap_or_else(|| source.profiles.clone());
        self.inner.store.try_write(|tx| {
            let home = coffer_store::project::home(tx, &request.project, Feature::Profiles)?;
            let loaded = coffer_store::profile::for_instance(tx, &home, &profiles)?;
            let name = match &request.name {
                Some(name) => name.clone(),
                None => names::free(|name| Ok(coffer_store::instance::get(tx, &request.project, name)?.is_some()))?,
            };
            let mut instance = Instance {
                project: request.project.clone(),
                name,
                architecture: source.architecture.clone(),
                description: request.description.clone(),
                ephemeral: request.ephemeral,
                profiles,
                config: merged_config(&request.config, &source.config),
                devices: merged_devices(&request.devices, &source.devices),
                pool: source.pool.clone(),
                created_at: Time::now(),
                last_used_at: None,
                phase: Phase::Creating,
            };
            if let Some((_, pool)) = instance.expanded_devices(&loaded).root() {
                instance.pool = pool;
            }
            let mut instance = gate::instance(instance, &loaded, None, Origin::Client)?.into_inner();
            for key in OF_COPIED_FILES {
                if let Some(value) = source.config.get(key) {
                    instance.config.set(key, value);
                }
            }
            // What has not run since the source was made is still to run in the copy.
            let deferred = source.config.get(DEFERRED).unwrap_or(coffer_image::Trigger::Copy.as_str());
            instance.config.set(DEFERRED, deferred);
            if request.refresh {
                instance.config.set(REFRESHED_FROM, refreshed_from(source));
            }
            let checked = self.complete(tx, instance, &loaded, None)?;
            self.references(tx, &checked, &loaded)?;
            let id = coffer_store::instance::insert(tx, &checked)?;
            for snapshot in &model.snapshots {
                let mut copied = copied_snapshot(snapshot);
                copied.profiles.retain(|name| matches!(coffer_store::profile::get(tx, &home, name), Ok(Some(_))));
                coffer_store::snapshot::insert(tx, &checked.project, &checked.name, &copied)?;
            }
            Ok((checked.into_inner(), id))
        })
    }

    /// Copies the volume of a claimed instance or of one of its snapshots, and the named snapshots of it.
    ///
    /// Where that takes more than a moment, a running instance is held still meanwhile.
    pub(crate) fn copy_root(
        &self,
        claim: &crate::live::Claim,
        model: &Model,
        pool: &PoolName,
        to: &Volume,
        beside: Beside<'_>,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let source = &model.instance;
        let (here, there) = (self.pool_driver(&source.pool)?, self.pool_driver(pool)?);
        let origin = Volume::instance(&source.project, &source.name);
        let from = model.snapshot.as_ref().map_or_else(|| origin.clone(), |name| origin.snapshot(name));
        let same = source.pool == *pool;
        let at_once = same && here.snapshots().is_some_and(|power| power.at_once());
        let still = if at_once || model.snapshot.is_some() { None } else { self.hold_still(claim, source)? };
        match beside {
            Beside::Snapshots(names) if same => here.copy(&from, to, names, progress)?,
            Beside::Common(_) if same => here.copy(&from, to, &[], progress)?,
            Beside::Snapshots(names) => copy_between(here.as_ref(), &from, there.as_ref(), to, names, progress)?,
            Beside::Common(None) => copy_between(here.as_ref(), &from, there.as_ref(), to, &[], progress)?,
            Beside::Common(Some(common)) => copy_between_after(here.as_ref(), &from, there.as_ref(), to, common, progress)?,
        }
        drop(still);
        Ok(())
    }

    fn finish_copy(&self, instance: &Instance, id: i64) -> Result<(), EngineError> {
        let whole = Instance { phase: Phase::Ready, ..instance.clone() };
        let loaded = Loaded { instance: whole, id, ..self.load(&instance.project, &instance.name)? };
        self.set_root_size(self.pool_driver(&instance.pool)?.as_ref(), &loaded)?;
        self.write_backup(&loaded)?;
        self.schedule_may_have_changed(&loaded.config);
        Ok(self.inner.store.write(|tx| coffer_store::instance::set_phase(tx, &instance.project, &instance.name, Phase::Ready))?)
    }
}

/// A snapshot as it goes along with a copy: what the server wrote down about the source is not true of it.
pub(crate) fn copied_snapshot(snapshot: &InstanceSnapshot) -> InstanceSnapshot {
    let stays = |key: &str| !key.starts_with("volatile.") || OF_COPIED_FILES.contains(&key);
    let config = snapshot.config.iter().filter(|(key, _)| stays(key)).collect();
    InstanceSnapshot { config, phase: Phase::Ready, renamed_from: None, ..snapshot.clone() }
}

/// What was asked for over what the source has. Clients send what they read of the source, the server's own keys too.
fn merged_config(asked: &Config, source: &Config) -> Config {
    let own = |config: &Config| config.iter().filter(|(key, _)| !key.starts_with("volatile.")).collect::<Config>();
    let mut config = own(source);
    config.merge(&own(asked));
    config.0.retain(|_, value| !value.is_empty());
    config
}

fn merged_devices(asked: &Devices, source: &Devices) -> Devices {
    let mut devices = source.clone();
    devices.0.extend(asked.0.iter().map(|(name, keys)| (name.clone(), keys.clone())));
    devices
}

fn cut(cause: std::io::Error) -> EngineError {
    EngineError::system("copying", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_wins_and_the_servers_own_keys_stay_behind() {
        let source = [("limits.cpu", "2"), ("user.a", "1"), ("user.b", "1"), ("volatile.eth0.hwaddr", "x")].into_iter().collect();
        let asked = [("user.a", "2"), ("user.b", ""), ("volatile.base_image", "y")].into_iter().collect();
        assert_eq!(merged_config(&asked, &source), [("limits.cpu", "2"), ("user.a", "2")].into_iter().collect());
    }
}
