//! `/1.0/storage-pools/{pool}/volumes`.

use axum::Router;
use axum::extract::State;
use axum::routing::{any, get};
use coffer_engine::Scope;
use coffer_model::{PoolName, VolumeKind};

use super::instances::passes;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, Named, Parameters, Place, Recursion};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    let refused = || Refusal::unsupported("changes of storage volumes");
    Router::new()
        .route("/1.0/storage-pools/{pool}/volumes", get(list).fallback(async move || refused()))
        .route("/1.0/storage-pools/{pool}/volumes/{type}", get(list_kind).fallback(async move || refused()))
        .route("/1.0/storage-pools/{pool}/volumes/{type}/{name}", get(read).fallback(async move || refused()))
        .route(
            "/1.0/storage-pools/{pool}/volumes/{type}/{name}/{*rest}",
            any(async || Refusal::unsupported("snapshots, backups and states of storage volumes")),
        )
}

/// `GET /1.0/storage-pools/{pool}/volumes`.
async fn list(State(app): State<App>, Named(pool): Named<PoolName>, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    found(app, pool, None, scope, &parameters).await
}

/// `GET /1.0/storage-pools/{pool}/volumes/{type}`.
async fn list_kind(
    State(app): State<App>,
    Named((pool, kind)): Named<(PoolName, String)>,
    Everywhere(scope): Everywhere,
    parameters: Parameters,
) -> Answer {
    match show::volume_kind(&kind)? {
        Some(kind) => found(app, pool, Some(kind), scope, &parameters).await,
        None => envelope::sync(Vec::<String>::new()),
    }
}

async fn found(app: App, pool: PoolName, kind: Option<VolumeKind>, scope: Scope, parameters: &Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let mut volumes = app.run(move |engine| engine.volumes(&pool, &scope)).await?;
    volumes.retain(|(volume, _)| kind.is_none_or(|kind| volume.kind == kind));
    volumes.retain(|(volume, used_by)| filter.is_empty() || passes(&filter, &show::volume(volume, used_by.clone())));
    match recursion {
        Recursion::Urls => envelope::sync(volumes.iter().map(|(volume, _)| show::volume_path(volume)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => {
            envelope::sync(volumes.into_iter().map(|(volume, used_by)| show::volume(&volume, used_by)).collect::<Vec<_>>())
        }
    }
}

/// `GET /1.0/storage-pools/{pool}/volumes/{type}/{name}`.
async fn read(State(app): State<App>, Named((pool, kind, name)): Named<(PoolName, String, String)>, Place(project): Place) -> Answer {
    let kind = show::volume_kind(&kind)?.ok_or_else(|| Refusal::not_found("storage volume not found"))?;
    let (volume, used_by) = app.run(move |engine| engine.volume(&pool, &project, kind, &name)).await?;
    let tag = etag::volume(&volume);
    envelope::tagged(show::volume(&volume, used_by), &tag)
}
