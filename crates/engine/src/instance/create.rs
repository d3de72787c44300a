//! Creating an instance.

use std::os::fd::AsFd;

use coffer_base::{Undo, fault};
use coffer_model::gate::{self, Origin};
use coffer_model::{Checked, Config, DeviceName, Devices, Image, Instance, Phase, PoolName, Profile, ProfileName, ProjectName, Time};
use coffer_storage::{DriverKind, Volume};
use coffer_store::project::Feature;
use uuid::Uuid;

use super::start::Loaded;
use crate::error::EngineError;
use crate::events::Caller;
use crate::image::find::runs_here;
use crate::operations::{NewOperation, OperationHandle, OperationView};
use crate::request::{CreateInstance, Source};
use crate::{Engine, instance::names};

impl Engine {
    /// Creates an instance in an operation. Everything that can be refused is refused before anything is done.
    ///
    /// # Errors
    /// If a name, key, device, profile, pool, network or image is wrong or missing, or the name is taken.
    pub fn create_instance(&self, caller: &Caller, request: CreateInstance) -> Result<OperationView, EngineError> {
        if let Source::Remote(source) = &request.source {
            let source = source.clone();
            return self.create_from_remote(caller, request, source);
        }
        let image = self.image_of(&request.project, &request.source)?;
        let setup = self.first_use(&request)?;
        let (instance, id) = self.record(&request, image.as_ref())?;
        fault::point("create.recorded").map_err(|cause| EngineError::system("creating", cause))?;
        let mut new = NewOperation::instance("Creating instance", &instance.project, instance.name.as_str());
        if !setup.is_empty() {
            new.metadata.insert("default_setup".into(), setup.into());
        }
        let (engine, caller, start) = (self.clone(), caller.clone(), request.start);
        Ok(self.operations().spawn(new.by(&caller), move |operation| {
            let claim = engine.inner.cells.get(&instance.project, &instance.name).claim("creating")?;
            engine.make(&instance, id, image.as_ref(), operation)?;
            engine.lifecycle(&instance, "instance-created", Some(&caller));
            if !start {
                return Ok(());
            }
            engine.start_dependencies(&instance.project, &instance.name, Some(&caller), None)?;
            engine.start(&claim, &instance, Some(&caller))
        }))
    }

    /// Finds the image, and refuses one for another architecture.
    pub(crate) fn image_of(&self, project: &ProjectName, source: &Source) -> Result<Option<Image>, EngineError> {
        let image = match source {
            Source::None | Source::Remote(_) => return Ok(None),
            Source::Fingerprint(prefix) => self.find_image(project, prefix)?,
            Source::Alias(alias) => self.image_by_alias(project, alias)?,
            Source::Properties(wanted) => self.newest_image(project, wanted)?,
        };
        runs_here(&image)?;
        Ok(Some(image))
    }

