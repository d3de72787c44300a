//! `/1.0/instances/{name}/snapshots`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{InstanceSnapshotPost, InstanceSnapshotPut, InstanceSnapshotsPost, Timestamp};
use coffer_engine::{CreateSnapshot, Expiry};
use coffer_model::{InstanceName, SnapshotName, Time};

use super::instances::Family;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Wire};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new()
        .route(&format!("{prefix}/{{name}}/snapshots"), get(list).post(create))
        .route(&format!("{prefix}/{{name}}/snapshots/{{snapshot}}"), get(read).put(replace).patch(patch).post(rename).delete(remove))
}

/// `GET /1.0/instances/{name}/snapshots`.
async fn list(
    State(app): State<App>,
    family: Family,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    parameters: Parameters,
) -> Answer {
    let recursion = parameters.recursion()?;
    let (place, instance) = (project.clone(), name.clone());
    let views = app.run(move |engine| engine.snapshots(&place, &instance)).await?;
    match recursion {
        Recursion::Urls => {
            let url = |name: &InstanceName, snapshot: &SnapshotName| family.url(name, &format!("/snapshots/{snapshot}"), &project);
            envelope::sync(views.iter().map(|view| url(&name, &view.snapshot.name)).collect::<Vec<_>>())
        }
        Recursion::Objects | Recursion::Everything => envelope::sync(views.into_iter().map(show::snapshot).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/instances/{name}/snapshots`.
async fn create(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    Wire(body): Wire<InstanceSnapshotsPost>,
) -> Answer {
    let wanted = wanted(&body)?;
    let view = app.run(move |engine| engine.create_snapshot(&peer.caller, &project, &name, wanted)).await?;
    envelope::accepted(&view)
}

fn wanted(body: &InstanceSnapshotsPost) -> Result<CreateSnapshot, Refusal> {
    refuse_stateful(body.stateful)?;
    let expiry = match body.expires_at.map(Timestamp::get) {
        None => Expiry::AsConfigured,
        Some(None) => Expiry::Never,
        Some(Some(time)) => Expiry::At(time),
    };
    Ok(CreateSnapshot { name: if body.name.is_empty() { None } else { Some(body.name.parse()?) }, expiry })
}

/// Refuses to keep or bring back running state.
///
/// # Errors
/// If that was asked for.
pub fn refuse_stateful(stateful: bool) -> Result<(), Refusal> {
    if stateful {
        let text = "the running state of containers cannot be kept: memory and processes are not part of a snapshot; leave out --stateful";
        return Err(Refusal::bad_request(text));
    }
    Ok(())
}

/// `GET /1.0/instances/{name}/snapshots/{snapshot}`.
async fn read(State(app): State<App>, Named((name, snapshot)): Named<(InstanceName, SnapshotName)>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.snapshot(&project, &name, &snapshot)).await?;
    let tag = etag::snapshot(&view.snapshot);
    envelope::tagged(show::snapshot(view), &tag)
}

/// `PUT /1.0/instances/{name}/snapshots/{snapshot}`.
async fn replace(
    state: State<App>,
    peer: Peer,
    names: Named<(InstanceName, SnapshotName)>,
    place: Place,
    if_match: IfMatch,
    Wire(body): Wire<InstanceSnapshotPut>,
) -> Answer {
    change(state, peer, names, place, if_match, body.expires_at.get()).await
}

/// `PATCH /1.0/instances/{name}/snapshots/{snapshot}`.
async fn patch(
    state: State<App>,
    peer: Peer,
    names: Named<(InstanceName, SnapshotName)>,
    place: Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    let expires_at: Option<Timestamp> = body.read("expires_at")?;
    let Some(expires_at) = expires_at else { return Err(Refusal::bad_request("a snapshot has nothing to change but expires_at")) };
    change(state, peer, names, place, if_match, expires_at.get()).await
}

async fn change(
    State(app): State<App>,
    peer: Peer,
    Named((name, snapshot)): Named<(InstanceName, SnapshotName)>,
    Place(project): Place,
    if_match: IfMatch,
    expires_at: Option<Time>,
) -> Answer {
    let guard = if_match.guard(etag::snapshot);
    let work = move |engine: &coffer_engine::Engine| {
        engine.update_snapshot(&peer.caller, &project, &name, &snapshot, expires_at, guard.as_deref())
    };
    envelope::accepted(&app.run(work).await?)
}

/// `POST /1.0/instances/{name}/snapshots/{snapshot}`: a rename.
async fn rename(
    State(app): State<App>,
    peer: Peer,
    Named((name, snapshot)): Named<(InstanceName, SnapshotName)>,
    Place(project): Place,
    Wire(body): Wire<InstanceSnapshotPost>,
) -> Answer {
    if body.migration || body.target.is_some() {
        return Err(Refusal::unsupported("migrations of snapshots to other servers"));
    }
    let new = body.name.parse()?;
    let view = app.run(move |engine| engine.rename_snapshot(&peer.caller, &project, &name, &snapshot, new)).await?;
    envelope::accepted(&view)
}

/// `DELETE /1.0/instances/{name}/snapshots/{snapshot}`.
async fn remove(
    State(app): State<App>,
    peer: Peer,
    Named((name, snapshot)): Named<(InstanceName, SnapshotName)>,
    Place(project): Place,
) -> Answer {
    let view = app.run(move |engine| engine.delete_snapshot(&peer.caller, &project, &name, &snapshot)).await?;
    envelope::accepted(&view)
}

/// Reads the name of the snapshot to restore, which may come with the instance's before it.
///
/// # Errors
/// If it is a snapshot of another instance, or no name.
pub fn restored(instance: &InstanceName, text: &str) -> Result<SnapshotName, Refusal> {
    match text.split_once('/') {
        None => Ok(text.parse()?),
        Some((own, name)) if own == instance.as_str() => Ok(name.parse()?),
        Some((other, _)) => Err(Refusal::bad_request(format!(
            "{text} is a snapshot of instance {other}; instance {instance} can be put back only to its own (or copy the snapshot)"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        let got = match crate::extract::parse(body.as_bytes()).and_then(|body| wanted(&body)) {
            Ok(wanted) => format!("{:?} {:?}", wanted.name.map(|name| name.to_string()), wanted.expiry),
            Err(refusal) => format!("{} {refusal}", refusal.status().as_u16()),
        };
        assert!(got.starts_with(expect), "{got}");
    }

    #[test]
    fn what_clients_send() {
        check(r#"{"name":"s1","stateful":false,"expires_at":null}"#, r#"Some("s1") AsConfigured"#);
        check(r#"{"name":"","stateful":false,"expires_at":"0001-01-01T00:00:00Z"}"#, "None Never");
        check(r#"{"name":"","expires_at":"2030-01-01T00:00:00Z"}"#, "None At(2030-01-01T00:00:00Z)");
        check(r#"{"stateful":true}"#, "400 the running state of containers cannot be kept");
        check(r#"{"name":"a/b"}"#, "400 invalid snapshot name \"a/b\"");
    }

    #[test]
    fn a_restore_is_of_an_own_snapshot() {
        let web = "web".parse().unwrap();
        assert_eq!(restored(&web, "one").unwrap().as_str(), "one");
        assert_eq!(restored(&web, "web/one").unwrap().as_str(), "one");
        assert!(restored(&web, "db/one").unwrap_err().to_string().starts_with("db/one is a snapshot of instance db"));
    }
}
