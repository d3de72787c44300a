//! An instance that is in no record: what its volume says of it, and its monitor if it runs.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use coffer_model::device::{Device, NicParent};
use coffer_model::gate::{self, Origin};
use coffer_model::{Instance, InstanceSnapshot, Phase, Profile, SnapshotName, Time};
use coffer_storage::Volume;
use coffer_store::Conn;
use coffer_store::backup::{self, Document};
use coffer_store::project::Feature;
use coffer_sys::socket::PacketSocket;

use super::LostInstance;
use super::search::Searched;
use crate::Engine;
use crate::backup::import::{place_root, split_config};
use crate::error::EngineError;
use crate::instance::start::SOCKET;
use crate::recover::Found;
use crate::storage::SHIFTED;

impl Engine {
    /// Reads what an instance's volume says of it and passes it through the gate with its profiles as they are here. `None` if
    /// something is missing, which is noted.
    pub(super) fn lost_instance(
        &self,
        place: &mut Searched,
        volume: &Volume,
        there: &[SnapshotName],
        missing: &mut BTreeSet<String>,
    ) -> Result<Option<LostInstance>, EngineError> {
        let directory = place.driver().directory(volume)?;
        let document = backup::read(directory.as_fd()).map_err(unusable)?;
        let document = document.ok_or_else(|| EngineError::Refused("its volume has no backup.yaml".into()))?;
        drop(directory);
        let (mut instance, snapshots) = (document.instance().map_err(unusable)?, document.instance_snapshots().map_err(unusable)?);
        if Volume::instance(&instance.project, &instance.name) != *volume {
            let text = format!("its backup.yaml is that of instance {} in project {}", instance.name, instance.project);
            return Err(EngineError::Refused(text));
        }
        instance.pool = place.pool.name.clone();
        remember_pool(place, &document);
        if !self.settle_keys(&mut instance)?
            && let Err(error) = place.driver().unmount_volume(volume)
        {
            tracing::warn!(pool = %place.pool.name, "unmounting {volume}: {}", coffer_base::chain(&error));
        }
        self.inner.store.try_read(|conn| {
            let before = missing.len();
            let home = coffer_store::project::home(conn, &instance.project, Feature::Profiles)?;
            let profiles = profiles(conn, &home, &instance, missing)?;
            if missing.len() > before {
                return Ok(None);
            }
            place_root(&mut instance, &profiles)?;
            networks(conn, &instance, &profiles, missing)?;
            if missing.len() > before {
                return Ok(None);
            }
            let checked = gate::instance(instance, &profiles, None, Origin::Server)?;
            let exists =
                |profile: &coffer_model::ProfileName| coffer_store::profile::get(conn, &home, profile).map(|found| found.is_some());
            let snapshots = merge(&checked, snapshots, there, exists)?;
            Ok(Some((checked, snapshots)))
        })
    }

    /// Decides what the instance keeps of the keys that its old server remembered: all while it runs, else who it is and how
    /// its files are. Answers whether it runs.
    fn settle_keys(&self, instance: &mut Instance) -> Result<bool, EngineError> {
        let runs = self.open_run_directory(instance).is_ok_and(|directory| PacketSocket::connect(directory.as_fd(), SOCKET).is_ok());
        if runs {
            let own = self.start_keys(instance);
            if !own.0.is_empty() {
                instance.config.0.retain(|key, _| !key.starts_with("volatile."));
                instance.config.merge(&own);
            }
            return Ok(true);
        }
        let others = self.inner.store.read(|conn| coffer_store::instance::list(conn, None))?;
        let shifted = instance.config.get(SHIFTED).map(str::to_owned);
        let (plain, own) = split_config(instance, &others);
        instance.config = plain;
        instance.config.merge(&own);
        if let Some(map) = shifted {
            instance.config.set(SHIFTED, map);
        }
        Ok(false)
    }

    /// Takes over the monitor of an instance that was taken in, if it runs; answers whether it does.
    pub(super) fn take_control(&self, instance: &Instance) -> Result<bool, EngineError> {
        self.remember_addresses(instance);
        match self.find(instance)? {
            Found::Runs => {
                self.plug_what_came(instance);
                Ok(true)
            }
            Found::Ended(_) | Found::Vanished => {
                self.close_door(instance);
                Ok(false)
            }
        }
    }
}

