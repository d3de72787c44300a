//! The guest API: `/dev/lxd/sock` inside instances. One socket an instance, served as long as it runs.
//!
//! Answers have no envelope: JSON or plain text, and errors are text with an HTTP code.

mod answer;
mod events;
mod route;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use coffer_engine::{Door, Guest};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::app::App;
use crate::unread;
use answer::GuestRefusal;

/// Connections of one instance at a time. Who comes then waits; other instances do not.
const CONNECTIONS: usize = 32;

/// How long a client may take to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// The longest head of a request.
const HEAD_LIMIT: usize = 16 << 10;

/// How long accepting rests after it failed, unless the door closes before.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Serves each door that opens, until the daemon ends.
pub async fn serve(app: App, mut doors: mpsc::UnboundedReceiver<Door>) {
    while let Some(door) = doors.recv().await {
        let Door { guest, listener, closed } = door;
        match UnixListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(attend(app.clone(), guest, listener, closed))),
            Err(error) => tracing::error!(instance = %guest.name, "serving its guest API: {error}"),
        }
    }
}

/// Accepts an instance's connections until its door closes; then those that are open end too.
async fn attend(app: App, guest: Guest, listener: UnixListener, mut closed: watch::Receiver<()>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let router = route::router(app, guest.clone());
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            accepted = next => accepted,
            _ = closed.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, guest, mut closed) = (router.clone(), guest.clone(), closed.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = converse(stream, &guest, router) => {}
                        _ = closed.changed() => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::error!(instance = %guest.name, "accepting a connection of its guest API: {error}");
                let _ = tokio::time::timeout(AFTER_FAILURE, closed.changed()).await;
            }
        }
    }
}

/// Answers a connection's requests, one after another. Who asks is looked at once: it is who connected.
async fn converse(stream: UnixStream, guest: &Guest, router: Router) {
    let trusted = guest.is_root(&stream).unwrap_or_else(|error| {
        tracing::debug!(instance = %guest.name, "who asks its guest API cannot be told: {error}");
        false
    });
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = trusted.then(|| router.clone());
        async move {
            Ok::<Response, Infallible>(match router {
                Some(router) => unread::answer(&router, request).await,
                None => GuestRefusal::unauthorized().into_response(),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(instance = %guest.name, "a connection of its guest API ended: {error}");
    }
}
