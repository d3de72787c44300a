//! What clients know and this server does not do yet. Lists that are truly empty are answered, the rest is refused by name.

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, any, get};
use coffer_api::ImageMetadata;
use coffer_engine::Detail;
use coffer_model::{InstanceName, Time};

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
        .route(&path("files"), refuse("files of instances"))
        .route(&path("sftp"), refuse("files of instances"))
        .route(&path("metadata"), get(metadata).fallback(async || Refusal::unsupported("changes of an instance's metadata")))
        .route(&path("metadata/templates"), refuse("templates of instances"))
        .route(&path("rebuild"), refuse("rebuilds of instances"))
}

fn refuse(what: &'static str) -> MethodRouter<App> {
    any(async move || Refusal::unsupported(what))
}

/// `GET …/backups`: there are none, of an instance that exists.
async fn empty(State(app): State<App>, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    app.run(move |engine| engine.instance(&project, &name, Detail::Plain)).await?;
    envelope::sync(Vec::<String>::new())
}

/// `GET …/metadata`: what the instance's image said of itself.
async fn metadata(State(app): State<App>, Named(name): Named<InstanceName>, Place(project): Place) -> Answer {
    let (instance, image) = app
        .run(move |engine| {
            let instance = engine.instance(&project, &name, Detail::Plain)?.instance;
            let image = instance.config.get("volatile.base_image").and_then(|fingerprint| engine.image(&project, fingerprint).ok());
            Ok((instance, image))
        })
        .await?;
    let seconds = |time: Option<Time>| time.map_or(0, Time::as_second);
    let image = image.map(|view| view.image);
    envelope::sync(ImageMetadata {
        architecture: instance.architecture.clone(),
        creation_date: seconds(image.as_ref().and_then(|image| image.created_at)),
        expiry_date: seconds(image.as_ref().and_then(|image| image.expires_at)),
        properties: instance.config.under("image.").map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        templates: None,
    })
}
