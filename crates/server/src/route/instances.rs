//! `/1.0/instances`: listing, making, changing, renaming and deleting.

use axum::Router;
use axum::extract::{FromRequest as _, FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::routing::get;
use coffer_api::{InstancePost, InstancePut, InstanceSource, InstancesPost, InstancesPut};
use coffer_engine::{CreateInstance, Detail, ImportBackup, InstanceChange, InstancePatch, InstanceView, RemoteSource, Source};
use coffer_model::{Config, InstanceName, ProfileName, ProjectName, instance_type};
use serde::Serialize;
use serde_json::Value;

use super::{copies, images, instance_state, merge, snapshots, upload};
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Wire};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new()
        .route(prefix, get(list).post(create).put(change_all))
        .route(&format!("{prefix}/{{name}}"), get(read).put(replace).patch(patch).post(rename).delete(remove))
}

/// Under which of its two names the collection was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Family(&'static str);

impl Family {
    /// The URL of something of an instance; `rest` is empty or begins with a slash.
    pub fn url(self, name: &InstanceName, rest: &str, project: &ProjectName) -> String {
        show::url(&format!("/1.0/{}/{name}{rest}", self.0), project)
    }
}

impl FromRequestParts<App> for Family {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let old = parts.uri.path().starts_with("/1.0/containers");
        Ok(Self(if old { "containers" } else { "instances" }))
    }
}

/// `GET /1.0/instances`.
async fn list(State(app): State<App>, family: Family, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    if parameters.get("instance-type") == Some("virtual-machine") {
        return envelope::sync(Vec::<Value>::new());
    }
    let detail = if recursion == Recursion::Everything { Detail::Full } else { Detail::Plain };
    let mut views = app.run(move |engine| engine.instances(&scope, detail)).await?;
    if !filter.is_empty() {
        views.retain(|view| {
            if recursion == Recursion::Everything {
                passes(&filter, &show::instance_full(view.clone()))
            } else {
                passes(&filter, &show::instance(view.clone()))
            }
        });
    }
    match recursion {
        Recursion::Urls => envelope::sync(views.iter().map(|view| url(family, view)).collect::<Vec<_>>()),
        Recursion::Objects => envelope::sync(views.into_iter().map(show::instance).collect::<Vec<_>>()),
        Recursion::Everything => envelope::sync(views.into_iter().map(show::instance_full).collect::<Vec<_>>()),
    }
}

fn url(family: Family, view: &InstanceView) -> String {
    family.url(&view.instance.name, "", &view.instance.project)
}

/// Says whether an object as the API shows it passes a filter.
pub fn passes(filter: &coffer_model::filter::Filter, object: &impl Serialize) -> bool {
    serde_json::to_value(object).is_ok_and(|value| filter.matches(&value))
}

/// `POST /1.0/instances`.
async fn create(State(app): State<App>, peer: Peer, Place(project): Place, request: Request) -> Answer {
    if request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream") {
        return import(app, peer, project, request).await;
    }
    let Wire(body): Wire<InstancesPost> = Wire::from_request(request, &app).await?;
    if body.source.kind == "copy" {
        let copy = copies::copy(body, project)?;
        let view = app.run(move |engine| engine.copy_instance(&peer.caller, copy)).await?;
        return envelope::accepted(&view);
    }
    let wanted = wanted(body, project)?;
    let view = app.run(move |engine| engine.create_instance(&peer.caller, wanted)).await?;
    envelope::accepted(&view)
}

/// `POST /1.0/instances` with a backup as its body.
async fn import(app: App, peer: Peer, project: ProjectName, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let header = |name: &str| upload::text(&parts.headers, name);
    let wanted = ImportBackup {
        project,
        name: header("x-lxd-name").map(|name| name.parse()).transpose()?,
        pool: header("x-lxd-pool").map(|name| name.parse()).transpose()?,
    };
    let asked = wanted.clone();
    let incoming = upload::receive(&app, body, move |engine| engine.receive_backup(&asked)).await?;
    let view = app.run(move |engine| engine.import_backup(&peer.caller, wanted, incoming)).await?;
    envelope::accepted(&view)
}

fn wanted(body: InstancesPost, project: ProjectName) -> Result<CreateInstance, Refusal> {
    match body.kind.as_str() {
        "" | "container" => {}
        "virtual-machine" => return Err(Refusal::unsupported("virtual machines")),
        other => return Err(Refusal::bad_request(format!("invalid instance type {other:?}: it must be container"))),
    }
    let mut config = match body.instance_type.as_str() {
        "" => Config::default(),
        size => instance_type::limits(size).map_err(|error| Refusal::bad_request(error.to_string()))?,
    };
    config.merge(&merge::whole(body.config));
    let source = match image_source(&body.source)? {
        Some(source) => source,
        None if body.source.kind == "migration" => return Err(Refusal::unsupported("migrations")),
        None => return Err(Refusal::bad_request(format!("invalid source type {:?}: it must be image, copy or none", body.source.kind))),
    };
    Ok(CreateInstance {
        project,
        name: if body.name.is_empty() { None } else { Some(body.name.parse()?) },
        architecture: body.architecture,
        description: body.description,
        ephemeral: body.ephemeral,
        profiles: body.profiles.map(profiles).transpose()?,
        config,
        devices: merge::named_devices(body.devices)?,
        source,
        start: body.start,
    })
}

