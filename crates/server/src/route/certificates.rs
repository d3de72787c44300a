//! `/1.0/certificates`: nobody is trusted by certificate while the server listens on its socket only.

use axum::Router;
use axum::routing::{any, get};

use crate::app::App;
use crate::envelope;
use crate::refusal::Refusal;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route(
            "/1.0/certificates",
            get(async || envelope::sync(Vec::<String>::new()))
                .fallback(async || Refusal::unsupported("trusted certificates and network listeners")),
        )
        .route("/1.0/certificates/{fingerprint}", any(async || Refusal::not_found("certificate not found")))
}
