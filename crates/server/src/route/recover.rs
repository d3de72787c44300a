//! `/internal/recover` and `/internal/fsck`: what administrators ask the daemon for after something went wrong.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use coffer_api::{FsckFinding, RecoverPost, RecoverResult, RecoverVolume};
use coffer_engine::{Finding, UnknownPool, UnknownVolume, UnknownVolumes};
use coffer_model::{Config, VolumeKind};

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Peer, Wire};
use crate::refusal::Refusal;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/internal/recover/validate", post(validate))
        .route("/internal/recover/import", post(import))
        .route("/internal/fsck", get(look).post(repair))
}

/// `POST /internal/recover/validate`.
async fn validate(State(app): State<App>, Wire(body): Wire<RecoverPost>) -> Answer {
    let pools = pools(body)?;
    let found = app.run(move |engine| engine.find_unknown(&pools)).await?;
    envelope::sync(result(&found))
}

/// `POST /internal/recover/import`.
async fn import(State(app): State<App>, peer: Peer, Wire(body): Wire<RecoverPost>) -> Answer {
    let pools = pools(body)?;
    app.run(move |engine| engine.take_in(&peer.caller, &pools)).await?;
    envelope::done()
}

fn pools(body: RecoverPost) -> Result<Vec<UnknownPool>, Refusal> {
    let pool = |pool: coffer_api::StoragePoolsPost| {
        Ok(UnknownPool { name: pool.name.parse()?, driver: pool.driver, description: pool.description, config: Config(pool.config) })
    };
    body.pools.into_iter().map(pool).collect()
}

fn result(found: &UnknownVolumes) -> RecoverResult {
    let volume = |volume: &UnknownVolume| RecoverVolume {
        name: volume.name.clone(),
        kind: kind(volume.kind).to_owned(),
        snapshot_count: volume.snapshots as u64,
        project: volume.project.to_string(),
        pool: volume.pool.to_string(),
    };
    RecoverResult { volumes: found.volumes.iter().map(volume).collect(), missing: found.missing.clone() }
}

fn kind(kind: VolumeKind) -> &'static str {
    match kind {
        VolumeKind::Container => "container",
        VolumeKind::Custom => "custom",
        VolumeKind::Image => "image",
    }
}

/// `GET /internal/fsck`.
async fn look(State(app): State<App>) -> Answer {
    findings(app.run(|engine| engine.fsck(false)).await?)
}

/// `POST /internal/fsck`: mends what can be mended.
async fn repair(State(app): State<App>) -> Answer {
    findings(app.run(|engine| engine.fsck(true)).await?)
}

fn findings(found: Vec<Finding>) -> Answer {
    let show = |finding: Finding| FsckFinding {
        kind: finding.kind.as_str().to_owned(),
        thing: finding.thing,
        problem: finding.problem,
        repair: finding.repair.unwrap_or_default(),
        advice: finding.advice,
        repaired: finding.repaired,
    };
    envelope::sync(found.into_iter().map(show).collect::<Vec<_>>())
}
