//! `/1.0/instances/{name}/wait`.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use coffer_api::InstanceWaitPost;
use coffer_model::{Awaited, InstanceName};

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Place, Wire};
use crate::refusal::Refusal;

/// The routes.
pub fn routes(prefix: &str) -> Router<App> {
    Router::new().route(&format!("{prefix}/{{name}}/wait"), post(wait))
}

/// `POST /1.0/instances/{name}/wait`.
async fn wait(
    State(app): State<App>,
    Named(name): Named<InstanceName>,
    Place(project): Place,
    Wire(body): Wire<InstanceWaitPost>,
) -> Answer {
    let awaited: Result<Vec<Awaited>, String> = body.conditions.iter().map(|text| text.parse()).collect();
    let awaited = awaited.map_err(Refusal::bad_request)?;
    if awaited.is_empty() {
        return Err(Refusal::bad_request("nothing is named that could be waited for: conditions is empty"));
    }
    let timeout = u64::try_from(body.timeout).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let view = app.run(move |engine| engine.wait_for(&project, &name, awaited, timeout)).await?;
    envelope::accepted(&view)
}
