//! Bodies that nobody reads to their end.
//!
//! A handler that reads no body, or refuses before it does, leaves one on the connection. Closing that while the client still
//! sends would take the answer with it: a client that pushes an image would find a broken pipe instead of the reason, and one
//! that sends `null` with each `GET`, as Ansible's module does, where its next answer should be. So what is left is read and
//! thrown away, as much as is bearable.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

/// The most that is read of a body that nobody wants.
const BEARABLE: usize = 64 << 20;

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The router's answer to a request.
pub async fn answer(router: &TowerToHyperService<Router>, request: hyper::Request<Incoming>) -> Response {
    let request = request.map(|body| Body::new(Unread(Some(body))));
    router.call(request).await.unwrap_or_else(|never| match never {})
}

/// A body whose rest is read when it is dropped.
struct Unread(Option<Incoming>);

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime the daemon has ended, and its connections with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokio::time::timeout(PATIENCE, throw_away(body)).await });
        }
    }
}

async fn throw_away(mut body: Incoming) {
    let mut read = 0;
    while read < BEARABLE
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
