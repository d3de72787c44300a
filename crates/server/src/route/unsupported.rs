//! What clients know and this server does not do yet. Lists that are truly empty are answered, the rest is refused by name.

use axum::Router;
use axum::routing::{MethodRouter, any};

use crate::app::App;
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

fn refuse(what: &'static str) -> MethodRouter<App> {
    any(async move || Refusal::unsupported(what))
}
