//! Moving a stopped instance: to another name, project or pool.
//!
//! ```text
//!   another pool:  note where to ─▶ copy the volumes ─▶ write the record, note where from ─▶ remove the old volumes
//!   the same pool:                                      write the record, note where from ─▶ rename the volumes
//! ```
//! Before the record is written the instance is where it was, afterwards it is where it goes; the notes let recovery
//! remove what is too much or finish.

use std::fmt;
use std::str::FromStr;

use coffer_base::{Undo, fault};
use coffer_model::gate::{self, Origin};
use coffer_model::{
    BackupOwner, Checked, Config, DeviceName, Devices, Instance, InstanceName, PoolName, ProjectName, SnapshotName, Status,
};
use coffer_storage::{Volume, copy_between};
use coffer_store::project::Feature;

use super::cloud_init::{INSTANCE_ID, new_id};
use super::start::Loaded;
use super::templates::DEFERRED;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::MoveInstance;
use crate::snapshot::delete_volume;

/// Where a move that is under way remembers where it goes.
const MOVING_TO: &str = "volatile.moving_to";

/// Where a move that is recorded remembers where the volumes may still be.
const MOVED_FROM: &str = "volatile.moved_from";

/// Where an instance's volumes are, as `POOL/PROJECT/NAME`; none of the three can hold a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whereabouts {
    pool: PoolName,
    project: ProjectName,
    name: InstanceName,
}

