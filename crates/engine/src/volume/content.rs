//! How much room a volume takes.

use std::os::fd::AsFd;

use coffer_model::{ContentType, PoolName, ProjectName, VolumeKind};
use coffer_storage::{Pool as Driver, Volume, disk_file, tree};

use super::{VolumePlace, VolumeUsage};
use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// How much room a volume takes: asked of the pool where that can tell, else found by walking through it.
    ///
    /// # Errors
    /// If there is no such volume, or its pool is not there just now.
    pub fn volume_usage(&self, pool: &PoolName, project: &ProjectName, kind: VolumeKind, name: &str) -> Result<VolumeUsage, EngineError> {
        let driver = self.pool_driver(pool)?;
        match kind {
            VolumeKind::Custom => self.custom_usage(driver.as_ref(), &self.volume_place(pool, project, &name.parse()?)?),
            VolumeKind::Container => {
                let instance = self.load(project, &name.parse()?)?.instance;
                if instance.pool != *pool {
                    return Err(EngineError::not_found("storage volume", name));
                }
                of_files(driver.as_ref(), &Volume::instance(&instance.project, &instance.name))
            }
            VolumeKind::Image => {
                let fingerprint = name.parse()?;
                of_files(driver.as_ref(), &Volume::image(&fingerprint))
            }
        }
    }

    fn custom_usage(&self, driver: &dyn Driver, place: &VolumePlace) -> Result<VolumeUsage, EngineError> {
        let volume = self.custom_volume(place)?;
        match volume.content {
            ContentType::Filesystem => of_files(driver, &place.volume()),
            ContentType::Block | ContentType::Iso => {
                let doing = |cause| EngineError::system(format!("storage volume {}: measuring it", volume.name), cause);
                let top = driver.mount(&place.volume())?;
                let (used, total) = (disk_file::used(top.as_fd()).map_err(doing)?, disk_file::size(top.as_fd()).map_err(doing)?);
                Ok(VolumeUsage { used: used.0, total: Some(total.0) })
            }
        }
    }
}

fn of_files(driver: &dyn Driver, volume: &Volume) -> Result<VolumeUsage, EngineError> {
    if let Some(usage) = driver.usage(volume)? {
        return Ok(VolumeUsage { used: usage.used, total: usage.limit });
    }
    let top = driver.mount(volume)?;
    let used = tree::measure(top.as_fd())
        .map_err(|error| EngineError::system(format!("measuring {volume} at {}", error.path.display()), error.cause))?;
    Ok(VolumeUsage { used, total: None })
}
