//! Disks: directories and files of the host, and file systems in memory, inside an instance.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use coffer_model::device::{Disk, DiskLimits, DiskSource, Propagation};
use coffer_model::key::{IoRate, Owner};
use coffer_model::{Device, DeviceName};
use coffer_runtime_spec as spec;
use rustix::fs::{FileType, Mode, OFlags};

use super::{RunConfig, add_fd, block_device, failed};
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::live::Running;
use crate::{Engine, MonitorError};

/// What a disk is mounted from.
enum Opened {
    /// The root disk, which is mounted elsewhere, or a source that is missing and not required.
    Nothing,
    /// Something of the host, held open: nobody can swap it any more.
    Host(OwnedFd),
    /// The directory of a volume, and whether its ids are mapped as the instance's own.
    Volume { directory: OwnedFd, idmapped: bool },
    /// A new file system in memory.
    Memory,
}

impl Engine {
    /// Opens the source of a disk that the instance starts with.
    pub(super) fn disk_start(
        &self,
        loaded: &Loaded,
        name: &DeviceName,
        disk: &Disk,
        fds: &mut Vec<OwnedFd>,
        run: &mut RunConfig,
    ) -> Result<(), EngineError> {
        match self.open_disk(loaded, name, disk)? {
            Opened::Nothing => {}
            Opened::Host(source) => {
                let owner = owner(disk, &source)?;
                let source = spec::MountSource::Host(spec::Source::Fd(add_fd(fds, source)));
                run.mounts.push(mount(disk, source, owner));
            }
            Opened::Volume { directory, idmapped } => {
                let source = spec::MountSource::Host(spec::Source::Fd(add_fd(fds, directory)));
                run.mounts.push(spec::Mount { idmapped, ..mount(disk, source, None) });
            }
            Opened::Memory => run.mounts.push(mount(disk, memory(disk), None)),
        }
        Ok(())
    }

    /// Takes back what a disk of an instance that ended left on the host.
    pub(super) fn disk_end(&self, loaded: &Loaded, disk: &Disk) {
        if let DiskSource::Volume(pool, volume) = &disk.source {
            self.close_volume(loaded, pool, volume);
        }
    }

    /// Opens a disk's source.
    fn open_disk(&self, loaded: &Loaded, name: &DeviceName, disk: &Disk) -> Result<Opened, EngineError> {
        match &disk.source {
            DiskSource::Volume(pool, volume) => {
                let (directory, idmapped) = self.open_volume(loaded, name, pool, volume)?;
                Ok(Opened::Volume { directory, idmapped })
            }
            DiskSource::Root(_) | DiskSource::Host(_) | DiskSource::Memory => open_source(name, disk),
        }
    }

    /// Attaches a disk to a running instance; for the root disk only its size can change.
    pub(super) fn disk_plug(&self, running: &Running, loaded: &Loaded, name: &DeviceName, disk: &Disk) -> Result<(), EngineError> {
        if let DiskSource::Root(_) = disk.source {
            return self.resize_root(&loaded.instance, disk.size);
        }
        let first = || spec::MountSource::Host(spec::Source::Fd(0));
        let (mount, source) = match self.open_disk(loaded, name, disk)? {
            Opened::Nothing => return Ok(()),
            Opened::Host(source) => (mount(disk, first(), owner(disk, &source)?), Some(source)),
            Opened::Volume { directory, idmapped } => (spec::Mount { idmapped, ..mount(disk, first(), None) }, Some(directory)),
            Opened::Memory => (mount(disk, memory(disk), None), None),
        };
        let fds: Vec<_> = source.iter().map(AsFd::as_fd).collect();
        let request = spec::Request::AttachMount { mount: Box::new(mount) };
        running.monitor.tell(request, &fds).map_err(|cause| failed(loaded, "attaching a disk", cause))
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
                Some(Device::Disk(next)) if next.path == disk.path => Ok(()),
                _ => Err(EngineError::Refused(format!("device {name}: the root disk cannot be removed while the instance runs"))),
            };
        }
        // A source that was missing and not required was never attached, and root inside may have unmounted it.
        unmount(running, loaded, &disk.path, "detaching a disk")?;
        self.disk_end(loaded, disk);
        Ok(())
    }

    /// The limits that an instance's disks ask for, by block device. Where several disks are on one, the lowest counts.
    ///
    /// # Errors
    /// If a disk with limits is on no block device.
    pub(crate) fn disk_limits(&self, loaded: &Loaded) -> Result<Vec<spec::IoLimit>, EngineError> {
        let mut limits = BTreeMap::new();
        for (name, device) in loaded.devices()? {
            let Device::Disk(disk) = device else { continue };
            if disk.limits == DiskLimits::default() {
                continue;
            }
            let file = match &disk.source {
                DiskSource::Root(pool) => {
                    let volume = coffer_storage::Volume::instance(&loaded.instance.project, &loaded.instance.name);
                    self.pool_driver(pool)?.directory(&volume)?
                }
                DiskSource::Volume(pool, volume) => {
                    let place = self.volume_place(pool, &loaded.instance.project, volume)?;
                    self.pool_driver(pool)?.mount(&place.volume())?
                }
                DiskSource::Host(_) | DiskSource::Memory => match open_source(&name, &disk)? {
                    Opened::Host(file) => file,
                    Opened::Nothing | Opened::Memory | Opened::Volume { .. } => continue,
                },
            };
            let number = block_device::below(file.as_fd()).map_err(|cause| {
                EngineError::Refused(format!("device {name}: limits of reading and writing: {}", coffer_base::chain(&cause)))
            })?;
            lower(limits.entry(number).or_insert_with(|| nothing_limited(number)), disk.limits);
        }
        Ok(limits.into_values().collect())
    }
}

