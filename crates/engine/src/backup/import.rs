//! Making an instance from a backup, ours or LXD's.
//!
//! The backup's index is the only document that counts: what else the archive says of itself is not read. The instance passes the
//! gate like any new one, whatever the archive claims.

use std::os::fd::{AsFd, OwnedFd};

use coffer_base::{Undo, fault};
use coffer_image::backup::{INSTANCE, SNAPSHOTS, STREAM_SUFFIX};
use coffer_image::{Form, Incoming, Limits};
use coffer_model::gate::{self, Origin};
use coffer_model::{Checked, Config, DeviceName, IdMap, Instance, InstanceName, InstanceSnapshot, Phase, PoolName, Profile, ProjectName};
use coffer_storage::Volume;
use coffer_store::backup::{BackupError, Content, Index, StreamFormat};
use coffer_store::project::Feature;
use uuid::Uuid;

use super::fill::Wanted;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::image::publish::shifted;
use crate::instance::create::new_hwaddrs;
use crate::instance::start::Loaded;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::ImportBackup;

/// Keys of the server's own that an instance keeps when it comes back: who it is to its image, to cloud-init and on the network.
const KEPT: [&str; 2] = ["volatile.base_image", "volatile.cloud-init.instance-id"];

/// What is to be made.
struct Plan {
    instance: Instance,
    snapshots: Vec<InstanceSnapshot>,
}

/// An archive that was received.
struct Archive {
    file: OwnedFd,
    /// The format of a driver's own that its volumes are in.
    streams: Option<StreamFormat>,
    /// The maps that files went through on their server's disk, of each snapshot and of the instance itself: of streams alone,
    /// since everything else is packed with the ids that the instance knows.
    maps: Vec<Option<IdMap>>,
}

impl Engine {
    /// Begins to receive a backup: the caller writes its bytes into the answer. What is not imported leaves nothing.
    ///
    /// # Errors
    /// If the project does not exist, the name is taken, the pool does not exist, or the state directory cannot be written.
    pub fn receive_backup(&self, request: &ImportBackup) -> Result<Incoming, EngineError> {
        if let Some(name) = &request.name
            && self.inner.store.read(|conn| coffer_store::instance::get(conn, &request.project, name))?.is_some()
        {
            return Err(EngineError::exists("instance", name));
        }
        if let Some(pool) = &request.pool
            && self.inner.store.read(|conn| coffer_store::pool::get(conn, pool))?.is_none()
        {
            return Err(EngineError::not_found("storage pool", pool));
        }
        self.receive_archive()
    }

