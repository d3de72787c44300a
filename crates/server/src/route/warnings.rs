//! `/1.0/warnings`: none are kept yet.

use axum::Router;
use axum::routing::{any, get};

use crate::app::App;
use crate::envelope;
use crate::refusal::Refusal;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/warnings", get(async || envelope::sync(Vec::<String>::new())))
        .route("/1.0/warnings/{uuid}", any(async || Refusal::not_found("warning not found")))
}
