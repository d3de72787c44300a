//! `/1.0/projects`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{ProjectPost, ProjectPut, ProjectState, ProjectStateResource, ProjectsPost};
use coffer_model::{Project, ProjectName};

use super::instances::passes;
use super::merge;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{IfMatch, Named, Parameters, Patch, Peer, Recursion, Wire};
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/projects", get(list).post(create))
        .route("/1.0/projects/{name}", get(read).put(replace).patch(patch).post(rename).delete(remove))
        .route("/1.0/projects/{name}/state", get(state))
}

/// `GET /1.0/projects`.
async fn list(State(app): State<App>, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let projects = app.run(|engine| engine.projects()).await?;
    let mut shown: Vec<_> = projects.into_iter().map(|(project, used_by)| show::project(&project, used_by)).collect();
    shown.retain(|project| filter.is_empty() || passes(&filter, project));
    match recursion {
        Recursion::Urls => envelope::sync(shown.iter().map(|project| format!("/1.0/projects/{}", project.name)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(shown),
    }
}

/// `POST /1.0/projects`.
async fn create(State(app): State<App>, peer: Peer, Wire(body): Wire<ProjectsPost>) -> Answer {
    let project = Project { name: body.name.parse()?, description: body.description, config: merge::whole(body.config) };
    let location = format!("/1.0/projects/{}", project.name);
    app.run(move |engine| engine.create_project(&peer.caller, project)).await?;
    envelope::created(&location)
}

/// `GET /1.0/projects/{name}`.
async fn read(State(app): State<App>, Named(name): Named<ProjectName>) -> Answer {
    let (project, used_by) = app.run(move |engine| engine.project(&name)).await?;
    let tag = etag::project(&project);
    envelope::tagged(show::project(&project, used_by), &tag)
}

/// `GET /1.0/projects/{name}/state`: what it uses; nothing is limited.
async fn state(State(app): State<App>, Named(name): Named<ProjectName>) -> Answer {
    let usage = app.run(move |engine| engine.project_usage(&name)).await?;
    let resources = [
        ("containers", usage.containers),
        ("cpu", usage.cpu),
        ("disk", usage.disk),
        ("instances", usage.containers),
        ("memory", usage.memory),
        ("networks", usage.networks),
        ("processes", usage.processes),
        ("virtual-machines", 0),
    ];
    let shown = |(name, used): (&str, u64)| {
        let usage = i64::try_from(used).unwrap_or(i64::MAX);
        (name.to_owned(), ProjectStateResource { limit: -1, usage })
    };
    envelope::sync(ProjectState { resources: resources.into_iter().map(shown).collect() })
}

/// `PUT /1.0/projects/{name}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<ProjectName>,
    if_match: IfMatch,
    Wire(body): Wire<ProjectPut>,
) -> Answer {
    let project = Project { name, description: body.description, config: merge::whole(body.config) };
    app.run(move |engine| engine.update_project(&peer.caller, project, if_match.guard(etag::project).as_deref())).await?;
    envelope::done()
}

/// `PATCH /1.0/projects/{name}`.
async fn patch(State(app): State<App>, peer: Peer, Named(name): Named<ProjectName>, if_match: IfMatch, body: Patch) -> Answer {
    let (description, config) = (body.text("description")?, merge::config(&body)?);
    app.run(move |engine| {
        merge::unless_changed(&if_match, || {
            let (mut project, _) = engine.project(&name)?;
            let guard = if_match.or_tag(etag::project(&project)).guard(etag::project);
            merge::over(&mut project.config, &config);
            project.description = description.clone().unwrap_or(project.description);
            engine.update_project(&peer.caller, project, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

/// `POST /1.0/projects/{name}`: a rename.
async fn rename(State(app): State<App>, peer: Peer, Named(name): Named<ProjectName>, Wire(body): Wire<ProjectPost>) -> Answer {
    let new: ProjectName = body.name.parse()?;
    let view = app.run(move |engine| engine.rename_project(&peer.caller, &name, &new)).await?;
    envelope::accepted(&view)
}

/// `DELETE /1.0/projects/{name}`.
async fn remove(State(app): State<App>, peer: Peer, Named(name): Named<ProjectName>) -> Answer {
    app.run(move |engine| engine.delete_project(&peer.caller, &name)).await?;
    envelope::done()
}
