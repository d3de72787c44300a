//! Backups of instances and of users' volumes: making, keeping, handing out and importing them.

mod arrive;
mod content;
mod create;
mod files;
mod fill;
pub(crate) mod import;
mod import_volume;
mod keep;
pub(crate) mod moment;

pub(crate) use files::files_below;

use coffer_model::{BackupName, BackupOwner, Instance};

use crate::Engine;
use crate::error::EngineError;
use crate::live::Claim;
use crate::operations::NewOperation;
use crate::volume::{self, VolumePlace};

/// The right to work on what backups are of.
pub(crate) enum Held<'e> {
    Instance(Claim, Instance),
    Volume { place: VolumePlace, _right: Right<'e> },
}

/// The right to work on a volume.
pub(crate) enum Right<'e> {
    Alone { _claim: volume::Claim<'e> },
    BesideUsers { _pin: volume::Pin<'e> },
}

impl Held<'_> {
    /// Lets others work on it while it is read, as long as it stays what and where it is.
    pub(crate) fn share(&mut self) {
        match self {
            Self::Instance(claim, _) => claim.share(),
            // It is shared already.
            Self::Volume { .. } => {}
        }
    }
}

impl Engine {
    /// Claims what backups are of, to change its backups.
    fn hold(&self, owner: &BackupOwner, doing: &'static str) -> Result<Held<'_>, EngineError> {
        match owner {
            BackupOwner::Instance { project, name } => {
                let claim = self.inner.cells.get(project, name).claim_beside_readers(doing)?;
                Ok(Held::Instance(claim, self.load(project, name)?.instance))
            }
            BackupOwner::Volume { pool, key } => {
                let place = VolumePlace { pool: pool.clone(), key: key.clone() };
                let claim = self.inner.volumes.claim(&place, doing)?;
                Ok(Held::Volume { place, _right: Right::Alone { _claim: claim } })
            }
        }
    }

    /// Claims what is going to be packed, which takes long: instances can be given a volume and lose it meanwhile.
    fn hold_to_pack(&self, owner: &BackupOwner) -> Result<Held<'_>, EngineError> {
        let doing = "backing up";
        match owner {
            BackupOwner::Instance { .. } => self.hold(owner, doing),
            BackupOwner::Volume { pool, key } => {
                let place = VolumePlace { pool: pool.clone(), key: key.clone() };
                let pin = self.inner.volumes.pin(&place, doing)?;
                Ok(Held::Volume { place, _right: Right::BesideUsers { _pin: pin } })
            }
        }
    }
}

/// An operation on a backup.
fn operation(description: &'static str, owner: &BackupOwner, name: &BackupName) -> NewOperation {
    let mut new = operation_on(description, owner);
    // Without its owner's name: this is where clients look for the backup's.
    new.resources.insert("backups", vec![format!("/1.0/backups/{name}")]);
    new
}

/// An operation on what backups are of.
fn operation_on(description: &'static str, owner: &BackupOwner) -> NewOperation {
    match owner {
        BackupOwner::Instance { project, name } => NewOperation::instance(description, project, name.as_str()),
        BackupOwner::Volume { key, .. } => NewOperation::task(description, &key.project, [("storage_volumes", vec![owner.url()])].into()),
    }
}

/// Whose backups those of an instance are.
pub(crate) fn of_instance(instance: &Instance) -> BackupOwner {
    BackupOwner::Instance { project: instance.project.clone(), name: instance.name.clone() }
}

/// Whose backups those of a volume are.
pub(crate) fn of_volume(place: &VolumePlace) -> BackupOwner {
    BackupOwner::Volume { pool: place.pool.clone(), key: place.key.clone() }
}
