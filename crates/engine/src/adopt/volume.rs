//! A user's volume that is in no record. It says nothing of itself: it comes back with its snapshots, without configuration.

use std::os::fd::AsFd;

use coffer_model::gate::Origin;
use coffer_model::{Config, ContentType, CustomVolume, Phase, SnapshotName, Time, VolumeSnapshot};
use coffer_storage::{Volume, disk_file};

use super::search::Searched;
use super::{LostVolume, whose};
use crate::error::EngineError;

/// Describes a volume and its snapshots by what stands in the pool.
pub(super) fn lost_volume(place: &Searched, volume: &Volume, there: &[SnapshotName]) -> Result<LostVolume, EngineError> {
    let (project, name) = whose(volume)?;
    let directory = place.driver().mount(volume)?;
    let content = if disk_file::size(directory.as_fd()).is_ok() { ContentType::Block } else { ContentType::Filesystem };
    drop(directory);
    if let Err(error) = place.driver().unmount_volume(volume) {
        tracing::warn!(pool = %place.pool.name, "unmounting {volume}: {}", coffer_base::chain(&error));
    }
    let created_at = Time::now();
    let new = CustomVolume {
        pool: place.pool.name.clone(),
        project,
        name: name.parse()?,
        description: String::new(),
        config: Config::default(),
        content,
        created_at,
        phase: Phase::Ready,
        renamed_from: None,
    };
    let snapshot = |name: &SnapshotName| VolumeSnapshot {
        name: name.clone(),
        description: String::new(),
        config: Config::default(),
        created_at,
        expires_at: None,
        phase: Phase::Ready,
        renamed_from: None,
    };
    Ok((crate::volume::check(new, place.driver().driver(), None, Origin::Server)?, there.iter().map(snapshot).collect()))
}
