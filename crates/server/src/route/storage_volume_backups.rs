//! `/1.0/storage-pools/{pool}/volumes/{type}/{name}/backups`, and `POST …/volumes/custom` with a file as its body.

use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use coffer_api::{StorageVolumeBackup, StorageVolumeBackupPost, StorageVolumeBackupsPost};
use coffer_engine::{CreateBackup, Engine, EngineError, ImportVolume, VolumeArchive};
use coffer_model::{Backup, BackupOwner, PoolName, ProjectName, VolumeName};
use serde::Deserialize;

use super::backups::{self, Owner};
use super::storage_volumes::Target;
use super::upload;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Peer, Place};
use crate::refusal::Refusal;
use crate::show;

/// The routes.
pub fn routes() -> Router<App> {
    backups::routes::<OfVolume>("/1.0/storage-pools/{pool}/volumes/{type}/{name}")
}

/// The user's volume that a path names.
pub struct OfVolume {
    path: String,
    project: ProjectName,
    target: Target,
}

#[derive(Deserialize)]
struct Path {
    pool: PoolName,
    #[serde(rename = "type")]
    kind: String,
    name: VolumeName,
}

impl FromRequestParts<App> for OfVolume {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let Named(Path { pool, kind, name }) = Named::from_request_parts(parts, app).await?;
        let Place(project) = Place::from_request_parts(parts, app).await?;
        let path = format!("/1.0/storage-pools/{pool}/volumes/{kind}/{name}");
        Ok(Self { path, project: project.clone(), target: Target::of((pool, kind, name), project, "backed up")? })
    }
}

impl Owner for OfVolume {
    type Post = StorageVolumeBackupsPost;
    type Rename = StorageVolumeBackupPost;
    type Shown = StorageVolumeBackup;

    fn owner(&self, engine: &Engine) -> Result<BackupOwner, EngineError> {
        let place = self.target.place(engine)?;
        Ok(BackupOwner::Volume { pool: place.pool, key: place.key })
    }

    fn url(&self, rest: &str) -> String {
        show::url(&format!("{}{rest}", self.path), &self.project)
    }

    fn wanted(body: &StorageVolumeBackupsPost) -> Result<CreateBackup, Refusal> {
        backups::wanted(&body.name, body.expires_at, body.volume_only, body.optimized_storage, &body.compression_algorithm)
    }

    fn to_file(body: &StorageVolumeBackupsPost) -> bool {
        body.local_file
    }

    fn renamed(body: &StorageVolumeBackupPost) -> &str {
        &body.name
    }

    fn show(backup: &Backup) -> StorageVolumeBackup {
        show::volume_backup(backup)
    }
}

/// `POST …/volumes/custom` with a backup or an ISO image as its body.
pub async fn import(app: App, peer: Peer, pool: PoolName, project: ProjectName, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let header = |name: &str| upload::text(&parts.headers, name);
    let archive = match header("x-lxd-type").as_deref() {
        None | Some("backup") => VolumeArchive::Backup,
        Some("iso") => VolumeArchive::Iso,
        Some(other) => return Err(Refusal::bad_request(format!("invalid type {other:?} of a volume's file: it must be backup or iso"))),
    };
    let name = header("x-lxd-name").map(|name| name.parse()).transpose()?;
    let wanted = ImportVolume { pool, project, name, archive };
    let asked = wanted.clone();
    let incoming = upload::receive(&app, body, move |engine| engine.receive_volume(&asked)).await?;
    let view = app.run(move |engine| engine.import_volume(&peer.caller, wanted, incoming)).await?;
    envelope::accepted(&view)
}
