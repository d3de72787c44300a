//! `/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{StorageVolumeSnapshotPost, StorageVolumeSnapshotPut, StorageVolumeSnapshotsPost, Timestamp};
use coffer_engine::SnapshotExpiry;
use coffer_model::{PoolName, SnapshotName, VolumeName};

use super::storage_volumes::Target;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Wire};
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    let path = "/1.0/storage-pools/{pool}/volumes/{type}/{name}/snapshots";
    Router::new()
        .route(path, get(list).post(create))
        .route(&format!("{path}/{{snapshot}}"), get(read).put(replace).patch(patch).post(rename).delete(remove))
}

type OfVolume = Named<(PoolName, String, VolumeName)>;
type OfSnapshot = Named<(PoolName, String, VolumeName, SnapshotName)>;

/// `GET …/snapshots`.
async fn list(State(app): State<App>, Named(target): OfVolume, Place(project): Place, parameters: Parameters) -> Answer {
    let recursion = parameters.recursion()?;
    let target = Target::of(target, project, "snapshotted")?;
    let (volume, all) = app.run(move |engine| engine.volume_snapshots(&target.place(engine)?)).await?;
    match recursion {
        Recursion::Urls => envelope::sync(all.iter().map(|snapshot| show::volume_snapshot_path(&volume, snapshot)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => {
            envelope::sync(all.iter().map(|snapshot| show::volume_snapshot(&volume, snapshot)).collect::<Vec<_>>())
        }
    }
}

/// `POST …/snapshots`.
async fn create(
    State(app): State<App>,
    peer: Peer,
    Named(target): OfVolume,
    Place(project): Place,
    Wire(body): Wire<StorageVolumeSnapshotsPost>,
) -> Answer {
    let target = Target::of(target, project, "snapshotted")?;
    let name = if body.name.is_empty() { None } else { Some(body.name.parse()?) };
    let expiry = match body.expires_at {
        None => SnapshotExpiry::Configured,
        Some(time) => time.get().map_or(SnapshotExpiry::Never, SnapshotExpiry::At),
    };
    let view = app.run(move |engine| engine.create_volume_snapshot(&peer.caller, &target.place(engine)?, name, expiry)).await?;
    envelope::accepted(&view)
}

/// `GET …/snapshots/{snapshot}`.
async fn read(State(app): State<App>, Named((pool, kind, name, snapshot)): OfSnapshot, Place(project): Place) -> Answer {
    let target = Target::of((pool, kind, name), project, "snapshotted")?;
    let (volume, found) = app.run(move |engine| engine.volume_snapshot(&target.place(engine)?, &snapshot)).await?;
    envelope::tagged(show::volume_snapshot(&volume, &found), &etag::volume_snapshot(&found))
}

/// `PUT …/snapshots/{snapshot}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named((pool, kind, name, snapshot)): OfSnapshot,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<StorageVolumeSnapshotPut>,
) -> Answer {
    let target = Target::of((pool, kind, name), project, "changed")?;
    let guard = if_match.guard(etag::volume_snapshot);
    let (description, expires_at) = (body.description, body.expires_at.and_then(Timestamp::get));
    app.run(move |engine| {
        engine.update_volume_snapshot(&peer.caller, &target.place(engine)?, &snapshot, description, expires_at, guard.as_deref())
    })
    .await?;
    envelope::done()
}

/// `PATCH …/snapshots/{snapshot}`.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named((pool, kind, name, snapshot)): OfSnapshot,
    Place(project): Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    let target = Target::of((pool, kind, name), project, "changed")?;
    let guard = if_match.guard(etag::volume_snapshot);
    let (description, expires_at) = (body.text("description")?, body.read::<Timestamp>("expires_at")?);
    app.run(move |engine| {
        let place = target.place(engine)?;
        let now = engine.volume_snapshot(&place, &snapshot)?.1;
        let (description, expires_at) = (description.unwrap_or(now.description), expires_at.map_or(now.expires_at, Timestamp::get));
        engine.update_volume_snapshot(&peer.caller, &place, &snapshot, description, expires_at, guard.as_deref())
    })
    .await?;
    envelope::done()
}

/// `POST …/snapshots/{snapshot}`: a rename.
async fn rename(
    State(app): State<App>,
    peer: Peer,
    Named((pool, kind, name, snapshot)): OfSnapshot,
    Place(project): Place,
    Wire(body): Wire<StorageVolumeSnapshotPost>,
) -> Answer {
    let target = Target::of((pool, kind, name), project, "renamed")?;
    let new = body.name.parse()?;
    let view = app.run(move |engine| engine.rename_volume_snapshot(&peer.caller, &target.place(engine)?, &snapshot, &new)).await?;
    envelope::accepted(&view)
}

/// `DELETE …/snapshots/{snapshot}`.
async fn remove(State(app): State<App>, peer: Peer, Named((pool, kind, name, snapshot)): OfSnapshot, Place(project): Place) -> Answer {
    let target = Target::of((pool, kind, name), project, "deleted")?;
    let view = app.run(move |engine| engine.delete_volume_snapshot(&peer.caller, &target.place(engine)?, &snapshot)).await?;
    envelope::accepted(&view)
}
