//! `/1.0/virtual-machines`: there are none.

use axum::Router;
use axum::routing::{any, get};

use crate::app::App;
use crate::envelope;
use crate::refusal::Refusal;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route(
            "/1.0/virtual-machines",
            get(async || envelope::sync(Vec::<String>::new())).fallback(async || Refusal::unsupported("virtual machines")),
        )
        .route(
            "/1.0/virtual-machines/{*rest}",
            any(async || Refusal::not_found("virtual machine not found: this server runs containers only")),
        )
}