    /// Makes an instance with its snapshots from a backup that was received, in an operation.
    ///
    /// # Errors
    /// If it is no backup, something in it is not accepted, or the name is taken.
    pub fn import_backup(&self, caller: &Caller, request: ImportBackup, incoming: Incoming) -> Result<OperationView, EngineError> {
        let archive = incoming.into_file()?;
        let texts = self.inner.unpacker.inspect_backup(archive.as_fd(), Limits::default())?;
        let bad =
            |error: BackupError| EngineError::Refused(format!("this is no backup that can be imported: {}", coffer_base::chain(&error)));
        let index = Index::parse(Content::Instance, &texts.index, texts.configuration.as_deref()).map_err(bad)?;
        let config = index.config.as_ref().ok_or(BackupError::Missing("config")).map_err(bad)?;
        let mut instance = config.instance().map_err(bad)?;
        let snapshots = config.instance_snapshots().map_err(bad)?;
        let streams = index.streams();
        let archive = Archive { file: archive, streams, maps: maps_of(streams.is_some(), &snapshots, &instance) };
        instance.project = request.project.clone();
        instance.name = match &request.name {
            Some(name) => name.clone(),
            None => index.name.parse::<InstanceName>()?,
        };
        instance.pool = self.pool_for(&request, &instance.pool)?;
        self.require_readable(streams, &instance.pool)?;
        let (Plan { instance, snapshots }, id) = self.record_import(Plan { instance, snapshots })?;
        fault::point("import.recorded").map_err(|cause| EngineError::system("importing", cause))?;
        let new = NewOperation::instance("Restoring backup", &instance.project, instance.name.as_str());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let _claim = engine.inner.cells.get(&instance.project, &instance.name).claim("importing")?;
            engine.make_from_backup(&instance, id, &snapshots, &archive, operation)?;
            engine.lifecycle(&instance, "instance-created", Some(&caller));
            Ok(())
        }))
    }

    /// The pool that was asked for, or the one that the backup comes from if there is one of that name, or the default profile's.
    fn pool_for(&self, request: &ImportBackup, from: &PoolName) -> Result<PoolName, EngineError> {
        if let Some(pool) = &request.pool {
            return Ok(pool.clone());
        }
        let found = self.inner.store.read(|conn| {
            if coffer_store::pool::get(conn, from)?.is_some() {
                return Ok(Some(from.clone()));
            }
            let home = coffer_store::project::home(conn, &request.project, Feature::Profiles)?;
            let profiles = coffer_store::profile::for_instance(conn, &home, &[coffer_model::ProfileName::default_profile()])?;
            Ok(profiles.first().and_then(|profile| profile.devices.root()).map(|(_, pool)| pool))
        })?;
        found.ok_or_else(|| {
            EngineError::Refused(format!("storage pool {from}, where the backup comes from, does not exist; name one with --storage"))
        })
    }

    /// Puts the instance together, passes it through the gate and records it as being created, all in one transaction.
    fn record_import(&self, plan: Plan) -> Result<(Plan, i64), EngineError> {
        let Plan { mut instance, mut snapshots } = plan;
        instance.phase = Phase::Creating;
        self.inner.store.try_write(|tx| {
            if coffer_store::instance::get(tx, &instance.project, &instance.name)?.is_some() {
                return Err(EngineError::exists("instance", &instance.name));
            }
            let home = coffer_store::project::home(tx, &instance.project, Feature::Profiles)?;
            let profiles = coffer_store::profile::for_instance(tx, &home, &instance.profiles)?;
            place_root(&mut instance, &profiles)?;
            let others = coffer_store::instance::list(tx, None)?;
            let (plain, own) = split_config(&instance, &others);
            instance.config = plain;
            let mut instance = gate::instance(instance, &profiles, None, Origin::Client)?.into_inner();
            instance.config.merge(&own);
            let expanded = instance.expanded_devices(&profiles);
            for (device, hwaddr) in new_hwaddrs(&expanded, &instance.config) {
                instance.config.set(format!("volatile.{device}.hwaddr"), hwaddr);
            }
            let checked: Checked<Instance> = gate::instance(instance, &profiles, None, Origin::Server)?;
            self.references(tx, &checked, &profiles)?;
            for snapshot in &mut snapshots {
                adopt(snapshot, &checked, tx, &home)?;
            }
            let id = coffer_store::instance::insert(tx, &checked)?;
            Ok((Plan { instance: checked.into_inner(), snapshots }, id))
        })
    }

    /// Makes the volumes of a recorded instance from an archive and declares it whole. On failure nothing stays.
    fn make_from_backup(
        &self,
        instance: &Instance,
        id: i64,
        snapshots: &[InstanceSnapshot],
        archive: &Archive,
        operation: &OperationHandle,
    ) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("importing", cause);
        let store = &self.inner.store;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back an import: {warning}"));
        undo.push(format!("forgetting instance {}", instance.name), || {
            store.write(|tx| coffer_store::instance::delete(tx, &instance.project, &instance.name))
        });
        let own = Volume::instance(&instance.project, &instance.name);
        let pool = self.pool_driver(&instance.pool)?;
        let suffix = if archive.streams.is_some() { STREAM_SUFFIX } else { "" };
        let of_snapshot = |snapshot: &InstanceSnapshot| (format!("{SNAPSHOTS}/{}{suffix}", snapshot.name), own.snapshot(&snapshot.name));
        let all = snapshots.iter().map(of_snapshot).chain([(format!("{INSTANCE}{suffix}"), own.clone())]);
        let want = |((name, volume), shifted)| Wanted { name, form: Form::Instance, volume, size: None, shifted };
        let wanted: Vec<Wanted> = all.zip(archive.maps.iter().copied()).map(want).collect();
        operation.cancellable(|| {
            self.unpack_volumes(pool.as_ref(), &wanted, archive.file.as_fd(), archive.streams, &operation.progress())?;
            for Wanted { volume, .. } in wanted.iter().rev() {
                let (pool, volume) = (pool.clone(), volume.clone());
                // What is pushed last is taken back first: the volume itself goes after its snapshots.
                undo.push(format!("removing volume {volume}"), move || pool.delete_volume(&volume));
            }
            Ok(())
        })?;
        fault::point("import.volumes-made").map_err(cut)?;
        let ready = Instance { phase: Phase::Ready, ..instance.clone() };
        self.set_root_size(pool.as_ref(), &Loaded { instance: ready, id, ..self.load(&instance.project, &instance.name)? })?;
        store.write(|tx| {
            for snapshot in snapshots {
                let snapshot = InstanceSnapshot { phase: Phase::Ready, ..snapshot.clone() };
                coffer_store::snapshot::insert(tx, &instance.project, &instance.name, &snapshot)?;
            }
            coffer_store::instance::set_phase(tx, &instance.project, &instance.name, Phase::Ready)
        })?;
        self.write_backup(&self.load(&instance.project, &instance.name)?)?;
        undo.keep();
        fault::point("import.finished").map_err(cut)
    }
}

