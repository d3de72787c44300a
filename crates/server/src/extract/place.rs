//! Where a request works: in which project, or in all of them.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use coffer_engine::Scope;
use coffer_model::ProjectName;

use super::{Parameters, Peer, Trust};
use crate::app::App;
use crate::refusal::Refusal;

/// The project that a request works in; it exists, if the caller is trusted. Absent or empty is `default`.
#[derive(Debug, Clone)]
pub struct Place(pub ProjectName);

/// The project or, with `all-projects=true`, the projects that a list covers.
#[derive(Debug, Clone)]
pub struct Everywhere(pub Scope);

impl FromRequestParts<App> for Place {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let parameters = Parameters::from_request_parts(parts, app).await?;
        let Some(text) = parameters.get("project") else { return Ok(Self(ProjectName::default_project())) };
        let name: ProjectName = text.parse()?;
        // Who is not trusted must not learn which projects there are; it finds nothing public in those there are not.
        let trusted = parts.extensions.get::<Peer>().is_some_and(|peer| peer.trust == Trust::Admin);
        if trusted && !name.is_default() {
            let wanted = name.clone();
            app.run(move |engine| engine.project(&wanted)).await?;
        }
        Ok(Self(name))
    }
}

impl FromRequestParts<App> for Everywhere {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let parameters = Parameters::from_request_parts(parts, app).await?;
        if parameters.flag("all-projects") {
            return Ok(Self(Scope::All));
        }
        Place::from_request_parts(parts, app).await.map(|Place(project)| Self(Scope::Project(project)))
    }
}
