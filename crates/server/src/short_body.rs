//! Short bodies are read before their requests are handled.
//!
//! A handler that reads no body, or refuses before it does, would leave one on the connection, and the connection would have
//! to be closed if it has not all come yet. Clients that send `null` with each `GET`, as Ansible's module does, would then find
//! a broken pipe where the next answer should be.

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body as _, Incoming};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::extract::collect;

/// The longest body that is read ahead.
const SHORT: u64 = 64 << 10;

/// The router's answer to a request.
pub async fn answer(router: &TowerToHyperService<Router>, request: hyper::Request<Incoming>) -> Response {
    match read(request).await {
        Ok(request) => router.call(request).await.unwrap_or_else(|never| match never {}),
        Err(refused) => refused,
    }
}

/// The request with its body in memory, if that is known to be short; or the answer, if it breaks off or comes too slowly.
async fn read(request: hyper::Request<Incoming>) -> Result<hyper::Request<Body>, Response> {
    let (head, body) = request.into_parts();
    let short = body.size_hint().exact().is_some_and(|length| (1..=SHORT).contains(&length));
    let mut body = Body::new(body);
    if short {
        body = collect(body).await.map_err(|refusal| refusal.into_response())?.into();
    }
    Ok(hyper::Request::from_parts(head, body))
}
