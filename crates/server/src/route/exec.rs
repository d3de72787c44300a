//! `/1.0/instances/{name}/exec`.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use coffer_api::InstanceExecPost;
use coffer_engine::{Class, EXECUTING, EngineError, ExecRequest, NewOperation};
use coffer_model::{InstanceName, ProjectName};
use serde_json::{Map, Value};

use super::instances::Family;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Peer, Place, Wire};
use crate::refusal::Refusal;
use crate::ws::{Client, Plan, run_exec};

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new().route(&format!("{prefix}/{{name}}/exec"), post(run))
}

/// `POST /1.0/instances/{name}/exec`.
async fn run(
    State(app): State<App>,
    family: Family,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    peer: Peer,
    Wire(body): Wire<InstanceExecPost>,
) -> Answer {
    if body.command.first().is_none_or(String::is_empty) {
        return Err(Refusal::bad_request("the command is empty"));
    }
    let (checked_project, checked_name) = (project.clone(), name.clone());
    app.run(move |engine| engine.may_exec(&checked_project, &checked_name)).await?;
    let mut new = NewOperation::instance(EXECUTING, &project, name.as_str()).by(&peer.caller);
    let mut client = if body.wait_for_websocket && body.local_pipes && !body.interactive && peer.is_local() {
        let doors = app.handovers.open(&["pipes"])?;
        new.class = Class::Websocket;
        new.metadata = described(&body, doors.secrets());
        Client::Pipes(doors)
    } else if body.wait_for_websocket {
        let names: &[&'static str] = if body.interactive { &["0", "control"] } else { &["0", "1", "2", "control"] };
        let doors = app.sessions.open(names)?;
        new.class = Class::Websocket;
        new.metadata = described(&body, doors.secrets());
        Client::Sockets(doors)
    } else {
        Client::Nobody(None)
    };
    let operation = app.engine.operations().begin(new);
    if let Client::Nobody(record) = &mut client
        && body.record_output
    {
        *record = Some(files(&app, &project, &name, &operation.id().to_string()).await?);
        let url = |stream| Value::from(family.url(&name, &format!("/logs/exec_{}.{stream}", operation.id()), &project));
        operation.set_metadata("output", Map::from_iter([("1".to_owned(), url("stdout")), ("2".to_owned(), url("stderr"))]));
    }
    let view = operation.view();
    let command = serde_json::json!({ "command": body.command });
    app.engine.tell_used(&project, &name, "", "instance-exec", Some(command), &peer.caller);
    tokio::spawn(run_exec(app, operation, Plan { project, name, request: request(body), client }));
    envelope::accepted(&view)
}

fn described(body: &InstanceExecPost, secrets: Map<String, Value>) -> Map<String, Value> {
    Map::from_iter([
        ("command".to_owned(), Value::from(body.command.clone())),
        (
            "environment".to_owned(),
            body.environment.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect::<Map<_, _>>().into(),
        ),
        ("fds".to_owned(), secrets.into()),
        ("interactive".to_owned(), body.interactive.into()),
    ])
}

fn request(body: InstanceExecPost) -> ExecRequest {
    let size = |value: i64| u16::try_from(value).unwrap_or(0);
    ExecRequest {
        terminal: body.interactive.then(|| (size(body.width), size(body.height))),
        command: body.command,
        environment: body.environment,
        user: body.user,
        group: body.group,
        cwd: body.cwd,
        operation: None,
    }
}

/// Makes the files that the output is recorded in.
async fn files(app: &App, project: &ProjectName, name: &InstanceName, operation: &str) -> Result<(File, File), Refusal> {
    let directory = app.log_dir(project, name);
    let (output, errors) = (format!("exec_{operation}.stdout"), format!("exec_{operation}.stderr"));
    app.run(move |_| {
        let make = || -> io::Result<_> {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            Ok((private_file(&directory, &output)?, private_file(&directory, &errors)?))
        };
        make().map_err(|cause| EngineError::system("making the files for the command's output", cause))
    })
    .await
}

fn private_file(directory: &Path, name: &str) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(directory.join(name))
}
