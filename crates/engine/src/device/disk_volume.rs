//! Disks that are volumes of a pool: opened for instances that start or are running, and let go after them.
//!
//! Files are stored with the ids that instances see, and each instance's mount maps them to its own: any number of
//! unprivileged instances with ranges of their own can share a volume.

use std::os::fd::OwnedFd;

use coffer_model::device::{Disk, DiskSource};
use coffer_model::{ContentType, CustomVolume, DeviceName, Instance, Phase, PoolName, VolumeName};
use coffer_store::Conn;
use coffer_store::project::{self, Feature};

use crate::Engine;
use crate::error::EngineError;
use crate::instance::start::Loaded;
use crate::volume::VolumePlace;

impl Engine {
    /// Mounts a volume for an instance and opens its directory; also says whether its ids are mapped for the instance.
    pub(super) fn open_volume(
        &self,
        loaded: &Loaded,
        device: &DeviceName,
        pool: &PoolName,
        name: &VolumeName,
    ) -> Result<(OwnedFd, bool), EngineError> {
        let place = self.volume_place(pool, &loaded.instance.project, name)?;
        let _claim = self.inner.volumes.claim_beside_readers(&place, "attaching")?;
        let volume = self.custom_volume(&place)?;
        if volume.phase != Phase::Ready || volume.content != ContentType::Filesystem {
            return Err(unfit(&loaded.instance, device, &volume));
        }
        self.refuse_mixed_rights(loaded, device, &place, &volume)?;
        let directory = self.pool_driver(pool)?.mount(&place.volume())?;
        Ok((directory, !volume.config.flag("security.unmapped", false)))
    }

    /// Lets a volume go after an instance that ended or lost it, if it was the last one that had it.
    pub(super) fn close_volume(&self, loaded: &Loaded, pool: &PoolName, name: &VolumeName) {
        let close = || -> Result<(), EngineError> {
            let place = self.volume_place(pool, &loaded.instance.project, name)?;
            let _claim = self.inner.volumes.claim_beside_readers(&place, "detaching")?;
            let this = |other: &Instance| (&other.project, &other.name) == (&loaded.instance.project, &loaded.instance.name);
            if self.running_users(&place)?.iter().all(this) {
                self.pool_driver(pool)?.unmount_volume(&place.volume())?;
            }
            Ok(())
        };
        if let Err(error) = close() {
            tracing::warn!(instance = %loaded.instance.name, volume = %name, "letting its volume go: {}", coffer_base::chain(&error));
        }
    }

    /// Refuses to let a privileged and an unprivileged instance share a volume unasked: root of the one could leave a
    /// program there that has the rights of the host's root in the other.
    fn refuse_mixed_rights(
        &self,
        loaded: &Loaded,
        device: &DeviceName,
        place: &VolumePlace,
        volume: &CustomVolume,
    ) -> Result<(), EngineError> {
        if volume.config.flag("security.shifted", false) || volume.config.flag("security.unmapped", false) {
            return Ok(());
        }
        let own = loaded.config.flag("security.privileged", false);
        for other in self.running_users(place)? {
            let same = (&other.project, &other.name) == (&loaded.instance.project, &loaded.instance.name);
            if !same && self.load(&other.project, &other.name)?.config.flag("security.privileged", false) != own {
                let (name, volume) = (&loaded.instance.name, &volume.name);
                return Err(EngineError::Refused(format!(
                    "instance {name}: device {device}: volume {volume} is in use by instance {}, and one of the two is privileged; \
                     set security.shifted=true on the volume to let them share it",
                    other.name
                )));
            }
        }
        Ok(())
    }
}

/// Refuses a disk whose volume does not exist or is no file system.
pub(crate) fn refuse_unfit(conn: &Conn, instance: &Instance, device: &DeviceName, disk: &Disk) -> Result<(), EngineError> {
    let DiskSource::Volume(pool, name) = &disk.source else { return Ok(()) };
    let home = project::home(conn, &instance.project, Feature::Volumes)?;
    let volume = coffer_store::volume::get(conn, pool, &home, name)?.filter(|volume| volume.phase == Phase::Ready);
    match volume {
        None => Err(EngineError::Refused(format!(
            "instance {}: device {device}: storage pool {pool} has no volume {name}; make it with \"storage volume create\"",
            instance.name
        ))),
        Some(volume) if volume.content != ContentType::Filesystem => Err(unfit(instance, device, &volume)),
        Some(_) => Ok(()),
    }
}

fn unfit(instance: &Instance, device: &DeviceName, volume: &CustomVolume) -> EngineError {
    let why = match (volume.phase, volume.content) {
        (Phase::Creating | Phase::Deleting, _) => "is being deleted",
        (Phase::Ready, ContentType::Filesystem) => "cannot be used",
        (Phase::Ready, ContentType::Block) => "is a block volume: custom block volumes cannot be used on containers",
        (Phase::Ready, ContentType::Iso) => "is an ISO volume: custom ISO volumes cannot be used on containers",
    };
    EngineError::Refused(format!("instance {}: device {device}: volume {} {why}", instance.name, volume.name))
}
