//! `/1.0/profiles`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{ProfilePost, ProfilePut, ProfilesPost};
use coffer_engine::ProfileView;
use coffer_model::{Profile, ProfileName};

use super::instances::passes;
use super::merge;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Wire};
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/profiles", get(list).post(create))
        .route("/1.0/profiles/{name}", get(read).put(replace).patch(patch).post(rename).delete(remove))
}

fn url(name: &ProfileName, project: &coffer_model::ProjectName) -> String {
    show::url(&format!("/1.0/profiles/{name}"), project)
}

/// `GET /1.0/profiles`.
async fn list(State(app): State<App>, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let mut views: Vec<ProfileView> = app.run(move |engine| engine.profiles(&scope)).await?;
    views.retain(|view| filter.is_empty() || passes(&filter, &show::profile(view)));
    match recursion {
        Recursion::Urls => envelope::sync(views.iter().map(|view| url(&view.profile.name, &view.profile.project)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(views.iter().map(show::profile).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/profiles`.
async fn create(State(app): State<App>, peer: Peer, Place(project): Place, Wire(body): Wire<ProfilesPost>) -> Answer {
    let profile = Profile {
        project: project.clone(),
        name: body.name.parse()?,
        description: body.description,
        config: merge::whole(body.config),
        devices: merge::named_devices(body.devices)?,
    };
    let location = url(&profile.name, &project);
    app.run(move |engine| engine.create_profile(&peer.caller, profile)).await?;
    envelope::created(&location)
}

/// `GET /1.0/profiles/{name}`.
async fn read(State(app): State<App>, Named(name): Named<ProfileName>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.profile(&project, &name)).await?;
    envelope::tagged(show::profile(&view), &etag::profile(&view.profile))
}

/// `PUT /1.0/profiles/{name}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<ProfileName>,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<ProfilePut>,
) -> Answer {
    let devices = merge::named_devices(body.devices)?;
    let profile = Profile { project, name, description: body.description, config: merge::whole(body.config), devices };
    app.run(move |engine| engine.update_profile(&peer.caller, profile, if_match.guard(etag::profile).as_deref())).await?;
    envelope::done()
}

/// `PATCH /1.0/profiles/{name}`.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<ProfileName>,
    Place(project): Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    let (description, config, devices) = (body.text("description")?, merge::config(&body)?, merge::devices(&body)?);
    app.run(move |engine| {
        merge::unless_changed(&if_match, || {
            let mut profile = engine.profile(&project, &name)?.profile;
            let guard = if_match.or_tag(etag::profile(&profile)).guard(etag::profile);
            merge::over(&mut profile.config, &config);
            merge::devices_over(&mut profile.devices, &devices);
            profile.description = description.clone().unwrap_or(profile.description);
            engine.update_profile(&peer.caller, profile, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

/// `POST /1.0/profiles/{name}`: a rename.
async fn rename(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<ProfileName>,
    Place(project): Place,
    Wire(body): Wire<ProfilePost>,
) -> Answer {
    let new: ProfileName = body.name.parse()?;
    let location = url(&new, &project);
    app.run(move |engine| engine.rename_profile(&peer.caller, &project, &name, &new)).await?;
    envelope::created(&location)
}

/// `DELETE /1.0/profiles/{name}`.
async fn remove(State(app): State<App>, peer: Peer, Named(name): Named<ProfileName>, Place(project): Place) -> Answer {
    app.run(move |engine| engine.delete_profile(&peer.caller, &project, &name)).await?;
    envelope::done()
}
