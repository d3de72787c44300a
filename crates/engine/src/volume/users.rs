//! Who uses a volume, and who of them runs.

use std::collections::BTreeMap;

use coffer_model::gate::{self, Origin};
use coffer_model::{Config, Instance, InstanceName, ProjectName, Status};
use coffer_store::{Conn, StoreError, Tx, usage};

use super::VolumePlace;
use crate::Engine;
use crate::error::EngineError;
use crate::used_by;

impl Engine {
    /// The URLs of a volume's users.
    pub(super) fn volume_users(&self, conn: &Conn, place: &VolumePlace) -> Result<Vec<String>, StoreError> {
        Ok(used_by::urls(&usage::of_volume(conn, &place.pool, &place.key.project, &place.key.name)?))
    }

    /// The instances that have a volume among their devices and are not stopped.
    pub(crate) fn running_users(&self, place: &VolumePlace) -> Result<Vec<Instance>, EngineError> {
        let all = self.inner.store.read(|conn| instances(conn, place))?;
        let runs = |instance: &Instance| {
            let (status, running) = self.inner.cells.peek(&instance.project, &instance.name);
            status != Status::Stopped || running.is_some()
        };
        Ok(all.into_iter().filter(runs).collect())
    }

    /// Refuses a change under the feet of instances that run.
    pub(super) fn refuse_running_users(&self, place: &VolumePlace, wanted: &str) -> Result<(), EngineError> {
        let running = self.running_users(place)?;
        if running.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = running.iter().map(|instance| format!("instance {}", instance.key())).collect();
        let (name, users) = (&place.key.name, names.join(", "));
        Err(EngineError::Refused(format!("storage volume {name} is in use by {users}, which must be stopped before it can be {wanted}")))
    }
}

/// The instances that have a volume among their devices, their own or those of a profile.
fn instances(conn: &Conn, place: &VolumePlace) -> Result<Vec<Instance>, StoreError> {
    let users = usage::of_volume(conn, &place.pool, &place.key.project, &place.key.name)?;
    let mut found: BTreeMap<(ProjectName, InstanceName), Instance> = BTreeMap::new();
    let mut add = |instance: Instance| found.insert((instance.project.clone(), instance.name.clone()), instance);
    for (project, name) in &users.instances {
        coffer_store::instance::get(conn, project, name)?.map(&mut add);
    }
    for (home, profile) in &users.profiles {
        for instance in used_by::instances_of_profile(conn, home, profile)? {
            let profiles = coffer_store::profile::for_instance(conn, &instance.project, &instance.profiles)?;
            let devices = instance.expanded_devices(&profiles);
            // A device of its own may stand in the place of the profile's.
            if devices.0.values().any(|device| names(device, place)) {
                add(instance);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Says whether a device is a volume, by the names alone.
fn names(device: &Config, place: &VolumePlace) -> bool {
    device.get("type") == Some("disk")
        && device.get("pool") == Some(place.pool.as_str())
        && device.get("source") == Some(place.key.name.as_str())
}

/// Lets the devices of instances and profiles that name a volume name another one of the same project.
pub(super) fn repoint(tx: &Tx<'_>, from: &VolumePlace, to: &VolumePlace) -> Result<(), EngineError> {
    let users = usage::of_volume(tx, &from.pool, &from.key.project, &from.key.name)?;
    let change = |device: &mut Config| {
        if names(device, from) {
            device.set("pool", to.pool.as_str());
            device.set("source", to.key.name.as_str());
        }
    };
    for (home, name) in &users.profiles {
        let Some(mut profile) = coffer_store::profile::get(tx, home, name)? else { continue };
        profile.devices.0.values_mut().for_each(change);
        coffer_store::profile::update(tx, &gate::profile(profile)?)?;
    }
    for (project, name) in &users.instances {
        let Some(mut instance) = coffer_store::instance::get(tx, project, name)? else { continue };
        let profiles = coffer_store::profile::for_instance(tx, project, &instance.profiles)?;
        let before = instance.clone();
        instance.devices.0.values_mut().for_each(change);
        coffer_store::instance::update(tx, &gate::instance(instance, &profiles, Some(&before), Origin::Server)?)?;
    }
    Ok(())
}
