//! The routes: one file a resource. A handler parses, calls one use case and wraps the answer.

mod backups;
mod certificates;
mod cluster;
mod console;
mod copies;
mod events;
mod exec;
pub(crate) mod export;
mod file_headers;
mod files;
mod image_aliases;
mod images;
mod instance_backups;
mod instance_metadata;
mod instance_state;
mod instance_wait;
mod instances;
mod internal;
mod logs;
mod merge;
mod metadata;
mod metrics;
mod networks;
mod operations;
mod profiles;
mod projects;
mod publish;
mod pushes;
mod recover;
mod resources;
mod server;
mod sftp;
mod snapshots;
mod storage_pools;
mod storage_volume_backups;
mod storage_volume_snapshots;
mod storage_volumes;
mod unsupported;
mod upload;
mod virtual_machines;
mod warnings;

use axum::Router;
use axum::middleware::from_fn_with_state;

use crate::access;
use crate::app::App;
use crate::prefer;
use crate::refusal::Refusal;

/// All routes, with the gate before them. Paths are matched as they came: no redirects, no cleaning, `%2F` is no slash.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(server::routes())
        .merge(resources::routes())
        .merge(metadata::routes())
        .merge(metrics::routes())
        .merge(events::routes())
        .merge(instance_family("/1.0/instances"))
        .merge(instance_family("/1.0/containers"))
        .merge(virtual_machines::routes())
        .merge(images::routes())
        .merge(image_aliases::routes())
        .merge(profiles::routes())
        .merge(networks::routes())
        .merge(storage_pools::routes())
        .merge(storage_volumes::routes())
        .merge(storage_volume_snapshots::routes())
        .merge(storage_volume_backups::routes())
        .merge(projects::routes())
        .merge(operations::routes())
        .merge(certificates::routes())
        .merge(cluster::routes())
        .merge(warnings::routes())
        .merge(unsupported::routes())
        .merge(internal::routes())
        .merge(recover::routes())
        .route_layer(from_fn_with_state(app.clone(), prefer::hold))
        .route_layer(from_fn_with_state(app.clone(), access::gate))
        .method_not_allowed_fallback(async || Refusal::no_method())
        .fallback(async || Refusal::not_found("not found"))
        .with_state(app)
}

/// What the listener for the metrics serves: those, and nothing else.
pub fn metrics_router(app: App) -> Router {
    metrics::routes()
        .route_layer(from_fn_with_state(app.clone(), access::gate))
        .method_not_allowed_fallback(async || Refusal::no_method())
        .fallback(async || Refusal::not_found("not found"))
        .with_state(app)
}

/// Everything below `/1.0/instances`, which older clients know as `/1.0/containers`.
fn instance_family(prefix: &str) -> Router<App> {
    Router::new()
        .merge(instances::routes(prefix))
        .merge(instance_metadata::routes(prefix))
        .merge(instance_state::routes(prefix))
        .merge(instance_wait::routes(prefix))
        .merge(snapshots::routes(prefix))
        .merge(copies::routes(prefix))
        .merge(instance_backups::routes(prefix))
        .merge(exec::routes(prefix))
        .merge(console::routes(prefix))
        .merge(logs::routes(prefix))
        .merge(files::routes(prefix))
        .merge(sftp::routes(prefix))
}
