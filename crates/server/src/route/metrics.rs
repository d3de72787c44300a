//! `/1.0/metrics`.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use coffer_engine::Scope;

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::Parameters;
use crate::metrics;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/1.0/metrics", get(read))
}

/// `GET /1.0/metrics`: of all projects unless one is named.
async fn read(State(app): State<App>, parameters: Parameters) -> Answer {
    let scope = match parameters.get("project") {
        Some(name) => Scope::Project(name.parse()?),
        None => Scope::All,
    };
    let text = app.run(move |engine| Ok(metrics::text(&engine.metrics(&scope)?))).await?;
    let mut response = envelope::raw(text);
    envelope::set(&mut response, header::CONTENT_TYPE, metrics::CONTENT_TYPE);
    Ok(response)
}
