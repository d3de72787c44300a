//! `/` and `/1.0`.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use coffer_api::{EXTENSIONS, Server, ServerEnvironment, ServerPut, ServerStorageDriverInfo, ServerUntrusted};
use coffer_engine::Environment;
use coffer_model::{Config, ProjectName};

use super::merge;
use crate::app::App;
use crate::envelope::{self, Answer};
use crate::etag;
use crate::extract::{IfMatch, Peer, Place, Trust, Wire};
use crate::network::Network;
use crate::refusal::Refusal;

/// The version of the API's model that clients compare with: the LXD whose behaviour this is.
const MODEL_VERSION: &str = "5.0.2";

/// The routes.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(async || envelope::sync(["/1.0"])))
        .route("/1.0", get(read).put(replace).patch(patch))
        .route("/1.0/openapi", get(openapi))
}

/// `GET /1.0`.
async fn read(State(app): State<App>, peer: Peer, Place(project): Place) -> Answer {
    match peer.trust {
        Trust::Admin => {
            let (config, environment) = app.run(|engine| Ok((engine.server_config()?, engine.environment()?))).await?;
            envelope::tagged(trusted(&app, &config, environment, &project), &etag::server(&config))
        }
        Trust::Metrics | Trust::None => envelope::sync(ServerUntrusted {
            api_extensions: extensions(),
            api_status: "stable".into(),
            api_version: "1.0".into(),
            auth: "untrusted".into(),
            public: false,
            auth_methods: vec!["tls".into()],
        }),
    }
}

/// `PUT /1.0`.
async fn replace(State(app): State<App>, peer: Peer, if_match: IfMatch, Wire(body): Wire<ServerPut>) -> Answer {
    let config = Config(body.config);
    let addresses = [&app.network, &app.metrics].map(|network| Some(config.get(network.key()).unwrap_or_default().to_owned()));
    listening(&app, addresses, async {
        app.run(move |engine| engine.update_server_config(&peer.caller, config, if_match.guard(etag::server).as_deref())).await
    })
    .await
}

/// `PATCH /1.0`.
async fn patch(State(app): State<App>, peer: Peer, if_match: IfMatch, Wire(body): Wire<ServerPut>) -> Answer {
    let keys = Config(body.config);
    let addresses = [&app.network, &app.metrics].map(|network| keys.0.get(network.key()).cloned());
    listening(&app, addresses, async {
        app.run(move |engine| {
            merge::unless_changed(&if_match, || {
                let mut config = engine.server_config()?;
                let guard = if_match.or_tag(etag::server(&config)).guard(etag::server);
                merge::over(&mut config, &keys);
                engine.update_server_config(&peer.caller, config, guard.as_deref())
            })
        })
        .await
    })
    .await
}

/// Listens on the network where a change of the configuration says, if it says so, then carries the change out; listens
/// where it did before if that fails.
async fn listening(app: &App, addresses: [Option<String>; 2], change: impl Future<Output = Result<(), Refusal>>) -> Answer {
    let _turn = app.network.turn.lock().await;
    let mut moved: Vec<(&Network, String)> = Vec::new();
    let mut result = Ok(());
    for (network, address) in [&app.network, &app.metrics].into_iter().zip(addresses) {
        let Some(address) = address else { continue };
        let before = network.address().map(|address| address.to_string()).unwrap_or_default();
        result = network.listen(app, &address).await;
        if result.is_err() {
            break;
        }
        moved.push((network, before));
    }
    if result.is_ok() {
        result = change.await;
    }
    if let Err(refusal) = result {
        for (network, before) in moved {
            if let Err(error) = network.listen(app, &before).await {
                tracing::error!("listening again as before: {error}");
            }
        }
        return Err(refusal);
    }
    envelope::done()
}

/// `GET /1.0/openapi`: the document that describes this API.
async fn openapi() -> Answer {
    let mut response = envelope::raw(coffer_api::openapi().to_string());
    envelope::set(&mut response, header::CONTENT_TYPE, "application/json");
    Ok(response)
}

fn extensions() -> Vec<String> {
    EXTENSIONS.iter().map(ToString::to_string).collect()
}

fn trusted(app: &App, config: &Config, environment: Environment, project: &ProjectName) -> Server {
    Server {
        config: config.0.clone(),
        api_extensions: extensions(),
        api_status: "stable".into(),
        api_version: "1.0".into(),
        auth: "trusted".into(),
        public: false,
        auth_methods: vec!["tls".into()],
        environment: ServerEnvironment {
            addresses: app.network.addresses(&app.engine),
            certificate: app.network.certificate().to_pem(),
            certificate_fingerprint: app.network.certificate().fingerprint().to_owned(),
            ..shown(environment, project)
        },
    }
}

fn shown(environment: Environment, project: &ProjectName) -> ServerEnvironment {
    let (storage, storage_version): (Vec<_>, Vec<_>) = environment.storage.into_iter().unzip();
    let supported = environment.storage_supported.into_iter();
    ServerEnvironment {
        addresses: Vec::new(),
        architectures: environment.architectures,
        certificate: String::new(),
        certificate_fingerprint: String::new(),
        driver: "coffer".into(),
        driver_version: env!("CARGO_PKG_VERSION").into(),
        firewall: environment.firewall,
        kernel: environment.kernel,
        kernel_architecture: environment.kernel_architecture,
        kernel_features: environment.kernel_features.into_iter().map(|(name, is)| (name.to_owned(), is.to_string())).collect(),
        kernel_version: environment.kernel_version,
        lxc_features: Default::default(),
        os_name: environment.os_name,
        os_version: environment.os_version,
        project: project.to_string(),
        server: "lxd".into(),
        server_clustered: false,
        server_event_mode: "full-mesh".into(),
        server_name: environment.server_name,
        server_pid: i64::from(environment.server_pid),
        server_version: MODEL_VERSION.into(),
        storage: storage.join(" | "),
        storage_version: storage_version.join(" | "),
        storage_supported_drivers: supported.map(|(name, version)| ServerStorageDriverInfo { name, version, remote: false }).collect(),
    }
}
