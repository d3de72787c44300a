//! Storage pools and volumes.

use coffer_api::{
    ResourcesStoragePool, ResourcesStoragePoolInodes, ResourcesStoragePoolSpace, StoragePool, StorageVolume, StorageVolumeSnapshot,
    StorageVolumeState, StorageVolumeStateUsage, Timestamp,
};
use coffer_engine::{PoolView, VolumeUsage, VolumeView};
use coffer_model::{CustomVolume, VolumeKind, VolumeSnapshot};

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

/// A volume, or a snapshot of one as lists have it.
#[must_use]
pub fn volume(view: &VolumeView) -> StorageVolume {
    StorageVolume {
        config: config(&view.config),
        description: view.description.clone(),
        restore: String::new(),
        name: view.snapshot.as_ref().map_or_else(|| view.name.clone(), |snapshot| format!("{}/{snapshot}", view.name)),
        kind: kind_name(view.kind).into(),
        used_by: view.used_by.clone(),
        location: NO_MEMBER.into(),
        content_type: view.content.to_string(),
        project: view.project.to_string(),
        created_at: view.created_at.into(),
    }
}

/// A volume's URL, with its project.
#[must_use]
pub fn volume_path(view: &VolumeView) -> String {
    let path = format!("/1.0/storage-pools/{}/volumes/{}/{}", view.pool, kind_name(view.kind), view.name);
    let path = view.snapshot.as_ref().map_or_else(|| path.clone(), |snapshot| format!("{path}/snapshots/{snapshot}"));
    url(&path, &view.project)
}

/// A snapshot of a user's volume.
#[must_use]
pub fn volume_snapshot(volume: &CustomVolume, snapshot: &VolumeSnapshot) -> StorageVolumeSnapshot {
    StorageVolumeSnapshot {
        config: config(&snapshot.config),
        description: snapshot.description.clone(),
        expires_at: snapshot.expires_at.map(Timestamp::from),
        name: format!("{}/{}", volume.name, snapshot.name),
        content_type: volume.content.to_string(),
        created_at: snapshot.created_at.into(),
    }
}

/// A snapshot's URL, with its project.
#[must_use]
pub fn volume_snapshot_path(volume: &CustomVolume, snapshot: &VolumeSnapshot) -> String {
    let path = format!("/1.0/storage-pools/{}/volumes/custom/{}/snapshots/{}", volume.pool, volume.name, snapshot.name);
    url(&path, &volume.project)
}

/// The room that a volume takes.
#[must_use]
pub fn volume_state(usage: &VolumeUsage) -> StorageVolumeState {
    let total = usage.total.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    StorageVolumeState { usage: Some(StorageVolumeStateUsage { used: usage.used, total }) }
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
