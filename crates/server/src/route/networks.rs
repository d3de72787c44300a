//! `/1.0/networks`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{NetworkPost, NetworkPut, NetworksPost};
use coffer_engine::{EngineError, NetworkView};
use coffer_model::{Network, NetworkName, ProjectName};

use super::instances::passes;
use super::merge;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Wire};
use crate::{etag, show};

/// What a network is unless said.
const DEFAULT_KIND: &str = "bridge";

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/networks", get(list).post(create))
        .route("/1.0/networks/{name}", get(read).put(replace).patch(patch).post(rename).delete(remove))
        .route("/1.0/networks/{name}/state", get(state))
        .route("/1.0/networks/{name}/leases", get(leases))
}

fn url(name: &str, project: &ProjectName) -> String {
    show::url(&format!("/1.0/networks/{name}"), project)
}

/// `GET /1.0/networks`.
async fn list(State(app): State<App>, Place(project): Place, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let place = project.clone();
    let mut views: Vec<NetworkView> = app.run(move |engine| engine.networks(&place)).await?;
    views.retain(|view| filter.is_empty() || passes(&filter, &show::network(view)));
    match recursion {
        Recursion::Urls => envelope::sync(views.iter().map(|view| url(&view.name, &project)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(views.iter().map(show::network).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/networks`.
async fn create(State(app): State<App>, peer: Peer, Place(project): Place, Wire(body): Wire<NetworksPost>) -> Answer {
    let name: NetworkName = body.name.parse()?;
    let location = url(name.as_str(), &project);
    let kind = if body.kind.is_empty() { DEFAULT_KIND.to_owned() } else { body.kind };
    app.run(move |engine| engine.create_network(&peer.caller, &project, name, &kind, body.description, merge::whole(body.config))).await?;
    envelope::created(&location)
}

/// `GET /1.0/networks/{name}`: a managed network or an interface of the host.
async fn read(State(app): State<App>, Named(name): Named<String>, Place(project): Place) -> Answer {
    let view = app.run(move |engine| engine.network(&project, &name)).await?;
    match &view.managed {
        Some(network) => envelope::tagged(show::network(&view), &etag::network(network)),
        None => envelope::sync(show::network(&view)),
    }
}

/// `PUT /1.0/networks/{name}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<NetworkName>,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<NetworkPut>,
) -> Answer {
    app.run(move |engine| {
        let guard = if_match.guard(etag::network);
        engine.update_network(&peer.caller, &project, &name, body.description, merge::whole(body.config), guard.as_deref())
    })
    .await?;
    envelope::done()
}

/// `PATCH /1.0/networks/{name}`.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<NetworkName>,
    Place(project): Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    let (description, keys) = (body.text("description")?, merge::config(&body)?);
    app.run(move |engine| {
        merge::unless_changed(&if_match, || {
            let view = engine.network(&project, name.as_str())?;
            let network: Network = view.managed.ok_or_else(|| EngineError::not_found("network", &name))?;
            let guard = if_match.or_tag(etag::network(&network)).guard(etag::network);
            let mut config = network.config;
            merge::over(&mut config, &keys);
            let description = description.clone().unwrap_or(network.description);
            engine.update_network(&peer.caller, &project, &name, description, config, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

/// `POST /1.0/networks/{name}`: a rename.
async fn rename(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<NetworkName>,
    Place(project): Place,
    Wire(body): Wire<NetworkPost>,
) -> Answer {
    let new: NetworkName = body.name.parse()?;
    let location = url(new.as_str(), &project);
    app.run(move |engine| engine.rename_network(&peer.caller, &project, &name, &new)).await?;
    envelope::created(&location)
}

/// `DELETE /1.0/networks/{name}`.
async fn remove(State(app): State<App>, peer: Peer, Named(name): Named<NetworkName>, Place(project): Place) -> Answer {
    app.run(move |engine| engine.delete_network(&peer.caller, &project, &name)).await?;
    envelope::done()
}

/// `GET /1.0/networks/{name}/state`.
async fn state(State(app): State<App>, Named(name): Named<String>, Place(project): Place) -> Answer {
    let state = app.run(move |engine| engine.network_state(&project, &name)).await?;
    envelope::sync(show::network_state(&state))
}

/// `GET /1.0/networks/{name}/leases`.
async fn leases(State(app): State<App>, Named(name): Named<NetworkName>, Place(project): Place) -> Answer {
    let leases = app.run(move |engine| engine.network_leases(&project, &name)).await?;
    envelope::sync(leases.iter().map(show::lease).collect::<Vec<_>>())
}
