//! `/1.0/instances/{name}/console`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::InstanceConsolePost;
use coffer_engine::{Class, NewOperation};
use coffer_model::InstanceName;
use serde_json::Map;

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Peer, Place, Wire};
use crate::refusal::Refusal;
use crate::ws::attach_console;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new().route(&format!("{prefix}/{{name}}/console"), get(read).post(attach).delete(clear))
}

/// `GET /1.0/instances/{name}/console`: what it showed.
async fn read(State(app): State<App>, peer: Peer, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    let log = app
        .run(move |engine| {
            let log = engine.console_log(&project, &name)?;
            engine.tell_used(&project, &name, "/console", "instance-console-retrieved", None, &peer.caller);
            Ok(log)
        })
        .await?;
    Ok(envelope::raw(log))
}

/// `POST /1.0/instances/{name}/console`.
async fn attach(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    Wire(body): Wire<InstanceConsolePost>,
) -> Answer {
    match body.kind.as_str() {
        "" | "console" => {}
        "vga" => return Err(Refusal::bad_request("containers have no graphical console")),
        other => return Err(Refusal::bad_request(format!("invalid console type {other:?}: it must be console"))),
    }
    let size = |value: i64| u16::try_from(value).unwrap_or(0);
    let size = (size(body.width), size(body.height));
    let place = (project.clone(), name.clone());
    let console = app.run(move |engine| engine.console(&place.0, &place.1, size)).await?;
    let doors = app.sessions.open(&["0", "control"])?;
    let mut new = NewOperation::instance("Showing console", &project, name.as_str()).by(&peer.caller);
    new.class = Class::Websocket;
    new.metadata = Map::from_iter([("fds".to_owned(), doors.secrets().into())]);
    let operation = app.engine.operations().begin(new);
    let view = operation.view();
    app.engine.tell_used(&project, &name, "", "instance-console", Some(serde_json::json!({ "type": "console" })), &peer.caller);
    tokio::spawn(attach_console(app, operation, (project, name), console, doors));
    envelope::accepted(&view)
}

/// `DELETE /1.0/instances/{name}/console`: forgets what it showed.
async fn clear(State(app): State<App>, peer: Peer, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    app.run(move |engine| {
        engine.clear_console_log(&project, &name)?;
        engine.tell_used(&project, &name, "/console", "instance-console-reset", None, &peer.caller);
        Ok(())
    })
    .await?;
    envelope::done()
}
