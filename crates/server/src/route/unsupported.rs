//! What clients know and this server does not do yet. Lists that are truly empty are answered, the rest is refused by name.

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, any, get};
use coffer_engine::Detail;
use coffer_model::InstanceName;

use crate::app::App;
use crate::envelope::{self, Answer};
use crate::extract::{Named, Place};
use crate::refusal::Refusal;

/// Collections that are refused as a whole, with the path below which they lie.
const COLLECTIONS: &[(&str, &str)] = &[
    ("/1.0/network-acls", "network ACLs"),
    ("/1.0/network-zones", "network zones"),
    ("/1.0/network-address-sets", "network address sets"),
    ("/1.0/network-allocations", "network allocations"),
    ("/1.0/metrics", "metrics"),
    ("/1.0/placement-groups", "placement groups"),
    ("/1.0/networks/{name}/forwards", "network forwards"),
    ("/1.0/networks/{name}/load-balancers", "network load balancers"),
    ("/1.0/networks/{name}/peers", "network peers"),
    ("/1.0/storage-pools/{pool}/buckets", "storage buckets"),
];

/// Routes that are refused.
pub fn routes() -> Router<App> {
    COLLECTIONS
        .iter()
        .fold(Router::new(), |router, &(path, what)| router.route(path, refuse(what)).route(&format!("{path}/{{*rest}}"), refuse(what)))
}

/// Routes of instances that are refused or answer an empty list.
pub fn of_instances(prefix: &str) -> Router<App> {
    let path = |rest: &str| format!("{prefix}/{{name}}/{rest}");
    Router::new()
        .route(&path("backups"), get(empty).fallback(async || Refusal::unsupported("instance backups")))
        .route(&path("backups/{*rest}"), refuse("instance backups"))
}

fn refuse(what: &'static str) -> MethodRouter<App> {
    any(async move || Refusal::unsupported(what))
}

/// `GET …/backups`: there are none, of an instance that exists.
async fn empty(State(app): State<App>, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    app.run(move |engine| engine.instance(&project, &name, Detail::Plain)).await?;
    envelope::sync(Vec::<String>::new())
}
