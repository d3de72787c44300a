//! Devices: each kind answers what a start, a hot-plug and an end need of it.

pub mod disk;
pub mod nic;

use std::os::fd::OwnedFd;

use coffer_base::Undo;
use coffer_model::{Device, DeviceName, Devices};
use coffer_runtime_spec as spec;

use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;

/// What devices add to a start.
#[derive(Debug, Default)]
pub struct RunConfig {
    /// Mounts, in order.
    pub mounts: Vec<spec::Mount>,
    /// Network interfaces, in order.
    pub nics: Vec<spec::Nic>,
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
            if let Device::Disk(disk) = device {
                self.disk_start(name, disk, fds, &mut run)?;
            }
        }
        Ok(run)
    }

    /// Takes back what the devices of an instance that ended left on the host. Failures are logged: the instance is gone.
    pub(crate) fn device_end(&self, loaded: &Loaded) {
        let Ok(devices) = loaded.devices() else { return };
        for (name, device) in &devices {
            match device {
                Device::Nic(nic) => self.nic_end(loaded, name, nic),
                Device::Disk(_) | Device::None => {}
            }
        }
    }

    /// Makes a running instance have the new devices: takes away what went, adds what came, replaces what changed.
    pub(crate) fn device_change(
        &self,
        running: &crate::live::Running,
        old: &Loaded,
        new: &Loaded,
    ) -> Result<Vec<(String, String)>, EngineError> {
        let (before, after) = (old.devices()?, new.devices()?);
        let changed = |name: &DeviceName| before.get(name) != after.get(name);
        for (name, device) in before.iter().filter(|(name, _)| changed(name)) {
            match device {
                Device::Nic(nic) => self.nic_unplug(running, old, name, nic)?,
                Device::Disk(disk) => self.disk_unplug(running, old, name, disk, after.get(name))?,
                Device::None => {}
            }
        }
        let mut volatile = Vec::new();
        for (name, device) in after.iter().filter(|(name, _)| changed(name)) {
            match device {
                Device::Nic(nic) => volatile.extend(self.nic_plug(running, new, name, nic)?),
                Device::Disk(disk) => self.disk_plug(running, new, name, disk)?,
                Device::None => {}
            }
        }
        Ok(volatile)
    }
}

impl Loaded {
    /// The devices that count.
    pub(crate) fn devices(&self) -> Result<std::collections::BTreeMap<DeviceName, Device>, EngineError> {
        let expanded: Devices = self.instance.expanded_devices(&self.profiles);
        let what = format!("instance {}", self.instance.name);
        expanded.parse().map_err(|cause| coffer_model::GateError::Device { what, cause: Box::new(cause) }.into())
    }
}

/// Says that the monitor did not do something for a device.
fn failed(loaded: &Loaded, doing: &'static str, cause: crate::MonitorError) -> EngineError {
    EngineError::Monitor { instance: loaded.instance.name.clone(), doing, cause }
}
