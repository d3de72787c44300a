//! What clients ask for when they copy, move or rebuild an instance.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use coffer_api::{InstancePost, InstanceRebuildPost, InstancesPost};
use coffer_engine::{CopyInstance, MoveInstance};
use coffer_model::{InstanceName, ProfileName, ProjectName};

use super::instances::image_source;
use super::{merge, snapshots};
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Peer, Place, Wire};
use crate::refusal::Refusal;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new().route(&format!("{prefix}/{{name}}/rebuild"), post(rebuild))
}

/// Reads a copy on this server. That the source runs makes no difference: its processes are not copied.
///
/// # Errors
/// If a name is wrong, or running state is to be copied.
pub fn copy(body: InstancesPost, project: ProjectName) -> Result<CopyInstance, Refusal> {
    snapshots::refuse_stateful(body.stateful)?;
    let source = &body.source;
    let (instance, snapshot) = match source.source.split_once('/') {
        Some((instance, snapshot)) => (instance, Some(snapshot.parse()?)),
        None => (source.source.as_str(), None),
    };
    let profiles = body.profiles.map(|names| names.into_iter().map(|name| name.parse()).collect::<Result<Vec<ProfileName>, _>>());
    Ok(CopyInstance {
        source_project: if source.project.is_empty() { project.clone() } else { source.project.parse()? },
        project,
        name: if body.name.is_empty() { None } else { Some(body.name.parse()?) },
        source: instance.parse()?,
        snapshot,
        with_snapshots: !(source.instance_only || source.container_only),
        refresh: source.refresh,
        description: body.description,
        ephemeral: body.ephemeral,
        profiles: profiles.transpose()?,
        config: merge::whole(body.config),
        devices: merge::named_devices(body.devices)?,
        start: body.start,
    })
}

/// Reads a rename or a move on this server.
///
/// # Errors
/// If a name is wrong, or the move is to another server.
pub fn relocation(body: &InstancePost) -> Result<MoveInstance, Refusal> {
    if body.target.is_some() || (body.migration && body.pool.is_empty() && body.project.is_empty()) {
        return Err(Refusal::unsupported("migrations of instances to other servers"));
    }
    let request = MoveInstance {
        name: if body.name.is_empty() { None } else { Some(body.name.parse()?) },
        project: if body.project.is_empty() { None } else { Some(body.project.parse()?) },
        pool: if body.pool.is_empty() { None } else { Some(body.pool.parse()?) },
        without_snapshots: body.migration && (body.instance_only || body.container_only),
    };
    if request == MoveInstance::default() {
        return Err(Refusal::bad_request("the request names neither a new name nor a pool nor a project"));
    }
    Ok(request)
}

/// `POST /1.0/instances/{name}/rebuild`.
async fn rebuild(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    Wire(body): Wire<InstanceRebuildPost>,
) -> Answer {
    let wrong = || Refusal::bad_request(format!("invalid source type {:?}: it must be image or none", body.source.kind));
    let source = image_source(&body.source)?.ok_or_else(wrong)?;
    let view = app.run(move |engine| engine.rebuild_instance(&peer.caller, &project, &name, &source)).await?;
    envelope::accepted(&view)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(refusal) => format!("{} {refusal}", refusal.status().as_u16()),
        }
    }

    #[track_caller]
    fn check_copy(body: &str, expect: &str) {
        let body = crate::extract::parse(body.as_bytes()).unwrap();
        let got = copy(body, ProjectName::default_project());
        let got = got.map(|copy| {
            (copy.source_project.to_string(), copy.source.to_string(), copy.snapshot.map(|name| name.to_string()), copy.with_snapshots)
        });
        assert!(text(got).starts_with(expect));
    }

    #[test]
    fn copies_as_clients_send_them() {
        check_copy(
            r#"{"architecture":"x86_64","config":{"image.os":"Debian"},"devices":{},"profiles":["default"],"stateful":false,"name":"c9","source":{"type":"copy","certificate":"","source":"c1","live":true,"allow_inconsistent":false},"instance_type":"","type":"container"}"#,
            r#"("default", "c1", None, true)"#,
        );
        check_copy(
            r#"{"name":"c9","source":{"type":"copy","source":"c1/s","project":"dev","instance_only":true,"container_only":true}}"#,
            r#"("dev", "c1", Some("s"), false)"#,
        );
        check_copy(r#"{"source":{"type":"copy","source":"../x"}}"#, r#"400 invalid instance name "..""#);
        check_copy(r#"{"source":{"type":"copy","source":"c1"},"stateful":true}"#, "400 the running state");
    }

    #[track_caller]
    fn check_move(body: &str, expect: &str) {
        let body = crate::extract::parse(body.as_bytes()).unwrap();
        assert_eq!(text(relocation(&body)), expect);
    }

    #[test]
    fn moves_as_clients_send_them() {
        check_move(
            r#"{"name":"c8","migration":false,"live":false,"instance_only":false,"container_only":false,"target":null,"pool":"","project":""}"#,
            r#"MoveInstance { name: Some(InstanceName("c8")), project: None, pool: None, without_snapshots: false }"#,
        );
        check_move(
            r#"{"name":"c1","migration":true,"live":true,"instance_only":true,"container_only":true,"target":null,"pool":"other","project":""}"#,
            r#"MoveInstance { name: Some(InstanceName("c1")), project: None, pool: Some(PoolName("other")), without_snapshots: true }"#,
        );
        check_move(r#"{"name":"c1","migration":true}"#, "501 migrations of instances to other servers are not supported yet");
        check_move("{}", "400 the request names neither a new name nor a pool nor a project");
    }
}
