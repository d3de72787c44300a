//! Devices: each kind answers what a start, a hot-plug and an end need of it.

mod block_device;
mod cdi;
pub mod disk;
pub mod disk_volume;
mod gpu;
mod gpu_cards;
mod host_node;
mod hotplug;
pub mod nic;
mod nic_host;
mod nic_limits;
mod proxy;
pub mod unix;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use coffer_base::Undo;
use coffer_model::{Device, DeviceName, Devices};
use coffer_runtime_spec as spec;

use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;

/// What devices add to a start.
#[derive(Debug, Default)]
pub struct RunConfig {
    /// Mounts, in order.
    pub mounts: Vec<spec::Mount>,
    /// Device nodes.
    pub devices: Vec<spec::Device>,
    /// Network interfaces, in order.
    pub nics: Vec<spec::Nic>,
    /// Connections handed on.
    pub proxies: Vec<spec::Proxy>,
    /// Limits of block devices.
    pub io: Vec<spec::IoLimit>,
    /// Variables of the environment of init.
    pub environment: Vec<(String, String)>,
    /// Keys to remember.
    pub volatile: Vec<(String, String)>,
}

/// Adds a descriptor to those that travel with a message; answers its position.
pub fn add_fd(fds: &mut Vec<OwnedFd>, fd: OwnedFd) -> u32 {
    fds.push(fd);
    u32::try_from(fds.len() - 1).expect("a start has a few descriptors")
}

impl Engine {
    /// Prepares all devices of an instance that is about to start, in the order of their names; NICs first, because disks
    /// may be many and need nothing of them.
    pub(crate) fn device_start<'a>(
        &'a self,
        loaded: &Loaded,
        fds: &mut Vec<OwnedFd>,
        undo: &mut Undo<'a>,
    ) -> Result<RunConfig, EngineError> {
        let devices = loaded.devices()?;
        let mut run = RunConfig::default();
        for (name, device) in &devices {
            if let Device::Nic(nic) = device {
                self.nic_start(loaded, name, nic, &mut run, undo)?;
            }
        }
        for (name, device) in &devices {
            match device {
                Device::Disk(disk) => self.disk_start(loaded, name, disk, fds, &mut run)?,
                Device::Gpu(gpu) => self.gpu_start(name, gpu, fds, &mut run)?,
                Device::Unix(device) => self.unix_start(name, device, &mut run)?,
                Device::Hotplug(device) => self.hotplug_start(name, device, &mut run)?,
                Device::Proxy(proxy) => self.proxy_start(loaded, name, proxy, &mut run, undo)?,
                Device::Nic(_) | Device::None => {}
            }
        }
        run.io = self.disk_limits(loaded)?;
        Ok(run)
    }

    /// Takes back what the devices of an instance that ended left on the host. Failures are logged: the instance is gone.
    pub(crate) fn device_end(&self, loaded: &Loaded) {
        let Ok(devices) = loaded.devices() else { return };
        for (name, device) in &devices {
            match device {
                Device::Nic(nic) => self.nic_end(loaded, name, nic),
                Device::Disk(disk) => self.disk_end(loaded, disk),
                Device::Proxy(proxy) => self.proxy_end(loaded, name, proxy),
                Device::Gpu(_) | Device::Hotplug(_) | Device::Unix(_) | Device::None => {}
            }
        }
    }

    /// Makes a running instance have the new devices: takes away what went, adds what came, replaces what changed. When a
    /// step fails, `undo` gives it the old ones back.
    pub(crate) fn device_change<'a>(
        &'a self,
        running: &Arc<Running>,
        old: &'a Loaded,
        new: &'a Loaded,
        undo: &mut Undo<'a>,
    ) -> Result<Vec<(String, String)>, EngineError> {
        let (before, after) = (old.devices()?, new.devices()?);
        let changed = |name: &DeviceName| !same(before.get(name), after.get(name));
        for (name, device) in before.iter().filter(|(name, _)| changed(name)) {
            self.device_unplug(running, old, name, device, after.get(name))?;
            let (running, name, device) = (running.clone(), name.clone(), device.clone());
            undo.push(format!("attaching device {name} again"), move || self.device_plug(&running, old, &name, &device).map(drop));
        }
        let mut volatile = Vec::new();
        for (name, device) in after.iter().filter(|(name, _)| changed(name)) {
            volatile.extend(self.device_plug(running, new, name, device)?);
            let (running, name, device, next) = (running.clone(), name.clone(), device.clone(), before.get(name).cloned());
            undo.push(format!("detaching device {name} again"), move || self.device_unplug(&running, new, &name, &device, next.as_ref()));
        }
        self.nics_limit(old, new)?;
        undo.push("going back to the earlier limits of NICs", move || self.nics_limit(new, old));
        Ok(volatile)
    }

    /// Makes a running instance have the devices of `record`, where it may have some of `other` instead, or neither. Answers keys
    /// to remember.
    pub(crate) fn settle_devices(
        &self,
        running: &Arc<Running>,
        other: &Loaded,
        record: &Loaded,
    ) -> Result<Vec<(String, String)>, EngineError> {
        let (others, wanted) = (other.devices()?, record.devices()?);
        let names: BTreeSet<&DeviceName> = others.keys().chain(wanted.keys()).collect();
        let mut volatile = Vec::new();
        for name in names.into_iter().filter(|name| !same(others.get(*name), wanted.get(*name))) {
            for (loaded, device) in [(other, others.get(name)), (record, wanted.get(name))] {
                if let Some(device) = device
                    && let Err(error) = self.device_unplug(running, loaded, name, device, None)
                {
                    // It is not there: the other one is, or none.
                    tracing::debug!(instance = %record.instance.name, "device {name}: {}", coffer_base::chain(&error));
                }
            }
            if let Some(device) = wanted.get(name) {
                volatile.extend(self.device_plug(running, record, name, device)?);
            }
        }
        self.nics_limit(other, record)?;
        Ok(volatile)
    }

    /// Attaches a device to a running instance. Answers keys to remember.
    fn device_plug(
        &self,
        running: &Running,
        loaded: &Loaded,
        name: &DeviceName,
        device: &Device,
    ) -> Result<Vec<(String, String)>, EngineError> {
        match device {
            Device::Nic(nic) => return self.nic_plug(running, loaded, name, nic),
            Device::Gpu(gpu) => return self.gpu_plug(running, loaded, name, gpu),
            Device::Disk(disk) => self.disk_plug(running, loaded, name, disk)?,
            Device::Proxy(proxy) => self.proxy_plug(running, loaded, name, proxy)?,
            Device::Unix(device) => self.unix_plug(running, loaded, name, device)?,
            Device::Hotplug(device) => self.hotplug_plug(running, loaded, name, device)?,
            Device::None => {}
        }
        Ok(Vec::new())
    }

    /// Takes a device away from a running instance. `next` is what comes under the same name.
    fn device_unplug(
        &self,
        running: &Running,
        loaded: &Loaded,
        name: &DeviceName,
        device: &Device,
        next: Option<&Device>,
    ) -> Result<(), EngineError> {
        match device {
            Device::Nic(nic) => self.nic_unplug(running, loaded, name, nic),
            Device::Disk(disk) => self.disk_unplug(running, loaded, name, disk, next),
            Device::Proxy(proxy) => self.proxy_unplug(running, loaded, name, proxy),
            Device::Gpu(gpu) => self.gpu_unplug(running, loaded, name, gpu),
            Device::Unix(device) => self.unix_unplug(running, loaded, device),
            Device::Hotplug(device) => self.hotplug_unplug(running, loaded, device),
            Device::None => Ok(()),
        }
    }
}

