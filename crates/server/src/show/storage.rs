//! Storage pools and volumes.

use coffer_api::{ResourcesStoragePool, ResourcesStoragePoolInodes, ResourcesStoragePoolSpace, StoragePool, StorageVolume};
use coffer_engine::PoolView;
use coffer_model::{Volume, VolumeKind};

use super::{NO_MEMBER, config, url};
use crate::refusal::Refusal;

/// A storage pool.
#[must_use]
pub fn pool(view: &PoolView) -> StoragePool {
    StoragePool {
        config: config(&view.pool.config),
        description: view.pool.description.clone(),
        name: view.pool.name.to_string(),
        driver: view.pool.driver.clone(),
        used_by: view.used_by.clone(),
        status: view.status.to_owned(),
        locations: vec![NO_MEMBER.into()],
    }
}

/// The room in a pool.
#[must_use]
pub fn pool_resources(resources: &coffer_engine::Resources) -> ResourcesStoragePool {
    ResourcesStoragePool {
        space: ResourcesStoragePoolSpace { used: resources.space_used, total: resources.space_total },
        inodes: ResourcesStoragePoolInodes { used: resources.inodes_used, total: resources.inodes_total },
    }
}

/// A volume.
#[must_use]
pub fn volume(volume: &Volume, used_by: Vec<String>) -> StorageVolume {
    StorageVolume {
        config: config(&volume.config),
        description: volume.description.clone(),
        restore: String::new(),
        name: volume.name.clone(),
        kind: kind_name(volume.kind).into(),
        used_by,
        location: NO_MEMBER.into(),
        content_type: "filesystem".into(),
        project: volume.project.to_string(),
        created_at: volume.created_at.into(),
    }
}

/// A volume's URL, with its project.
#[must_use]
pub fn volume_path(volume: &Volume) -> String {
    url(&format!("/1.0/storage-pools/{}/volumes/{}/{}", volume.pool, kind_name(volume.kind), volume.name), &volume.project)
}

/// Reads a kind of volume; `None` for virtual machines', of which there are none.
///
/// # Errors
/// If there is no such kind.
pub fn volume_kind(text: &str) -> Result<Option<VolumeKind>, Refusal> {
    match text {
        "container" => Ok(Some(VolumeKind::Container)),
        "image" => Ok(Some(VolumeKind::Image)),
        "custom" => Ok(Some(VolumeKind::Custom)),
        "virtual-machine" => Ok(None),
        other => Err(Refusal::bad_request(format!("invalid volume type {other:?}: it must be container, image or custom"))),
    }
}

fn kind_name(kind: VolumeKind) -> &'static str {
    match kind {
        VolumeKind::Container => "container",
        VolumeKind::Image => "image",
        VolumeKind::Custom => "custom",
    }
}
