//! `/1.0/instances/{name}/logs`.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_engine::{Detail, EngineError};
use coffer_model::{InstanceName, ProjectName};
use rustix::fs::OFlags;

use super::instances::Family;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Peer, Place};
use crate::refusal::Refusal;

/// How much of a log file is answered.
const LIMIT: u64 = 64 << 20;

/// What `lxc info --show-log` asks for: with LXD, what the process behind a container wrote. There is one for each, if only
/// an empty one.
const LXD_LOG: &str = "lxc.log";

/// What our process behind a container writes.
const PROCESS_LOG: &str = "monitor.log";

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new()
        .route(&format!("{prefix}/{{name}}/logs"), get(list))
        .route(&format!("{prefix}/{{name}}/logs/exec-output"), get(list_recorded))
        .route(&format!("{prefix}/{{name}}/logs/exec-output/{{file}}"), get(read_recorded).delete(remove))
        .route(&format!("{prefix}/{{name}}/logs/{{file}}"), get(read).delete(remove))
}

/// `GET /1.0/instances/{name}/logs`.
async fn list(State(app): State<App>, family: Family, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    let directory = directory(&app, &project, &name).await?;
    let files = app.run(move |_| names(&directory).map_err(|cause| EngineError::system("listing the log files", cause))).await?;
    envelope::sync(files.iter().map(|file| family.url(&name, &format!("/logs/{file}"), &project)).collect::<Vec<_>>())
}

/// `GET /1.0/instances/{name}/logs/exec-output`: recorded output, where newer clients look for it.
async fn list_recorded(State(app): State<App>, family: Family, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    let directory = directory(&app, &project, &name).await?;
    let files = app.run(move |_| names(&directory).map_err(|cause| EngineError::system("listing the log files", cause))).await?;
    let recorded = files.iter().filter(|file| is_recorded(file));
    envelope::sync(recorded.map(|file| family.url(&name, &format!("/logs/exec-output/{file}"), &project)).collect::<Vec<_>>())
}

/// `GET /1.0/instances/{name}/logs/exec-output/{file}`.
async fn read_recorded(app: State<App>, peer: Peer, Named((name, file)): Named<(InstanceName, String)>, place: Place) -> Answer {
    if !is_recorded(&file) {
        return Err(Refusal::not_found(format!("no recorded output {file:?}")));
    }
    read(app, peer, Named((name, file)), place).await
}

/// `GET /1.0/instances/{name}/logs/{file}`.
async fn read(State(app): State<App>, peer: Peer, Named((name, file)): Named<(InstanceName, String)>, Place(project): Place) -> Answer {
    let of_process = file == LXD_LOG;
    let path = path(&app, &project, &name, if of_process { PROCESS_LOG } else { &file }).await?;
    let content = app
        .run(move |engine| {
            let content = match content(&path) {
                Err(cause) if of_process && cause.kind() == io::ErrorKind::NotFound => Vec::new(),
                read => read.map_err(|cause| failed(&file, "reading", cause))?,
            };
            engine.tell_used(&project, &name, &format!("/logs/{file}"), "instance-log-retrieved", None, &peer.caller);
            Ok(content)
        })
        .await?;
    Ok(envelope::raw(content))
}

/// `DELETE /1.0/instances/{name}/logs/{file}`: only recorded output; the others are written to.
async fn remove(State(app): State<App>, peer: Peer, Named((name, file)): Named<(InstanceName, String)>, Place(project): Place) -> Answer {
    let path = path(&app, &project, &name, &file).await?;
    if !is_recorded(&file) {
        return Err(Refusal::bad_request(format!("log file {file:?} cannot be deleted: only recorded output (exec_…) can")));
    }
    app.run(move |engine| {
        fs::remove_file(&path).map_err(|cause| failed(&file, "deleting", cause))?;
        engine.tell_used(&project, &name, &format!("/logs/{file}"), "instance-log-deleted", None, &peer.caller);
        Ok(())
    })
    .await?;
    envelope::done()
}

fn failed(file: &str, doing: &str, cause: io::Error) -> EngineError {
    match cause.kind() {
        io::ErrorKind::NotFound => EngineError::not_found("log file", file),
        _ => EngineError::system(format!("{doing} log file {file}"), cause),
    }
}

/// The directory of an instance's logs; the instance exists.
async fn directory(app: &App, project: &ProjectName, name: &InstanceName) -> Result<PathBuf, Refusal> {
    let (wanted_project, wanted_name) = (project.clone(), name.clone());
    app.run(move |engine| engine.instance(&wanted_project, &wanted_name, Detail::Plain)).await?;
    Ok(app.log_dir(project, name))
}

async fn path(app: &App, project: &ProjectName, name: &InstanceName, file: &str) -> Result<PathBuf, Refusal> {
    if !is_log_name(file) {
        return Err(Refusal::bad_request(format!("{file:?} is not the name of a log file")));
    }
    Ok(directory(app, project, name).await?.join(file))
}

fn names(directory: &std::path::Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && is_log_name(&name)
            && entry.file_type()?.is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn content(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut content = Vec::new();
    fs::File::options().read(true).custom_flags(flags).open(path)?.take(LIMIT).read_to_end(&mut content)?;
    Ok(content)
}

/// Says whether a log file is the recorded output of a command.
fn is_recorded(name: &str) -> bool {
    name.starts_with("exec_")
}

/// Log files have short plain names with one of these endings; nothing else in the directory is anybody's business.
fn is_log_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let ending = [".log", ".conf", ".stdout", ".stderr"].iter().any(|ending| name.ends_with(ending));
    plain && ending && name.len() <= 255 && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expect: bool) {
        assert_eq!(is_log_name(name), expect, "{name:?}");
    }

    #[test]
    fn names_of_log_files() {
        check("console.log", true);
        check("exec_191a624a-b8a6-4b3d-a8fd-c19beec15c9c.stdout", true);
        for name in ["", ".log", "..", "../x.log", "a/b.log", "a\0.log", "monitor.sock", "x.log\n"] {
            check(name, false);
        }
    }
}
