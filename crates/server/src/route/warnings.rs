//! `/1.0/warnings`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::WarningPut;
use uuid::Uuid;

use super::instances::passes;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Parameters, Peer, Recursion, Wire};
use crate::refusal::Refusal;
use crate::show;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/warnings", get(list))
        .route("/1.0/warnings/{uuid}", get(read).put(acknowledge).patch(acknowledge).delete(remove))
}

/// `GET /1.0/warnings`.
async fn list(State(app): State<App>, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let all = app.run(|engine| engine.warnings()).await?;
    let mut all: Vec<_> = all.iter().map(show::warning).collect();
    if let Some(project) = parameters.get("project") {
        all.retain(|warning| warning.project.is_empty() || warning.project == project);
    }
    all.retain(|warning| filter.is_empty() || passes(&filter, warning));
    match recursion {
        Recursion::Urls => envelope::sync(all.iter().map(|warning| format!("/1.0/warnings/{}", warning.uuid)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(all),
    }
}

/// `GET /1.0/warnings/{uuid}`.
async fn read(State(app): State<App>, Named(id): Named<String>) -> Answer {
    let id = identity(&id)?;
    let warning = app.run(move |engine| engine.warning(id)).await?;
    envelope::sync(show::warning(&warning))
}

/// `PUT` and `PATCH /1.0/warnings/{uuid}`.
async fn acknowledge(State(app): State<App>, peer: Peer, Named(id): Named<String>, Wire(body): Wire<WarningPut>) -> Answer {
    let id = identity(&id)?;
    let seen = match body.status.as_str() {
        "acknowledged" => true,
        "new" => false,
        other => return Err(Refusal::bad_request(format!("invalid status {other:?}: it must be new or acknowledged"))),
    };
    app.run(move |engine| engine.acknowledge_warning(&peer.caller, id, seen)).await?;
    envelope::done()
}

/// `DELETE /1.0/warnings/{uuid}`.
async fn remove(State(app): State<App>, peer: Peer, Named(id): Named<String>) -> Answer {
    let id = identity(&id)?;
    app.run(move |engine| engine.delete_warning(&peer.caller, id)).await?;
    envelope::done()
}

fn identity(text: &str) -> Result<Uuid, Refusal> {
    text.parse().map_err(|_| Refusal::not_found(format!("warning {text} not found")))
}
