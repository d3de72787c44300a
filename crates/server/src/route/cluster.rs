//! `/1.0/cluster`: this server is alone.

use axum::Router;
use axum::routing::{any, get};
use coffer_api::Cluster;

use crate::app::App;
use crate::envelope;
use crate::refusal::Refusal;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/1.0/cluster", get(async || envelope::sync(Cluster::default())).fallback(async || Refusal::unsupported("clusters")))
        .route("/1.0/cluster/{*rest}", any(async || Refusal::unsupported("clusters")))
}