/// The id maps that the files of snapshots and of the instance itself went through; none that counts unless they are streams.
fn maps_of(streams: bool, snapshots: &[InstanceSnapshot], instance: &Instance) -> Vec<Option<IdMap>> {
    let configs = snapshots.iter().map(|snapshot| &snapshot.config).chain([&instance.config]);
    configs.map(|config| if streams { shifted(config) } else { None }).collect()
}

/// Fits a snapshot to where it comes to: without profiles that are not there, and with the root in the instance's pool.
///
/// It is refused if it could not even be looked at; what it was passes the gate when it is restored.
fn adopt(snapshot: &mut InstanceSnapshot, instance: &Instance, tx: &coffer_store::Tx<'_>, home: &ProjectName) -> Result<(), EngineError> {
    let mut profiles = Vec::new();
    for name in std::mem::take(&mut snapshot.profiles) {
        if let Some(profile) = coffer_store::profile::get(tx, home, &name)? {
            profiles.push(profile);
            snapshot.profiles.push(name);
        }
    }
    snapshot.config.0.retain(|key, _| !key.starts_with("volatile.") || KEPT.contains(&key.as_str()));
    for (key, value) in snapshot.config.iter().filter(|(key, _)| !key.starts_with("volatile.")) {
        coffer_model::key::check("snapshot", coffer_model::keys::INSTANCE, key, value)?;
    }
    let mut then = snapshot.as_instance(instance);
    place_root(&mut then, &profiles)?;
    snapshot.devices = then.devices;
    Ok(())
}

/// Makes the root disk stand in the instance's pool: by a device of its own where its profiles say otherwise.
pub(crate) fn place_root(instance: &mut Instance, profiles: &[Profile]) -> Result<(), EngineError> {
    let expanded = instance.expanded_devices(profiles);
    let (name, keys) = match expanded.root() {
        Some((_, pool)) if pool == instance.pool => return Ok(()),
        Some((name, _)) => (name.clone(), expanded.0.get(name).cloned().unwrap_or_default()),
        None => ("root".parse::<DeviceName>()?, [("type", "disk"), ("path", "/")].into_iter().collect()),
    };
    let mut keys: Config = keys;
    keys.set("pool", instance.pool.as_str());
    instance.devices.0.insert(name, keys);
    Ok(())
}