fn unusable(error: backup::BackupError) -> EngineError {
    EngineError::Refused(coffer_base::chain(&error))
}

/// Gives a pool that is to be taken in what an instance in it remembers of it; what was said of it now counts more.
fn remember_pool(place: &mut Searched, document: &Document) {
    if place.known {
        return;
    }
    let Ok(then) = document.pool() else { return };
    if then.name != place.pool.name || then.driver != place.pool.driver {
        return;
    }
    for (key, value) in then.config.iter().filter(|(key, _)| *key != "source") {
        if place.pool.config.get(key).is_none() {
            place.pool.config.set(key, value);
        }
    }
    if place.pool.description.is_empty() {
        place.pool.description = then.description;
    }
}

/// The instance's profiles as they are here; those that are not are noted.
fn profiles(
    conn: &Conn,
    home: &coffer_model::ProjectName,
    instance: &Instance,
    missing: &mut BTreeSet<String>,
) -> Result<Vec<Profile>, EngineError> {
    let mut found = Vec::new();
    for name in &instance.profiles {
        match coffer_store::profile::get(conn, home, name)? {
            Some(profile) => found.push(profile),
            None => drop(missing.insert(format!("Profile {:?} in project {:?}", name.as_str(), home.as_str()))),
        }
    }
    Ok(found)
}

/// Notes the networks that the instance's NICs need and that are not here.
fn networks(conn: &Conn, instance: &Instance, profiles: &[Profile], missing: &mut BTreeSet<String>) -> Result<(), EngineError> {
    let home = coffer_store::project::home(conn, &instance.project, Feature::Networks)?;
    let what = || format!("instance {}", instance.name);
    let devices = instance.expanded_devices(profiles).parse();
    for device in devices.map_err(|cause| gate::GateError::Device { what: what(), cause: Box::new(cause) })?.values() {
        if let Device::Nic(nic) = device
            && let NicParent::Network(network) = &nic.on
            && coffer_store::network::get(conn, &home, network)?.is_none()
        {
            missing.insert(format!("Network {:?} in project {:?}", network.as_str(), home.as_str()));
        }
    }
    Ok(())
}

/// The snapshots that stand in the pool, each as the document describes it; one that it does not know is as the instance is now.
fn merge(
    instance: &Instance,
    described: Vec<InstanceSnapshot>,
    there: &[SnapshotName],
    exists: impl Fn(&coffer_model::ProfileName) -> Result<bool, coffer_store::StoreError>,
) -> Result<Vec<InstanceSnapshot>, EngineError> {
    let mut found: Vec<InstanceSnapshot> = Vec::new();
    for mut snapshot in described {
        if !there.contains(&snapshot.name) {
            tracing::warn!(instance = %instance.name, "its backup.yaml names snapshot {}, which is not in the pool", snapshot.name);
            continue;
        }
        let mut kept = Vec::new();
        for profile in std::mem::take(&mut snapshot.profiles) {
            if exists(&profile)? {
                kept.push(profile);
            }
        }
        snapshot.profiles = kept;
        found.push(InstanceSnapshot { phase: Phase::Ready, renamed_from: None, ..snapshot });
    }
    for name in there.iter().filter(|name| !found.iter().any(|snapshot| snapshot.name == **name)).cloned().collect::<Vec<_>>() {
        tracing::warn!(instance = %instance.name, "its backup.yaml does not know snapshot {name}: it gets the instance's configuration");
        found.push(InstanceSnapshot {
            name,
            architecture: instance.architecture.clone(),
            ephemeral: instance.ephemeral,
            profiles: instance.profiles.clone(),
            config: instance.config.iter().filter(|(key, _)| !key.starts_with("volatile.")).collect(),
            devices: instance.devices.clone(),
            created_at: Time::now(),
            expires_at: None,
            last_used_at: instance.last_used_at,
            phase: Phase::Ready,
            renamed_from: None,
        });
    }
    Ok(found)
}
