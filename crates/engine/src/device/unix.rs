//! Device nodes of the host inside an instance.

use coffer_model::DeviceName;
use coffer_model::device::{NodeAccess, NodeKind, NodeSource, UnixDevice};
use coffer_runtime_spec as spec;
use rustix::fs::FileType;

use super::{RunConfig, failed};
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;
use crate::{Engine, MonitorError};

impl Engine {
    /// Adds a device node to a start.
    pub(super) fn unix_start(&self, name: &DeviceName, device: &UnixDevice, run: &mut RunConfig) -> Result<(), EngineError> {
        run.devices.extend(find(name, device)?);
        Ok(())
    }

    /// Gives a running instance a device node.
    pub(super) fn unix_plug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, device: &UnixDevice) -> Result<(), EngineError> {
        find(name, device)?.map_or(Ok(()), |node| plug(running, loaded, node))
    }

    /// Takes a device node out of a running instance, and its use with it.
    pub(super) fn unix_unplug(&self, running: &Running, loaded: &Loaded, device: &UnixDevice) -> Result<(), EngineError> {
        unplug(running, loaded, &device.path)
    }
}

/// Makes a node in a running instance.
pub(super) fn plug(running: &Running, loaded: &Loaded, device: spec::Device) -> Result<(), EngineError> {
    let request = spec::Request::AttachDevice { device };
    running.monitor.tell(request, &[]).map_err(|cause| failed(loaded, "attaching a device node", cause))
}

/// Removes a node from a running instance; one that is not there is removed.
pub(super) fn unplug(running: &Running, loaded: &Loaded, path: &str) -> Result<(), EngineError> {
    match running.monitor.tell(spec::Request::DetachDevice { path: path.to_owned() }, &[]) {
        Err(MonitorError::Refused(refusal)) if refusal.kind == spec::RefusalKind::NotFound => Ok(()),
        result => result.map_err(|cause| failed(loaded, "detaching a device node", cause)),
    }
}

/// Describes a node for the monitor.
pub(super) fn node(kind: NodeKind, path: String, (major, minor): (u32, u32), access: NodeAccess) -> spec::Device {
    let kind = match kind {
        NodeKind::Char => spec::DeviceKind::Char,
        NodeKind::Block => spec::DeviceKind::Block,
    };
    spec::Device { path, kind, major, minor, mode: access.mode.0, uid: access.owner.uid, gid: access.owner.gid }
}

/// Finds the device that a node stands for; `None` where the host does not have it and need not.
fn find(name: &DeviceName, device: &UnixDevice) -> Result<Option<spec::Device>, EngineError> {
    let path = match &device.source {
        NodeSource::Numbers(major, minor) => {
            return Ok(Some(node(device.kind, device.path.clone(), (*major, *minor), device.access)));
        }
        NodeSource::Host(path) => path,
    };
    let stat = match rustix::fs::stat(path.as_str()) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) if !device.required => return Ok(None),
        Err(rustix::io::Errno::NOENT) => {
            return Err(EngineError::Refused(format!(
                "device {name}: the host has no {path}; say major and minor, or set required=false to have it come later"
            )));
        }
        Err(cause) => return Err(EngineError::system(format!("device {name}: looking at {path}"), cause)),
    };
    let (wanted, words) = match device.kind {
        NodeKind::Char => (FileType::CharacterDevice, "character"),
        NodeKind::Block => (FileType::BlockDevice, "block"),
    };
    if FileType::from_raw_mode(stat.st_mode) != wanted {
        return Err(EngineError::Refused(format!("device {name}: {path} is no {words} device")));
    }
    let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    Ok(Some(node(device.kind, device.path.clone(), number, device.access)))
}
