//! The routes of the guest API.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use coffer_engine::Guest;
use serde::Deserialize;
use serde_json::json;

use super::answer::{GuestAnswer, GuestRefusal, done, json as answer, raw};
use super::events;
use crate::app::App;
use crate::extract::{Named, parse};
use crate::refusal::Refusal;
use crate::route::export;

/// The largest body that changes the state, in bytes.
const MAX_PATCH: usize = 4 << 10;

/// What may be changed of `/1.0`.
#[derive(Debug, Deserialize)]
struct StatePatch {
    state: String,
}

/// The routes for one instance.
pub fn router(app: App, guest: Guest) -> Router {
    Router::new()
        .route("/1.0", get(about).patch(state))
        .route("/1.0/config", get(config))
        .route("/1.0/config/{key}", get(key))
        .route("/1.0/meta-data", get(meta_data))
        .route("/1.0/devices", get(devices))
        .route("/1.0/events", get(events::follow))
        .route("/1.0/images/{fingerprint}/export", get(image))
        .route_layer(from_fn_with_state(app.clone(), gate))
        .route("/", get(async || answer(&["/1.0"])))
        .method_not_allowed_fallback(async || GuestRefusal::from(Refusal::no_method()))
        .fallback(async |_: Uri| GuestRefusal::not_found())
        .layer(Extension(guest))
        .with_state(app)
}

/// Lets a request through if the instance has the guest API just now.
async fn gate(State(app): State<App>, Extension(guest): Extension<Guest>, request: Request, next: Next) -> Response {
    match app.run(move |engine| engine.guest_may_ask(&guest)).await {
        Ok(true) => next.run(request).await,
        Ok(false) => GuestRefusal::forbidden("not authorized").into_response(),
        Err(refusal) => GuestRefusal::from(refusal).into_response(),
    }
}

/// `GET /1.0`.
async fn about(State(app): State<App>, Extension(guest): Extension<Guest>) -> GuestAnswer {
    let state = if app.engine.guest_is_ready(&guest) { "Ready" } else { "Started" };
    answer(&json!({ "api_version": "1.0", "instance_type": "container", "location": "none", "state": state }))
}

/// `PATCH /1.0`: the instance says that it is ready, or is not.
async fn state(State(app): State<App>, Extension(guest): Extension<Guest>, body: Body) -> GuestAnswer {
    let body = axum::body::to_bytes(body, MAX_PATCH).await.map_err(|error| Refusal::bad_request(error.to_string()))?;
    let patch: StatePatch = parse(&body)?;
    let ready = match patch.state.as_str() {
        "Ready" => true,
        "Started" => false,
        other => return Err(Refusal::bad_request(format!("invalid state {other:?}: it must be Ready or Started")).into()),
    };
    app.run(move |engine| engine.guest_says_ready(&guest, ready)).await?;
    done()
}

/// `GET /1.0/config`.
async fn config(State(app): State<App>, Extension(guest): Extension<Guest>) -> GuestAnswer {
    let config = app.run(move |engine| engine.guest_config(&guest)).await?;
    answer(&config.keys().map(|key| format!("/1.0/config/{key}")).collect::<Vec<_>>())
}

/// `GET /1.0/config/{key}`.
async fn key(State(app): State<App>, Extension(guest): Extension<Guest>, Named(key): Named<String>) -> GuestAnswer {
    raw(app.run(move |engine| engine.guest_key(&guest, &key)).await?)
}

/// `GET /1.0/meta-data`.
async fn meta_data(State(app): State<App>, Extension(guest): Extension<Guest>) -> GuestAnswer {
    raw(app.run(move |engine| engine.guest_meta_data(&guest)).await?)
}

/// `GET /1.0/devices`.
async fn devices(State(app): State<App>, Extension(guest): Extension<Guest>) -> GuestAnswer {
    answer(&app.run(move |engine| engine.guest_devices(&guest)).await?)
}

/// `GET /1.0/images/{fingerprint}/export`.
async fn image(State(app): State<App>, Extension(guest): Extension<Guest>, Named(fingerprint): Named<String>) -> GuestAnswer {
    Ok(export::answer(app.run(move |engine| engine.guest_image(&guest, &fingerprint)).await?))
}