/// Splits a configuration that comes with a backup into what a client may set, and what the server keeps of its own keys.
pub(crate) fn split_config(instance: &Instance, others: &[Instance]) -> (Config, Config) {
    let (mut plain, mut own) = (Config::default(), Config::default());
    for (key, value) in instance.config.iter() {
        if !key.starts_with("volatile.") {
            plain.set(key, value);
            continue;
        }
        let taken = others.iter().any(|other| other.config.get(key) == Some(value));
        let address = key.ends_with(".hwaddr") && !others.iter().any(|other| other.config.iter().any(|(_, used)| used == value));
        if address || KEPT.contains(&key) || (key == "volatile.uuid" && !taken) {
            own.set(key, value);
        }
    }
    for key in ["volatile.uuid", "volatile.cloud-init.instance-id"] {
        if own.get(key).is_none() {
            own.set(key, Uuid::new_v4().to_string());
        }
    }
    (plain, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_model::{Devices, Time};

    fn instance(config: &[(&str, &str)]) -> Instance {
        Instance {
            project: ProjectName::default_project(),
            name: "c1".parse().unwrap(),
            architecture: "x86_64".into(),
            description: String::new(),
            ephemeral: false,
            profiles: Vec::new(),
            config: config.iter().copied().collect(),
            devices: Devices::default(),
            pool: "two".parse().unwrap(),
            created_at: Time::UNIX_EPOCH,
            last_used_at: None,
            phase: Phase::Ready,
        }
    }

    #[test]
    fn what_an_instance_was_to_its_old_server_stays_there() {
        let imported = instance(&[
            ("limits.cpu", "2"),
            ("volatile.uuid", "u1"),
            ("volatile.base_image", "f"),
            ("volatile.eth0.hwaddr", "00:16:3e:00:00:01"),
            ("volatile.eth1.hwaddr", "00:16:3e:00:00:02"),
            ("volatile.last_state.power", "RUNNING"),
            ("volatile.idmap.next", "[]"),
        ]);
        let other = instance(&[("volatile.uuid", "u1"), ("volatile.eth7.hwaddr", "00:16:3e:00:00:02")]);
        let (plain, own) = split_config(&imported, &[other]);
        assert_eq!(plain.iter().collect::<Vec<_>>(), [("limits.cpu", "2")]);
        let keys: Vec<&str> = own.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["volatile.base_image", "volatile.cloud-init.instance-id", "volatile.eth0.hwaddr", "volatile.uuid"]);
        assert_ne!(own.get("volatile.uuid"), Some("u1"));
    }

    #[test]
    fn the_root_moves_to_the_pool_by_a_device_of_its_own() {
        let root = [("type", "disk"), ("path", "/"), ("pool", "one"), ("size", "1GiB")].into_iter().collect();
        let profile = Profile {
            project: ProjectName::default_project(),
            name: "default".parse().unwrap(),
            description: String::new(),
            config: Config::default(),
            devices: Devices([("disk0".parse().unwrap(), root)].into()),
        };
        let placed = |profiles: &[Profile]| {
            let mut instance = instance(&[]);
            instance.profiles = profiles.iter().map(|profile| profile.name.clone()).collect();
            place_root(&mut instance, profiles).unwrap();
            instance.devices.0.into_iter().map(|(name, keys)| format!("{name} {:?}", keys.0)).collect::<Vec<_>>()
        };
        assert_eq!(placed(&[profile]), [r#"disk0 {"path": "/", "pool": "two", "size": "1GiB", "type": "disk"}"#]);
        assert_eq!(placed(&[]), [r#"root {"path": "/", "pool": "two", "type": "disk"}"#]);
    }
}