/// Reads a source that is an image or nothing; `None` where it is something else.
///
/// # Errors
/// If it names no image, or none that can be.
pub fn image_source(source: &InstanceSource) -> Result<Option<Source>, Refusal> {
    Ok(Some(match source.kind.as_str() {
        "image" if !source.server.is_empty() => Source::Remote(RemoteSource {
            server: source.server.clone(),
            protocol: images::protocol(&source.protocol)?,
            certificate: source.certificate.clone(),
            name: if source.fingerprint.is_empty() { source.alias.clone() } else { source.fingerprint.clone() },
            secret: source.secret.clone(),
            project: source.project.clone(),
        }),
        "image" if !source.fingerprint.is_empty() => Source::Fingerprint(source.fingerprint.clone()),
        "image" if !source.alias.is_empty() => Source::Alias(source.alias.parse()?),
        "image" if !source.properties.is_empty() => Source::Properties(Config(source.properties.clone())),
        "image" => return Err(Refusal::bad_request("the source has no image: give its fingerprint or alias")),
        "none" => Source::None,
        _ => return Ok(None),
    }))
}

fn profiles(names: Vec<String>) -> Result<Vec<ProfileName>, Refusal> {
    names.into_iter().map(|name| Ok(name.parse()?)).collect()
}

/// `PUT /1.0/instances`: one change of state for all.
async fn change_all(State(app): State<App>, peer: Peer, Place(project): Place, Wire(body): Wire<InstancesPut>) -> Answer {
    let state = body.state.ok_or_else(|| Refusal::bad_request("the request has no state"))?;
    let change = instance_state::change(&state)?;
    let view = app.run(move |engine| engine.change_all_states(&peer.caller, &project, change)).await?;
    envelope::accepted(&view)
}

/// `GET /1.0/instances/{name}`.
async fn read(State(app): State<App>, Named(name): Named<InstanceName>, Place(project): Place, parameters: Parameters) -> Answer {
    let full = parameters.recursion()? != Recursion::Urls;
    let detail = if full { Detail::Full } else { Detail::Plain };
    let view = app.run(move |engine| engine.instance(&project, &name, detail)).await?;
    let tag = etag::instance(&view.instance);
    if full { envelope::tagged(show::instance_full(view), &tag) } else { envelope::tagged(show::instance(view), &tag) }
}

/// `PUT /1.0/instances/{name}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<InstancePut>,
) -> Answer {
    // A restore comes with all other fields empty and is no update to that.
    if !body.restore.is_empty() {
        snapshots::refuse_stateful(body.stateful)?;
        let snapshot = snapshots::restored(&name, &body.restore)?;
        let view = app.run(move |engine| engine.restore_snapshot(&peer.caller, &project, &name, &snapshot)).await?;
        return envelope::accepted(&view);
    }
    let change = InstanceChange {
        architecture: body.architecture,
        description: body.description,
        ephemeral: body.ephemeral,
        profiles: profiles(body.profiles)?,
        config: merge::whole(body.config),
        devices: merge::named_devices(body.devices)?,
    };
    let guard = if_match.guard(etag::instance);
    let view = app.run(move |engine| engine.update_instance(&peer.caller, &project, &name, change, guard.as_deref())).await?;
    envelope::accepted(&view)
}

/// `PATCH /1.0/instances/{name}`.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    if body.text("restore")?.is_some_and(|snapshot| !snapshot.is_empty()) {
        return Err(Refusal::bad_request("a restore is a PUT: a PATCH answers at once"));
    }
    let patch = InstancePatch {
        description: body.text("description")?,
        ephemeral: body.read("ephemeral")?,
        profiles: body.read("profiles")?.map(profiles).transpose()?,
        config: merge::config(&body)?,
        devices: merge::devices(&body)?,
    };
    let guard = if_match.guard(etag::instance);
    app.run(move |engine| engine.patch_instance(&peer.caller, &project, &name, patch, guard.as_deref())).await?;
    envelope::done()
}

/// `POST /1.0/instances/{name}`: a rename, or a move to another pool or project.
async fn rename(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    Wire(body): Wire<InstancePost>,
) -> Answer {
    let request = copies::relocation(&body)?;
    let view = app.run(move |engine| engine.move_instance(&peer.caller, &project, &name, request)).await?;
    envelope::accepted(&view)
}

/// `DELETE /1.0/instances/{name}`.
async fn remove(State(app): State<App>, peer: Peer, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.delete_instance(&peer.caller, &project, &name)).await?;
    envelope::accepted(&view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expect: &str) {
        let body = crate::extract::parse(body.as_bytes()).unwrap();
        let got = match wanted(body, ProjectName::default_project()) {
            Ok(wanted) => format!("{:?} {:?} {:?}", wanted.name.map(|name| name.to_string()), wanted.source, wanted.profiles),
            Err(refusal) => format!("{} {refusal}", refusal.status().as_u16()),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn what_clients_send() {
        check(
            r#"{"architecture":"","config":{},"devices":{},"ephemeral":false,"profiles":null,"stateful":false,"description":"","name":"c2","source":{"type":"image","certificate":"","fingerprint":"aaaa","allow_inconsistent":false},"instance_type":"","type":"container"}"#,
            r#"Some("c2") Fingerprint("aaaa") None"#,
        );
        check(r#"{"name":"","profiles":[],"source":{"type":"none"}}"#, "None None Some([])");
        check(r#"{"source":{"type":"image","alias":"a/b"}}"#, r#"None Alias(AliasName("a/b")) None"#);
    }

    #[test]
    fn what_is_refused() {
        check("{}", "400 invalid source type \"\": it must be image, copy or none");
        check(r#"{"type":"virtual-machine"}"#, "501 virtual machines are not supported yet");
        check(
            r#"{"source":{"type":"image","alias":"debian","server":"https://docker.example","protocol":"teapot"}}"#,
            "400 image servers are spoken to by simplestreams, lxd or oci, not by \"teapot\"",
        );
        check(r#"{"name":"1a","source":{"type":"none"}}"#, "400 invalid instance name \"1a\": it must not start with a digit");
    }
}