impl Engine {
    /// Moves a stopped instance to another name, project or pool, in an operation.
    ///
    /// # Errors
    /// If there is no such instance, it runs, nothing would change, the new name is taken, or the gate refuses what it would
    /// be there.
    pub fn move_instance(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        request: MoveInstance,
    ) -> Result<OperationView, EngineError> {
        let loaded = self.load(project, name)?;
        let cell = self.inner.cells.get(project, name);
        if cell.status() != Status::Stopped {
            return Err(cell.wrong_state(cell.status(), "it can be renamed or moved only when it is stopped"));
        }
        self.moved(&loaded, &request)?;
        let pure_rename = request.project.is_none() && request.pool.is_none();
        let what = if pure_rename { "Renaming instance" } else { "Moving instance" };
        let new = NewOperation::instance(what, project, name.as_str());
        let (engine, caller, instance) = (self.clone(), caller.clone(), loaded.instance);
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let claim = cell.claim("moving")?;
            if cell.status() != Status::Stopped {
                return Err(cell.wrong_state(cell.status(), "it can be renamed or moved only when it is stopped"));
            }
            let old = engine.load(&instance.project, &instance.name)?;
            let new = engine.moved(&old, &request)?;
            if Whereabouts::of(&old.instance).key() == Whereabouts::of(&new).key() {
                engine.relocate(&old.instance, &new, operation)?;
            } else {
                let _there = engine.inner.cells.get(&new.project, &new.name).claim("moving")?;
                engine.relocate(&old.instance, &new, operation)?;
                engine.inner.cells.forget(&instance.project, &instance.name);
            }
            drop(claim);
            if request.without_snapshots {
                for view in engine.snapshots(&new.project, &new.name)? {
                    engine.remove_snapshot(&new, &view.snapshot.name, Some(&caller))?;
                }
            }
            if pure_rename {
                let source = format!("/1.0/instances/{}", new.name);
                engine.events().renamed(Some(&new.project), "instance-renamed", source, &instance.name, Some(&caller));
            } else {
                engine.lifecycle(&new, "instance-updated", Some(&caller));
            }
            Ok(())
        }))
    }

    /// The instance as it will be there, if it can be.
    fn moved(&self, old: &Loaded, request: &MoveInstance) -> Result<Checked<Instance>, EngineError> {
        let mut new = old.instance.clone();
        new.name = request.name.clone().unwrap_or(new.name);
        new.project = request.project.clone().unwrap_or(new.project);
        let expanded = old.instance.expanded_devices(&old.profiles);
        if let Some((name, keys)) = request.pool.as_ref().and_then(|pool| root_in_pool(&expanded, pool)) {
            new.devices.0.insert(name, keys);
        }
        self.inner.store.try_read(|conn| {
            if coffer_store::project::get(conn, &new.project)?.is_none() {
                return Err(EngineError::not_found("project", &new.project));
            }
            let home = coffer_store::project::home(conn, &new.project, Feature::Profiles)?;
            let profiles = coffer_store::profile::for_instance(conn, &home, &new.profiles)?;
            if let Some((_, pool)) = new.expanded_devices(&profiles).root() {
                new.pool = pool;
            }
            let (here, there) = (Whereabouts::of(&old.instance), Whereabouts::of(&new));
            if here == there {
                return Err(EngineError::Refused(format!("instance {} is there already: nothing would change", new.name)));
            }
            if here.key() != there.key() && coffer_store::instance::get(conn, &new.project, &new.name)?.is_some() {
                return Err(EngineError::exists("instance", &new.name));
            }
            let checked = gate::instance(new, &profiles, None, Origin::Server)?;
            self.references(conn, &checked, &profiles)?;
            Ok(checked)
        })
    }

    fn relocate(&self, old: &Instance, new: &Checked<Instance>, operation: &OperationHandle) -> Result<(), EngineError> {
        let (here, there) = (Whereabouts::of(old), Whereabouts::of(new));
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a move: {warning}"));
        if here.pool != there.pool {
            self.note_move(old, MOVING_TO, Some(&there))?;
            undo.push(format!("forgetting where instance {} was going", old.name), || self.note_move(old, MOVING_TO, None));
            fault::point("move.recorded").map_err(cut)?;
            let power = self.pool_driver(&here.pool)?;
            let snapshots: Vec<SnapshotName> = power.snapshots().map_or_else(|| Ok(Vec::new()), |all| all.list(&here.volume()))?;
            let target = self.pool_driver(&there.pool)?;
            copy_between(power.as_ref(), &here.volume(), target.as_ref(), &there.volume(), &snapshots, &operation.progress())?;
            undo.push(format!("removing the copy of instance {}", old.name), || self.remove_volumes_at(&there));
            fault::point("move.copied").map_err(cut)?;
        }
        self.inner.store.try_write(|tx| {
            coffer_store::instance::relocate(tx, &old.project, &old.name, new)?;
            let mut keys = vec![(MOVING_TO, None), (MOVED_FROM, Some(here.to_string()))];
            // What has not run yet since the creation or copy runs with the new name anyway.
            if old.name != new.name && old.config.get(DEFERRED).is_none() {
                keys.push((DEFERRED, Some(coffer_image::Trigger::Rename.as_str().to_owned())));
            }
            if old.name != new.name {
                keys.push((INSTANCE_ID, Some(new_id())));
            }
            coffer_store::instance::set_volatile(tx, &new.project, &new.name, &keys)?;
            for snapshot in coffer_store::snapshot::of_instance(tx, &new.project, &new.name)? {
                let root = root_in_pool(&snapshot.devices, &there.pool);
                let devices = snapshot.devices.0.clone().into_iter().chain(root).collect();
                coffer_store::snapshot::set_devices(tx, &new.project, &new.name, &snapshot.name, &Devices(devices))?;
            }
            Ok::<_, EngineError>(())
        })?;
        undo.keep();
        fault::point("move.recorded-whole").map_err(cut)?;
        self.forget_addresses(old);
        self.finish_move(new, &here)
    }

    /// Brings the volumes and files of a moved instance to where its record says. May be called again after a crash.
    fn finish_move(&self, new: &Instance, from: &Whereabouts) -> Result<(), EngineError> {
        let there = Whereabouts::of(new);
        if from.pool == there.pool {
            let pool = self.pool_driver(&there.pool)?;
            if pool.exists(&from.volume())? && !pool.exists(&there.volume())? {
                pool.rename(&from.volume(), &there.volume())?;
            }
        } else {
            self.remove_volumes_at(from)?;
        }
        fault::point("move.volumes-moved").map_err(cut)?;
        let logs = |place: &Whereabouts| self.inner.settings.dir.join("logs").join(place.project.prefix(place.name.as_str()));
        if from.key() != there.key() && logs(from).exists() {
            std::fs::rename(logs(from), logs(&there)).map_err(|cause| EngineError::system("renaming the log directory", cause))?;
        }
        let owner = |place: &Whereabouts| BackupOwner::Instance { project: place.project.clone(), name: place.name.clone() };
        self.move_backup_files(&owner(from), &owner(&there))?;
        self.note_move(new, MOVED_FROM, None)?;
        let loaded = self.load(&new.project, &new.name)?;
        if from.key() != there.key() {
            self.free(&Instance { project: from.project.clone(), name: from.name.clone(), ..new.clone() });
            self.confine_later(&loaded.instance, &loaded.config);
        }
        self.write_backup(&loaded)
    }

    /// Finishes or takes back a move in which a daemon died.
    pub(crate) fn recover_move(&self, instance: &Instance) -> Result<(), EngineError> {
        if let Some(there) = instance.config.parse::<Whereabouts>(MOVING_TO) {
            self.remove_volumes_at(&there)?;
            self.note_move(instance, MOVING_TO, None)?;
        }
        match instance.config.parse::<Whereabouts>(MOVED_FROM) {
            Some(from) => self.finish_move(instance, &from),
            None => Ok(()),
        }
    }

    /// Removes the volumes of an instance: its snapshots' and its own.
    pub(crate) fn remove_volumes(&self, instance: &Instance) -> Result<(), EngineError> {
        self.remove_volumes_at(&Whereabouts::of(instance))
    }

    fn remove_volumes_at(&self, place: &Whereabouts) -> Result<(), EngineError> {
        let (pool, volume) = (self.pool_driver(&place.pool)?, place.volume());
        for name in pool.snapshots().map_or_else(|| Ok(Vec::new()), |all| all.list(&volume))? {
            delete_volume(pool.as_ref(), &volume.snapshot(&name))?;
        }
        fault::point("delete.snapshots-removed").map_err(|cause| EngineError::system("deleting", cause))?;
        delete_volume(pool.as_ref(), &volume)
    }

    fn note_move(&self, instance: &Instance, key: &str, place: Option<&Whereabouts>) -> Result<(), EngineError> {
        let keys = [(key, place.map(ToString::to_string))];
        Ok(self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys))?)
    }
}

