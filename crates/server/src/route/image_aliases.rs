//! `/1.0/images/aliases`. An alias may hold slashes, escaped or not.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use coffer_api::{ImageAliasesEntryPost, ImageAliasesEntryPut, ImageAliasesPost};
use coffer_engine::{Engine, EngineError, Scope};
use coffer_model::{Alias, AliasName, Fingerprint, ProjectName};

use super::instances::passes;
use super::merge;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Everywhere, IfMatch, Named, Parameters, Patch, Peer, Place, Recursion, Trust, Wire};
use crate::refusal::Refusal;
use crate::{etag, show};

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/images/aliases", get(list).post(create))
        .route("/1.0/images/aliases/{*name}", get(read).put(replace).patch(patch).post(rename).delete(remove))
}

/// The URL, with the slashes of the name escaped.
fn url(name: &AliasName, project: &ProjectName) -> String {
    show::url(&format!("/1.0/images/aliases/{}", name.as_str().replace('/', "%2F")), project)
}

/// The fingerprint of the image that a prefix means.
fn target(engine: &Engine, project: &ProjectName, prefix: &str) -> Result<Fingerprint, EngineError> {
    engine.image(project, prefix).map(|view| view.image.fingerprint)
}

/// `GET /1.0/images/aliases`.
async fn list(State(app): State<App>, Everywhere(scope): Everywhere, parameters: Parameters) -> Answer {
    let (recursion, filter) = (parameters.recursion()?, parameters.filter()?);
    let aliases = app
        .run(move |engine| match scope {
            Scope::Project(project) => engine.aliases(&project),
            Scope::All => {
                let projects = engine.projects()?.into_iter();
                let lists: Result<Vec<_>, _> = projects.map(|(project, _)| engine.aliases(&project.name)).collect();
                let mut all: Vec<Alias> = lists?.into_iter().flatten().collect();
                // Projects without images of their own show the default project's.
                all.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
                all.dedup();
                Ok(all)
            }
        })
        .await?;
    let fits = aliases.iter().filter(|alias| filter.is_empty() || passes(&filter, &show::alias(alias)));
    match recursion {
        Recursion::Urls => envelope::sync(fits.map(|alias| url(&alias.name, &alias.project)).collect::<Vec<_>>()),
        Recursion::Objects | Recursion::Everything => envelope::sync(fits.map(show::alias).collect::<Vec<_>>()),
    }
}

/// `POST /1.0/images/aliases`.
async fn create(State(app): State<App>, peer: Peer, Place(project): Place, Wire(body): Wire<ImageAliasesPost>) -> Answer {
    if !matches!(body.kind.as_str(), "" | "container") {
        return Err(Refusal::unsupported("images of virtual machines"));
    }
    let name: AliasName = body.name.parse()?;
    let location = url(&name, &project);
    app.run(move |engine| {
        let target = target(engine, &project, &body.target)?;
        engine.create_alias(&peer.caller, Alias { project, name, description: body.description, target })
    })
    .await?;
    envelope::created(&location)
}

/// `GET /1.0/images/aliases/{name}`.
async fn read(State(app): State<App>, peer: Peer, Named(name): Named<AliasName>, Place(project): Place) -> Answer {
    let alias = app
        .run(move |engine| match peer.trust {
            Trust::Admin => engine.alias(&project, &name),
            Trust::Metrics | Trust::None => engine.public_alias(&project, &name),
        })
        .await?;
    envelope::tagged(show::alias(&alias), &etag::alias(&alias))
}

/// `PUT /1.0/images/aliases/{name}`.
async fn replace(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<AliasName>,
    Place(project): Place,
    if_match: IfMatch,
    Wire(body): Wire<ImageAliasesEntryPut>,
) -> Answer {
    app.run(move |engine| {
        let target = target(engine, &project, &body.target)?;
        let alias = Alias { project, name, description: body.description, target };
        engine.update_alias(&peer.caller, alias, if_match.guard(etag::alias).as_deref())
    })
    .await?;
    envelope::done()
}

/// `PATCH /1.0/images/aliases/{name}`.
async fn patch(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<AliasName>,
    Place(project): Place,
    if_match: IfMatch,
    body: Patch,
) -> Answer {
    let (description, prefix) = (body.text("description")?, body.text("target")?);
    app.run(move |engine| {
        merge::unless_changed(&if_match, || {
            let mut alias = engine.alias(&project, &name)?;
            let guard = if_match.or_tag(etag::alias(&alias)).guard(etag::alias);
            if let Some(prefix) = &prefix {
                alias.target = target(engine, &project, prefix)?;
            }
            alias.description = description.clone().unwrap_or(alias.description);
            engine.update_alias(&peer.caller, alias, guard.as_deref())
        })
    })
    .await?;
    envelope::done()
}

/// `POST /1.0/images/aliases/{name}`: a rename.
async fn rename(
    State(app): State<App>,
    peer: Peer,
    Named(name): Named<AliasName>,
    Place(project): Place,
    Wire(body): Wire<ImageAliasesEntryPost>,
) -> Answer {
    let new: AliasName = body.name.parse()?;
    let location = url(&new, &project);
    app.run(move |engine| engine.rename_alias(&peer.caller, &project, &name, &new)).await?;
    envelope::created(&location)
}

/// `DELETE /1.0/images/aliases/{name}`.
async fn remove(State(app): State<App>, peer: Peer, Named(name): Named<AliasName>, Place(project): Place) -> Answer {
    app.run(move |engine| engine.delete_alias(&peer.caller, &project, &name)).await?;
    envelope::done()
}
