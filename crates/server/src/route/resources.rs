//! `/1.0/resources`.

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::host;

/// The routes.
pub fn routes() -> Router<App> {
    Router::new().route("/1.0/resources", get(read))
}

/// `GET /1.0/resources`.
async fn read(State(app): State<App>) -> Answer {
    envelope::sync(app.run(|_| Ok(host::resources())).await?)
}