/// The root disk among devices as it is with another pool.
pub(crate) fn root_in_pool(devices: &Devices, pool: &PoolName) -> Option<(DeviceName, Config)> {
    let (name, _) = devices.root()?;
    let mut keys = devices.0.get(name)?.clone();
    keys.set("pool", pool.as_str());
    Some((name.clone(), keys))
}

fn cut(cause: std::io::Error) -> EngineError {
    EngineError::system("moving", cause)
}

impl Whereabouts {
    fn of(instance: &Instance) -> Self {
        Self { pool: instance.pool.clone(), project: instance.project.clone(), name: instance.name.clone() }
    }

    fn volume(&self) -> Volume {
        Volume::instance(&self.project, &self.name)
    }

    /// Who it is, wherever its root is.
    fn key(&self) -> (&ProjectName, &InstanceName) {
        (&self.project, &self.name)
    }
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pool, self.project, self.name)
    }
}

impl FromStr for Whereabouts {
    type Err = coffer_model::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().unwrap_or_default();
        Ok(Self { pool: next().parse()?, project: next().parse()?, name: next().parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_and_read() {
        let place: Whereabouts = "fast/dev/web".parse().unwrap();
        assert_eq!((place.pool.as_str(), place.project.as_str(), place.name.as_str()), ("fast", "dev", "web"));
        assert_eq!(place.to_string(), "fast/dev/web");
        assert!("fast/dev".parse::<Whereabouts>().is_err());
    }
}
