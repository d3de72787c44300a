//! Users' storage volumes: the use cases, and what they share.

mod claim;
mod clock;
mod content;
mod copy;
mod create;
mod delete;
mod list;
mod recover;
mod rename;
mod request;
mod schedule;
mod snapshot;
mod update;
mod users;

pub(crate) use claim::{Claim, Claims, Pin};
pub(crate) use delete::remove_from_pool;
pub use request::{CopyVolume, CreateVolume, RenameVolume, SnapshotExpiry, VolumeChange, VolumePlace, VolumeUsage, VolumeView};

use std::collections::BTreeMap;

use coffer_model::gate::{self, Origin};
use coffer_model::{Checked, ContentType, CustomVolume, Phase, PoolName, ProjectName, VolumeKey, VolumeKind, VolumeName};
use coffer_storage::{DriverKind, Volume};
use coffer_store::project::Feature;

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;

impl Engine {
    /// Finds where a project has its volumes: its own, or the default project's.
    ///
    /// # Errors
    /// If the project does not exist.
    pub fn volume_place(&self, pool: &PoolName, project: &ProjectName, name: &VolumeName) -> Result<VolumePlace, EngineError> {
        let home = self.inner.store.read(|conn| coffer_store::project::home(conn, project, Feature::Volumes))?;
        Ok(VolumePlace { pool: pool.clone(), key: VolumeKey { project: home, name: name.clone() } })
    }

    /// Reads what is kept of a user's volume.
    ///
    /// # Errors
    /// If there is no such volume.
    pub fn custom_volume(&self, place: &VolumePlace) -> Result<CustomVolume, EngineError> {
        let found = self.inner.store.read(|conn| read(conn, place))?;
        found.filter(|volume| volume.phase != Phase::Creating).ok_or_else(|| not_found(place))
    }

    pub(crate) fn tell_volume(&self, place: &VolumePlace, action: &'static str, caller: Option<&Caller>) {
        self.events().lifecycle(Some(&place.key.project), action, place.url(), caller);
    }
}

/// Reads a volume however far it is.
fn read(conn: &coffer_store::Conn, place: &VolumePlace) -> Result<Option<CustomVolume>, coffer_store::StoreError> {
    coffer_store::volume::get(conn, &place.pool, &place.key.project, &place.key.name)
}

fn not_found(place: &VolumePlace) -> EngineError {
    EngineError::not_found("storage volume", format!("{} in pool {}", place.key.name, place.pool))
}

/// Passes a volume through the gate, with the rules that no table can hold.
pub(crate) fn check(
    new: CustomVolume,
    driver: DriverKind,
    before: Option<&CustomVolume>,
    origin: Origin,
) -> Result<Checked<CustomVolume>, EngineError> {
    coffer_storage::config::check_volume(&new.pool, driver, &new.config)?;
    if new.content != ContentType::Filesystem
        && let Some(key) = coffer_storage::config::for_files_only(&new.config)
    {
        let what =
            format!("storage volume {}: {key} is for volumes that hold files, and this one is of content type {}", new.name, new.content);
        return Err(EngineError::Refused(what));
    }
    if let Some(before) = before {
        coffer_storage::config::check_volume_change(&new.pool, &before.config, &new.config)?;
    }
    Ok(gate::volume(new, coffer_storage::config::volume_keys(VolumeKind::Custom), before, origin)?)
}

/// What operations on a volume concern.
pub(crate) fn resources(place: &VolumePlace) -> BTreeMap<&'static str, Vec<String>> {
    [("storage_volumes", vec![place.url()])].into()
}

impl VolumePlace {
    /// The volume in its pool.
    #[must_use]
    pub fn volume(&self) -> Volume {
        Volume::of_key(&self.key)
    }

    /// Its URL without project.
    #[must_use]
    pub fn url(&self) -> String {
        format!("/1.0/storage-pools/{}/volumes/custom/{}", self.pool, self.key.name)
    }

    /// Where a volume that was read is.
    #[must_use]
    pub fn of(volume: &CustomVolume) -> Self {
        Self { pool: volume.pool.clone(), key: volume.key() }
    }
}
