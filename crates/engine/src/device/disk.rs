//! Disks: directories and files of the host inside an instance.

use std::os::fd::{AsFd, OwnedFd};

use coffer_model::device::{Disk, DiskSource};
use coffer_model::{Device, DeviceName};
use coffer_runtime_spec as spec;
use rustix::fs::{Mode, OFlags};

use super::{RunConfig, add_fd, failed};
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;
use crate::{Engine, MonitorError};

impl Engine {
    /// Opens the source of a disk that the instance starts with. The root disk is mounted elsewhere.
    pub(super) fn disk_start(
        &self,
        name: &DeviceName,
        disk: &Disk,
        fds: &mut Vec<OwnedFd>,
        run: &mut RunConfig,
    ) -> Result<(), EngineError> {
        if let Some(source) = open_source(name, disk)? {
            let position = add_fd(fds, source);
            run.mounts.push(mount(disk, position));
        }
        Ok(())
    }

    /// Attaches a disk to a running instance; for the root disk only its size can change.
    pub(super) fn disk_plug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, disk: &Disk) -> Result<(), EngineError> {
        if let DiskSource::Root(_) = disk.source {
            return self.resize_root(&loaded.instance, disk.size);
        }
        let Some(source) = open_source(name, disk)? else { return Ok(()) };
        let request = spec::Request::AttachMount { mount: Box::new(mount(disk, 0)) };
        running.monitor.tell(request, &[source.as_fd()]).map_err(|cause| failed(loaded, "attaching a disk", cause))
    }

    /// Takes a disk away from a running instance. A root disk that only changes stays.
    pub(super) fn disk_unplug(
        &self,
        running: &Running,
        loaded: &Loaded,
        name: &DeviceName,
        disk: &Disk,
        next: Option<&Device>,
    ) -> Result<(), EngineError> {
        if let DiskSource::Root(_) = disk.source {
            return match next {
                Some(Device::Disk(_)) => Ok(()),
                Some(Device::Nic(_) | Device::None) | None => {
                    Err(EngineError::Refused(format!("device {name}: the root disk cannot be removed while the instance runs")))
                }
            };
        }
        match running.monitor.tell(spec::Request::DetachMount { target: disk.path.clone() }, &[]) {
            // A source that was missing and not required was never attached.
            Err(MonitorError::Refused(refusal)) if refusal.kind == spec::RefusalKind::NotFound => Ok(()),
            result => result.map_err(|cause| failed(loaded, "detaching a disk", cause)),
        }
    }
}

/// Opens a disk's source on the host; `None` where it is missing and not required.
fn open_source(name: &DeviceName, disk: &Disk) -> Result<Option<OwnedFd>, EngineError> {
    let path = match &disk.source {
        DiskSource::Root(_) => return Ok(None),
        DiskSource::Volume(_, volume) => {
            return Err(EngineError::Refused(format!("device {name}: custom volumes (here {volume}) are not supported yet")));
        }
        DiskSource::Host(path) => path,
    };
    match rustix::fs::open(path.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::NOENT) if !disk.required => Ok(None),
        Err(cause) => Err(EngineError::system(format!("device {name}: opening source {path}"), cause)),
    }
}

fn mount(disk: &Disk, position: u32) -> spec::Mount {
    spec::Mount {
        source: spec::MountSource::Host(spec::Source::Fd(position)),
        target: disk.path.clone(),
        readonly: disk.readonly,
        nosuid: false,
        nodev: true,
        noexec: false,
        recursive: disk.recursive,
        idmapped: disk.shift,
        propagation: spec::Propagation::Private,
        create: spec::CreateTarget::Matching,
        optional: false,
    }
}
