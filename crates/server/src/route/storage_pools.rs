//! `/1.0/storage-pools`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{StoragePoolPut, StoragePoolsPost};
use coffer_engine::PoolView;
use coffer_model::PoolName;

use super::instances::passes;
use super::merge;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{IfMatch, Named, Parameters, Patch, Peer, Recursion, Wire};
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/storage-pools", get(list).post(create))
        .route("/1.0/storage-pools/{pool}", get(read).put(replace).patch(patch).delete(remove))
        .route("/1.0/storage-pools/{pool}/resources", get(resources))
}

/// `GET /1.0/storage-pools`.
async fn list(State(app): State<App>, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let mut views: Vec<PoolView> = app.run(|engine| engine.pools()).await?;
    views.retain(|view| filter.is_empty() || passes(&filter, &show::pool(view)));
    match recursion {
        Recursion::Urls => envelope::sync(views.iter().map(|view| format!("/1.0/storage-pools/{}", view.pool.name)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(views.iter().map(show::pool).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/storage-pools`.
async fn create(State(app): State<App>, peer: Peer, Wire(body): Wire<StoragePoolsPost>) -> Answer {
    let name: PoolName = body.name.parse()?;
    let location = format!("/1.0/storage-pools/{name}");
    app.run(move |engine| engine.create_pool(&peer.caller, name, &body.driver, body.description, merge::whole(body.config))).await?;
    envelope::created(&location)
}

/// `GET /1.0/storage-pools/{pool}`.
async fn read(State(app): State<App>, Named(name): Named<PoolName>) -> Answer {
    let view = app.run(move |engine| engine.pool(&name)).await?;
    envelope::tagged(show::pool(&view), &etag::pool(&view.pool))
}

/// `PUT /1.0/storage-pools/{pool}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<PoolName>,
    if_match: IfMatch,
    Wire(body): Wire<StoragePoolPut>,
) -> Answer {
    app.run(move |engine| {
        engine.update_pool(&peer.caller, &name, body.description, merge::whole(body.config), if_match.guard(etag::pool).as_deref())
    })
    .await?;
    envelope::done()
}

/// `PATCH /1.0/storage-pools/{pool}`.
async fn patch(State(app): State<App>, peer: Peer, Named(name): Named<PoolName>, if_match: IfMatch, body: Patch) -> Answer {
    let (description, keys) = (body.text("description")?, merge::config(&body)?);
    app.run(move |engine| {
        merge::unless_changed(&if_match, || {
            let pool = engine.pool(&name)?.pool;
            let guard = if_match.or_tag(etag::pool(&pool)).guard(etag::pool);
            let mut config = pool.config;
            merge::over(&mut config, &keys);
            engine.update_pool(&peer.caller, &name, description.clone().unwrap_or(pool.description), config, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

/// `DELETE /1.0/storage-pools/{pool}`.
async fn remove(State(app): State<App>, peer: Peer, Named(name): Named<PoolName>) -> Answer {
    app.run(move |engine| engine.delete_pool(&peer.caller, &name)).await?;
    envelope::done()
}

/// `GET /1.0/storage-pools/{pool}/resources`.
async fn resources(State(app): State<App>, Named(name): Named<PoolName>) -> Answer {
    let resources = app.run(move |engine| engine.pool_resources(&name)).await?;
    envelope::sync(show::pool_resources(&resources))
}
