//! `/1.0/operations`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_engine::{Class, EngineError, OperationStatus, OperationView, Scope};
use coffer_model::{OperationQuery, Time};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, Named, Parameters, Peer, Recursion, Trust};
use crate::refusal::Refusal;
use crate::show;
use crate::ws::{HandoverUpgrade, Upgrade};

/// How many entries of the log are answered unless said.
const LOG_USUAL: u32 = 1000;

/// How many entries of the log are answered at most.
const LOG_LIMIT: u32 = 100_000;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/operations", get(list))
        .route("/1.0/operations/log", get(log))
        .route("/1.0/operations/{id}", get(read).delete(cancel))
        .route("/1.0/operations/{id}/wait", get(wait))
        .route("/1.0/operations/{id}/websocket", get(connect))
        .route("/1.0/operations/{id}/pipes", get(hand_over))
}

/// `GET /1.0/operations`: by status, in lower case.
async fn list(State(app): State<App>, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    let recursion = parameters.recursion()?;
    let mut by_status: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for view in app.engine.operations().list() {
        if let Scope::Project(project) = &scope
            && *project != view.project
        {
            continue;
        }
        let shown = match recursion {
            Recursion::Urls => Value::from(show::operation_url(&view)),
            Recursion::Objects | Recursion::Everything => serde_json::to_value(show::operation(&view)).unwrap_or_default(),
        };
        by_status.entry(view.status.word().to_lowercase()).or_default().push(shown);
    }
    envelope::sync(by_status)
}

/// `GET /1.0/operations/log`: what operations did, the newest first.
async fn log(State(app): State<App>, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    let query = query(&parameters)?;
    let found = app.run(move |engine| engine.logged_operations(&scope, query)).await?;
    envelope::sync(found.iter().map(show::logged_operation).collect::<Vec<_>>())
}

fn query(parameters: &Parameters) -> Result<OperationQuery, Refusal> {
    let moment = |name: &str| {
        let wrong = |text: &str| Refusal::bad_request(format!("invalid {name} {text:?}: it must be a moment such as 2026-11-23T18:00:00Z"));
        parameters.get(name).map(|text| text.parse::<Time>().map_err(|_| wrong(text))).transpose()
    };
    let status = |text: &str| {
        let wrong = || Refusal::bad_request(format!("invalid status {text:?}: it must be running, success, failure or cancelled"));
        OperationStatus::from_word(text).ok_or_else(wrong)
    };
    let limit = |text: &str| match text.parse() {
        Ok(limit @ 1..=LOG_LIMIT) => Ok(limit),
        _ => Err(Refusal::bad_request(format!("invalid limit {text:?}: it must be a number from 1 to {LOG_LIMIT}"))),
    };
    Ok(OperationQuery {
        project: None,
        instance: parameters.get("instance").map(str::to_owned),
        username: parameters.get("user").map(str::to_owned),
        status: parameters.get("status").map(status).transpose()?,
        since: moment("since")?,
        until: moment("until")?,
        limit: parameters.get("limit").map_or(Ok(LOG_USUAL), limit)?,
    })
}

fn not_found(id: impl std::fmt::Display) -> Refusal {
    EngineError::not_found("operation", id).into()
}

fn find(app: &App, id: &str) -> Result<(Uuid, OperationView), Refusal> {
    let uuid: Uuid = id.parse().map_err(|_| not_found(id))?;
    app.engine.operations().get(uuid).map(|view| (uuid, view)).ok_or_else(|| not_found(id))
}

/// `GET /1.0/operations/{id}`.
async fn read(State(app): State<App>, Named(id): Named<String>) -> Answer {
    let (_, view) = find(&app, &id)?;
    envelope::sync(show::operation(&view))
}

/// `DELETE /1.0/operations/{id}`.
async fn cancel(State(app): State<App>, peer: Peer, Named(id): Named<String>) -> Answer {
    let (id, _) = find(&app, &id)?;
    app.run(move |engine| engine.cancel_operation(&peer.caller, id)).await?;
    envelope::done()
}

/// Who is not trusted may wait for what it was given the secret of.
fn knows_secret(app: &App, id: &str, secret: Option<&str>) -> bool {
    let Ok((_, view)) = find(app, id) else { return false };
    view.metadata.get("secret").and_then(Value::as_str).zip(secret).is_some_and(|(own, shown)| Sha256::digest(own) == Sha256::digest(shown))
}

/// `GET /1.0/operations/{id}/wait`: that the time is over is no error.
async fn wait(State(app): State<App>, peer: Peer, Named(id): Named<String>, parameters: Parameters) -> Answer {
    if peer.trust != Trust::Admin && !knows_secret(&app, &id, parameters.get("secret")) {
        return Err(not_found(id));
    }
    let (id, _) = find(&app, &id)?;
    let timeout = match parameters.get("timeout").unwrap_or("-1").parse::<i64>() {
        Ok(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        Err(_) => return Err(Refusal::bad_request("invalid timeout: it must be a number of seconds, or -1")),
    };
    let view = app.engine.operations().wait(id, timeout).await.ok_or_else(|| not_found(id))?;
    envelope::sync(show::operation(&view))
}

/// `GET /1.0/operations/{id}/websocket`: the secret says which socket it is, and is all the trust that is needed.
async fn connect(State(app): State<App>, Named(id): Named<String>, parameters: Parameters, upgrade: Upgrade) -> Answer {
    let secret = secret(&app, &id, &parameters)?;
    let door = app.sessions.take(secret).ok_or_else(wrong)?;
    Ok(upgrade.then(async move |socket| drop(door.send(socket))))
}

/// `GET /1.0/operations/{id}/pipes`: the connection carries descriptors from here on, so it must be the unix socket.
async fn hand_over(State(app): State<App>, Named(id): Named<String>, parameters: Parameters, upgrade: HandoverUpgrade) -> Answer {
    let secret = secret(&app, &id, &parameters)?;
    let door = app.handovers.take(secret).ok_or_else(wrong)?;
    Ok(upgrade.then(door))
}

/// The secret that a request names, if the operation waits for it.
fn secret<'a>(app: &App, id: &str, parameters: &'a Parameters) -> Result<&'a str, Refusal> {
    let (_, view) = find(app, id)?;
    if view.class != Class::Websocket || view.status.is_final() {
        return Err(Refusal::bad_request(format!("operation {id} takes no connections now")));
    }
    let secret = parameters.get("secret").ok_or_else(wrong)?;
    let fds = view.metadata.get("fds").and_then(Value::as_object).ok_or_else(wrong)?;
    if fds.values().any(|value| value == secret) { Ok(secret) } else { Err(wrong()) }
}

fn wrong() -> Refusal {
    Refusal::forbidden("wrong or missing secret")
}
