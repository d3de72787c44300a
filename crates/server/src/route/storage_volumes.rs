//! `/1.0/storage-pools/{pool}/volumes`.

use axum::Router;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header;
use axum::routing::get;
use coffer_api::{StorageVolumePost, StorageVolumePut, StorageVolumeSource, StorageVolumesPost};
use coffer_engine::{CopyVolume, CreateVolume, Engine, EngineError, RenameVolume, Scope, VolumeChange, VolumePlace, VolumeView};
use coffer_model::{PoolName, ProjectName, SnapshotName, VolumeKind, VolumeName};

use super::instances::passes;
use super::{merge, storage_volume_backups};
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Wire};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/storage-pools/{pool}/volumes", get(list).post(create))
        .route("/1.0/storage-pools/{pool}/volumes/{type}", get(list_kind).post(create_kind))
        .route("/1.0/storage-pools/{pool}/volumes/{type}/{name}", get(read).put(replace).patch(patch).post(change_place).delete(remove))
        .route("/1.0/storage-pools/{pool}/volumes/{type}/{name}/state", get(state))
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
    let mut volumes: Vec<VolumeView> = app.run(move |engine| engine.volumes(&pool, &scope)).await?;
    volumes.retain(|view| kind.is_none_or(|kind| view.kind == kind));
    volumes.retain(|view| filter.is_empty() || passes(&filter, &show::volume(view)));
    match recursion {
        Recursion::Urls => envelope::sync(volumes.iter().map(show::volume_path).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(volumes.iter().map(show::volume).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/storage-pools/{pool}/volumes`: the type is in the body.
async fn create(
    State(app): State<App>,
    peer: Peer,
    Named(pool): Named<PoolName>,
    Place(project): Place,
    Wire(body): Wire<StorageVolumesPost>,
) -> Answer {
    let kind = if body.kind.is_empty() { "custom".to_owned() } else { body.kind.clone() };
    make(app, peer, pool, &kind, project, body).await
}

/// `POST /1.0/storage-pools/{pool}/volumes/{type}`. A body that is no JSON is a volume.
async fn create_kind(
    State(app): State<App>,
    peer: Peer,
    Named((pool, kind)): Named<(PoolName, String)>,
    Place(project): Place,
    request: Request,
) -> Answer {
    if request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream") {
        only_custom(&kind, "imported")?;
        return storage_volume_backups::import(app, peer, pool, project, request).await;
    }
    let Wire(body): Wire<StorageVolumesPost> = Wire::from_request(request, &app).await?;
    make(app, peer, pool, &kind, project, body).await
}

/// Makes an empty volume at once, or a copy in an operation.
async fn make(app: App, peer: Peer, pool: PoolName, kind: &str, project: ProjectName, body: StorageVolumesPost) -> Answer {
    only_custom(kind, "made")?;
    let name: VolumeName = body.name.parse()?;
    let content = if body.content_type.is_empty() { "filesystem" } else { &body.content_type }.parse()?;
    let source = Source::of(&body.source, &project)?;
    let (description, config) = (body.description, merge::whole(body.config));
    let Some(source) = source else {
        app.run(move |engine| {
            let place = engine.volume_place(&pool, &project, &name)?;
            engine.create_volume(&peer.caller, CreateVolume { place, description, config, content })
        })
        .await?;
        return envelope::done();
    };
    let view = app
        .run(move |engine| {
            let to = engine.volume_place(&pool, &project, &name)?;
            let from = engine.volume_place(source.pool.as_ref().unwrap_or(&pool), &source.project, &source.name)?;
            let Source { snapshot, snapshots, refresh, .. } = source;
            engine.copy_volume(&peer.caller, CopyVolume { from, snapshot, to, description, config, snapshots, refresh })
        })
        .await?;
    envelope::accepted(&view)
}

/// Where the content of a new volume comes from.
struct Source {
    pool: Option<PoolName>,
    project: ProjectName,
    name: VolumeName,
    snapshot: Option<SnapshotName>,
    snapshots: bool,
    refresh: bool,
}

impl Source {
    /// Reads a source; `None` is an empty volume.
    fn of(source: &StorageVolumeSource, project: &ProjectName) -> Result<Option<Self>, Refusal> {
        match source.kind.as_str() {
            "" if source.name.is_empty() => return Ok(None),
            "none" => return Ok(None),
            "" | "copy" => {}
            "migration" => return Err(Refusal::unsupported("migrations of storage volumes from other servers")),
            other => return Err(Refusal::bad_request(format!("invalid source type {other:?}: it must be copy"))),
        }
        let (name, snapshot) = match source.name.split_once('/') {
            Some((name, snapshot)) => (name, Some(snapshot.parse()?)),
            None => (source.name.as_str(), None),
        };
        Ok(Some(Self {
            pool: if source.pool.is_empty() { None } else { Some(source.pool.parse()?) },
            project: if source.project.is_empty() { project.clone() } else { source.project.parse()? },
            name: name.parse()?,
            snapshot,
            snapshots: !source.volume_only,
            refresh: source.refresh,
        }))
    }
}

/// `GET /1.0/storage-pools/{pool}/volumes/{type}/{name}`.
async fn read(State(app): State<App>, Named((pool, kind, name)): Named<(PoolName, String, String)>, Place(project): Place) -> Answer {
    let kind = show::volume_kind(&kind)?.ok_or_else(|| Refusal::not_found("storage volume not found"))?;
    let view = app.run(move |engine| engine.volume(&pool, &project, kind, &name)).await?;
    envelope::tagged(show::volume(&view), &etag::volume_view(&view))
}

/// `PUT /1.0/storage-pools/{pool}/volumes/{type}/{name}`: another configuration, or a snapshot to restore.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(target): Named<(PoolName, String, VolumeName)>,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<StorageVolumePut>,
) -> Answer {
    let target = Target::of(target, project, "changed")?;
    if !body.restore.is_empty() {
        // Clients name the snapshot alone or with its volume.
        let snapshot = body.restore.rsplit('/').next().unwrap_or_default().parse()?;
        app.run(move |engine| engine.restore_volume(&peer.caller, &target.place(engine)?, &snapshot)).await?;
        return envelope::done();
    }
    let change = VolumeChange { description: body.description, config: merge::whole(body.config) };
    let guard = if_match.guard(etag::volume);
    app.run(move |engine| engine.update_volume(&peer.caller, &target.place(engine)?, change, guard.as_deref())).await?;
    envelope::done()
}

/// `PATCH /1.0/storage-pools/{pool}/volumes/{type}/{name}`.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named(target): Named<(PoolName, String, VolumeName)>,
    Place(project): Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    let target = Target::of(target, project, "changed")?;
    let (description, keys) = (body.text("description")?, merge::config(&body)?);
    app.run(move |engine| {
        let place = target.place(engine)?;
        merge::unless_changed(&if_match, || {
            let now = engine.custom_volume(&place)?;
            let guard = if_match.or_tag(etag::volume(&now)).guard(etag::volume);
            let mut config = now.config;
            merge::over(&mut config, &keys);
            let change = VolumeChange { description: description.clone().unwrap_or(now.description), config };
            engine.update_volume(&peer.caller, &place, change, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

/// `POST /1.0/storage-pools/{pool}/volumes/{type}/{name}`: another name at once, another pool or project in an operation.
async fn change_place(
    State(app): State<App>,
    peer: Peer,
    Named(target): Named<(PoolName, String, VolumeName)>,
    Place(project): Place,
    Wire(body): Wire<StorageVolumePost>,
) -> Answer {
    if body.migration || body.target.is_some() {
        return Err(Refusal::unsupported("migrations of storage volumes to other servers"));
    }
    let new_project = if body.project.is_empty() { project.clone() } else { body.project.parse()? };
    let new_pool = if body.pool.is_empty() { target.0.clone() } else { body.pool.parse()? };
    let new_name = if body.name.is_empty() { target.2.clone() } else { body.name.parse()? };
    let target = Target::of(target, project, "renamed")?;
    let moved = app
        .run(move |engine| {
            let request = RenameVolume { from: target.place(engine)?, to: engine.volume_place(&new_pool, &new_project, &new_name)? };
            if request.from.pool != request.to.pool || request.from.key.project != request.to.key.project {
                return engine.move_volume(&peer.caller, request).map(Some);
            }
            engine.rename_volume(&peer.caller, &request).map(|()| None)
        })
        .await?;
    match moved {
        Some(operation) => envelope::accepted(&operation),
        None => envelope::done(),
    }
}

/// `DELETE /1.0/storage-pools/{pool}/volumes/{type}/{name}`. An image's volume is made anew when it is needed.
async fn remove(State(app): State<App>, peer: Peer, Named(target): Named<(PoolName, String, String)>, Place(project): Place) -> Answer {
    let (pool, kind, name) = target;
    if show::volume_kind(&kind)? == Some(VolumeKind::Image) {
        app.run(move |engine| engine.delete_image_volume(&pool, &project, &name)).await?;
        return envelope::done();
    }
    let target = Target::of((pool, kind, name.parse()?), project, "deleted")?;
    app.run(move |engine| engine.delete_volume(&peer.caller, &target.place(engine)?)).await?;
    envelope::done()
}

/// `GET /1.0/storage-pools/{pool}/volumes/{type}/{name}/state`.
async fn state(State(app): State<App>, Named((pool, kind, name)): Named<(PoolName, String, String)>, Place(project): Place) -> Answer {
    let kind = show::volume_kind(&kind)?.ok_or_else(|| Refusal::not_found("storage volume not found"))?;
    let usage = app.run(move |engine| engine.volume_usage(&pool, &project, kind, &name)).await?;
    envelope::sync(show::volume_state(&usage))
}

/// A user's volume as a request names it.
pub(super) struct Target {
    pool: PoolName,
    project: ProjectName,
    name: VolumeName,
}

impl Target {
    /// Reads which volume a request means; only users' volumes can be `what`.
    pub(super) fn of((pool, kind, name): (PoolName, String, VolumeName), project: ProjectName, what: &str) -> Result<Self, Refusal> {
        only_custom(&kind, what)?;
        Ok(Self { pool, project, name })
    }

    /// Where it is.
    pub(super) fn place(&self, engine: &Engine) -> Result<VolumePlace, EngineError> {
        engine.volume_place(&self.pool, &self.project, &self.name)
    }
}

fn only_custom(kind: &str, what: &str) -> Result<(), Refusal> {
    match show::volume_kind(kind)? {
        Some(VolumeKind::Custom) => Ok(()),
        Some(VolumeKind::Container | VolumeKind::Image) | None => {
            Err(Refusal::bad_request(format!("storage volumes of type {kind} cannot be {what} here: only custom ones can")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        let source: StorageVolumeSource = crate::extract::parse(body.as_bytes()).unwrap();
        let got = match Source::of(&source, &"dev".parse().unwrap()) {
            Ok(None) => "empty".to_owned(),
            Ok(Some(source)) => {
                let text = |pool: Option<PoolName>| pool.map_or_else(|| "-".to_owned(), |pool| pool.to_string());
                let snapshot = source.snapshot.map_or_else(|| "-".to_owned(), |name| name.to_string());
                format!("{}/{}/{}@{snapshot} {} {}", text(source.pool), source.project, source.name, source.snapshots, source.refresh)
            }
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn what_clients_send() {
        check(r#"{"name":"","type":"","pool":"","certificate":"","volume_only":false,"refresh":false}"#, "empty");
        check(r#"{"name":"v1","type":"copy","pool":"fast","volume_only":true}"#, "fast/dev/v1@- false false");
        check(r#"{"name":"v1/s0","type":"copy","pool":"","project":"other","refresh":true}"#, "-/other/v1@s0 true true");
        check(r#"{"type":"migration"}"#, "migrations of storage volumes from other servers are not supported yet");
        check(r#"{"type":"copy","name":"../v"}"#, "invalid storage volume name \"..\": it must not be a directory reference");
    }
}