    /// Puts the instance together, passes it through the gate and records it as being created, all in one transaction.
    pub(super) fn record(&self, request: &CreateInstance, image: Option<&Image>) -> Result<(Instance, i64), EngineError> {
        let asked = request.profiles.clone();
        let from_image = image.map(|image| image.profiles.clone()).filter(|profiles| !profiles.is_empty());
        let profiles = asked.or(from_image).unwrap_or_else(|| vec![ProfileName::default_profile()]);
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
                architecture: image.map_or_else(|| std::env::consts::ARCH.to_owned(), |image| image.architecture.clone()),
                description: request.description.clone(),
                ephemeral: request.ephemeral,
                profiles,
                config: request.config.clone(),
                devices: request.devices.clone(),
                pool: PoolName::try_from("default".to_owned())?,
                created_at: Time::now(),
                last_used_at: None,
                phase: Phase::Creating,
            };
            if let Some((_, pool)) = instance.expanded_devices(&loaded).root() {
                instance.pool = pool;
            }
            let instance = gate::instance(instance, &loaded, None, Origin::Client)?.into_inner();
            let checked = self.complete(tx, instance, &loaded, image)?;
            self.references(tx, &checked, &loaded)?;
            let id = coffer_store::instance::insert(tx, &checked)?;
            Ok((checked.into_inner(), id))
        })
    }

    /// Adds what the server remembers of a new instance.
    pub(crate) fn complete(
        &self,
        conn: &coffer_store::Conn,
        mut instance: Instance,
        profiles: &[Profile],
        image: Option<&Image>,
    ) -> Result<Checked<Instance>, EngineError> {
        if let Some(image) = image {
            for (key, value) in image.properties.iter() {
                instance.config.set(format!("image.{key}"), value);
            }
            instance.config.set("volatile.base_image", image.fingerprint.as_str());
            self.adopt_process(&mut instance, profiles, image)?;
        }
        if instance.config.get(super::templates::DEFERRED).is_none() {
            instance.config.set(super::templates::DEFERRED, coffer_image::Trigger::Create.as_str());
        }
        instance.config.set("volatile.uuid", Uuid::new_v4().to_string());
        instance.config.set("volatile.cloud-init.instance-id", Uuid::new_v4().to_string());
        let config = instance.expanded_config(profiles);
        self.reserve_ids(conn, &mut instance, &config)?;
        let expanded = instance.expanded_devices(profiles);
        for (device, hwaddr) in new_hwaddrs(&expanded, &instance.config) {
            instance.config.set(format!("volatile.{device}.hwaddr"), hwaddr);
        }
        Ok(gate::instance(instance, profiles, None, Origin::Server)?)
    }

    /// Refuses devices that name a pool or network that does not exist.
    pub(crate) fn references(&self, conn: &coffer_store::Conn, instance: &Instance, profiles: &[Profile]) -> Result<(), EngineError> {
        use coffer_model::device::{Device, NicParent};
        let Some(pool) = coffer_store::pool::get(conn, &instance.pool)? else {
            return Err(EngineError::Refused(format!(
                "instance {}: storage pool {} does not exist; make it with \"storage create\" or name another one in the root disk",
                instance.name, instance.pool
            )));
        };
        if pool.driver.parse().is_ok_and(|driver: DriverKind| !driver.holds_instances()) {
            return Err(EngineError::Refused(format!(
                "instance {}: storage pool {} is of driver {}, which holds users' volumes alone; name another one in the root disk",
                instance.name, pool.name, pool.driver
            )));
        }
        self.check_raw_ids(&instance.name, &instance.expanded_config(profiles))?;
        self.check_nodes(&instance.name, &instance.expanded_config(profiles))?;
        self.check_dependencies(conn, instance, &instance.expanded_config(profiles))?;
        let home = coffer_store::project::home(conn, &instance.project, Feature::Networks)?;
        let devices = instance.expanded_devices(profiles).parse();
        let devices =
            devices.map_err(|cause| gate::GateError::Device { what: format!("instance {}", instance.name), cause: Box::new(cause) })?;
        for (name, device) in &devices {
            if let Device::Nic(nic) = device
                && let NicParent::Network(network) = &nic.on
                && coffer_store::network::get(conn, &home, network)?.is_none()
            {
                return Err(EngineError::Refused(format!("instance {}: device {name}: network {network} does not exist", instance.name)));
            }
            if let Device::Disk(disk) = device {
                crate::device::disk_volume::refuse_unfit(conn, instance, name, disk)?;
            }
        }
        Ok(())
    }

    /// Makes the volume of a recorded instance and declares it whole. On failure nothing stays.
    pub(super) fn make(&self, instance: &Instance, id: i64, image: Option<&Image>, operation: &OperationHandle) -> Result<(), EngineError> {
        let cut = |cause| EngineError::system("creating", cause);
        let store = &self.inner.store;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a creation: {warning}"));
        undo.push(format!("forgetting instance {}", instance.name), || {
            store.write(|tx| coffer_store::instance::delete(tx, &instance.project, &instance.name))
        });
        let volume = Volume::instance(&instance.project, &instance.name);
        let pool = self.pool_driver(&instance.pool)?;
        operation.cancellable(|| {
            match image {
                Some(image) => self.unpack_into(pool.as_ref(), &volume, image, operation)?,
                None => pool.create(&volume, &mut |directory| Ok(empty_root(directory)?))?,
            }
            undo.push(format!("removing volume {volume}"), {
                let (pool, volume) = (pool.clone(), volume.clone());
                move || pool.delete_volume(&volume)
            });
            Ok(())
        })?;
        fault::point("create.volume-made").map_err(cut)?;
        self.warm_up_made(&pool, &volume);
        let loaded =
            Loaded { instance: Instance { phase: Phase::Ready, ..instance.clone() }, id, ..self.load(&instance.project, &instance.name)? };
        self.set_root_size(pool.as_ref(), &loaded)?;
        self.write_backup(&loaded)?;
        fault::point("create.backup-written").map_err(cut)?;
        store.write(|tx| {
            coffer_store::instance::set_phase(tx, &instance.project, &instance.name, Phase::Ready)?;
            if let Some(image) = image {
                coffer_store::image::touch(tx, &image.project, &image.fingerprint, Time::now())?;
            }
            Ok(())
        })?;
        undo.keep();
        self.confine_later(&loaded.instance, &loaded.config);
        self.schedule_may_have_changed(&loaded.config);
        fault::point("create.finished").map_err(cut)
    }
}

/// MAC addresses for the NICs that have none yet.
pub(crate) fn new_hwaddrs(devices: &Devices, config: &Config) -> Vec<(DeviceName, String)> {
    let wants = |name: &DeviceName, keys: &Config| {
        // Those have their parent's.
        let of_parent = matches!(keys.get("nictype"), Some("physical" | "ipvlan"));
        keys.get("type") == Some("nic")
            && !of_parent
            && keys.get("hwaddr").is_none()
            && config.get(&format!("volatile.{name}.hwaddr")).is_none()
    };
    let random = || {
        let bytes = Uuid::new_v4();
        let [a, b, c, ..] = bytes.as_bytes();
        // LXD's prefix, so that tools that know its instances by it know ours.
        format!("00:16:3e:{a:02x}:{b:02x}:{c:02x}")
    };
    devices.0.iter().filter(|(name, keys)| wants(name, keys)).map(|(name, _)| (name.clone(), random())).collect()
}

pub(crate) fn empty_root(directory: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
    rustix::fs::mkdirat(directory.as_fd(), "rootfs", rustix::fs::Mode::from_raw_mode(0o755)).map_err(Into::into)
}