/// Says whether a running instance has nothing to do for this change.
fn same(before: Option<&Device>, after: Option<&Device>) -> bool {
    match (before, after) {
        (Some(Device::Disk(before)), Some(Device::Disk(after))) => before.same_mount(after),
        (Some(Device::Nic(before)), Some(Device::Nic(after))) => before.same_link(after),
        (before, after) => before == after,
    }
}

impl Loaded {
    /// The devices that count, with what the instance's keys say of those that do not say it themselves.
    pub(crate) fn devices(&self) -> Result<std::collections::BTreeMap<DeviceName, Device>, EngineError> {
        let expanded: Devices = self.instance.expanded_devices(&self.profiles);
        let what = format!("instance {}", self.instance.name);
        let mut devices: std::collections::BTreeMap<DeviceName, Device> =
            expanded.parse().map_err(|cause| coffer_model::GateError::Device { what, cause: Box::new(cause) })?;
        if let Some(priority) = self.config.parse::<u32>("limits.network.priority").filter(|priority| *priority > 0) {
            for device in devices.values_mut() {
                if let Device::Nic(nic) = device {
                    nic.limits.priority.get_or_insert(priority);
                }
            }
        }
        Ok(devices)
    }
}

/// Says that the monitor did not do something for a device.
fn failed(loaded: &Loaded, doing: &'static str, cause: crate::MonitorError) -> EngineError {
    EngineError::Monitor { instance: loaded.instance.name.clone(), doing, cause }
}