/// Unmounts something in a running instance; what is not mounted is unmounted.
pub(super) fn unmount(running: &Running, loaded: &Loaded, target: &str, doing: &'static str) -> Result<(), EngineError> {
    match running.monitor.tell(spec::Request::DetachMount { target: target.to_owned() }, &[]) {
        Err(MonitorError::Refused(refusal)) if is_gone(&refusal) => Ok(()),
        result => result.map_err(|cause| failed(loaded, doing, cause)),
    }
}

/// Opens a disk's source.
fn open_source(name: &DeviceName, disk: &Disk) -> Result<Opened, EngineError> {
    let path = match &disk.source {
        // Those are opened in their pools.
        DiskSource::Root(_) | DiskSource::Volume(..) => return Ok(Opened::Nothing),
        DiskSource::Memory => return Ok(Opened::Memory),
        DiskSource::Host(path) => path,
    };
    let told = |cause: rustix::io::Errno| EngineError::system(format!("device {name}: opening source {path}"), cause);
    let file = match rustix::fs::open(path.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) if !disk.required => return Ok(Opened::Nothing),
        Err(rustix::io::Errno::NOENT) => {
            return Err(EngineError::Refused(format!(
                "device {name}: source {path} does not exist on the host; make it, or set required=false"
            )));
        }
        Err(cause) => return Err(told(cause)),
    };
    match FileType::from_raw_mode(rustix::fs::fstat(&file).map_err(told)?.st_mode) {
        FileType::BlockDevice | FileType::CharacterDevice => Err(EngineError::Refused(format!(
            "device {name}: source {path} is a device node; mount it on the host and share the directory, or use a device of type \
             unix-block or unix-char"
        ))),
        _ => Ok(Opened::Host(file)),
    }
}

/// Whose files on the host belong to whom inside. Where the host's user is not said it is the source's owner.
fn owner(disk: &Disk, source: &OwnedFd) -> Result<Option<spec::MountOwner>, EngineError> {
    let Some(owner) = disk.owner else { return Ok(None) };
    let host = match owner.host {
        Some(host) => host,
        None => {
            let stat = rustix::fs::fstat(source).map_err(|cause| EngineError::system("looking at a disk's source", cause))?;
            Owner { uid: stat.st_uid, gid: stat.st_gid }
        }
    };
    Ok(Some(spec::MountOwner { host_uid: host.uid, host_gid: host.gid, uid: owner.inside.uid, gid: owner.inside.gid }))
}

fn memory(disk: &Disk) -> spec::MountSource {
    let mode = ("mode".to_owned(), "0755".to_owned());
    let size = disk.size.map(|size| ("size".to_owned(), size.0.to_string()));
    spec::MountSource::Filesystem { kind: "tmpfs".into(), options: size.into_iter().chain([mode]).collect() }
}

fn mount(disk: &Disk, source: spec::MountSource, owner: Option<spec::MountOwner>) -> spec::Mount {
    spec::Mount {
        source,
        target: disk.path.clone(),
        readonly: disk.readonly,
        nosuid: false,
        nodev: true,
        noexec: false,
        recursive: disk.recursive,
        idmapped: disk.shift,
        owner,
        propagation: match disk.propagation {
            Propagation::Private => spec::Propagation::Private,
            Propagation::Slave => spec::Propagation::Slave,
            Propagation::Unbindable => spec::Propagation::Unbindable,
        },
        create: spec::CreateTarget::Matching,
        optional: false,
    }
}

fn nothing_limited((major, minor): (u32, u32)) -> spec::IoLimit {
    spec::IoLimit { major, minor, ..spec::IoLimit::default() }
}

fn lower(limit: &mut spec::IoLimit, asked: DiskLimits) {
    let least = |now: &mut Option<u64>, rate: u64| *now = Some(now.map_or(rate, |now| now.min(rate)));
    match asked.read {
        Some(IoRate::Bytes(bytes)) => least(&mut limit.read_bytes, bytes),
        Some(IoRate::Operations(operations)) => least(&mut limit.read_operations, operations),
        None => {}
    }
    match asked.write {
        Some(IoRate::Bytes(bytes)) => least(&mut limit.write_bytes, bytes),
        Some(IoRate::Operations(operations)) => least(&mut limit.write_operations, operations),
        None => {}
    }
}

/// Says whether nothing is mounted there.
fn is_gone(refusal: &spec::Refusal) -> bool {
    const NOT_MOUNTED: [i32; 2] = [rustix::io::Errno::INVAL.raw_os_error(), rustix::io::Errno::NOENT.raw_os_error()];
    refusal.kind == spec::RefusalKind::NotFound || refusal.errno.is_some_and(|errno| NOT_MOUNTED.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_disks_on_one_device_the_lowest_limit_counts() {
        let mut limit = nothing_limited((8, 0));
        lower(&mut limit, DiskLimits { read: Some(IoRate::Bytes(10)), write: Some(IoRate::Operations(7)) });
        lower(&mut limit, DiskLimits { read: Some(IoRate::Bytes(5)), write: None });
        assert_eq!((limit.read_bytes, limit.read_operations, limit.write_bytes, limit.write_operations), (Some(5), None, None, Some(7)));
    }
}
