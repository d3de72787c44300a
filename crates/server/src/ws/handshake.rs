//! Turning a request into a websocket. Source: RFC 6455, section 4.

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::reader::Reader;
use super::writer::Writer;
use crate::app::App;
use crate::refusal::Refusal;

/// Either half of a connection.
pub type Receiving = Box<dyn AsyncRead + Send + Unpin>;
/// Either half of a connection.
pub type Sending = Box<dyn AsyncWrite + Send + Unpin>;

/// A websocket.
pub struct Socket {
    /// What the client sends.
    pub reader: Reader<Receiving>,
    /// What the client gets.
    pub writer: Writer<Sending>,
}

/// A request that asks to become a websocket.
pub struct Upgrade {
    accept: String,
    pending: OnUpgrade,
}

impl Upgrade {
    /// Answers the request and hands the socket to `work` once the answer is out.
    pub fn then<F, Fut>(self, work: F) -> Response
    where
        F: FnOnce(Socket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        tokio::spawn(async move {
            match self.pending.await {
                Ok(upgraded) => work(Socket::from(upgraded)).await,
                Err(error) => tracing::debug!("a websocket was not opened: {error}"),
            }
        });
        let headers = [
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&self.accept).expect("base64 is visible ASCII")),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
    }
}

impl FromRequestParts<App> for Upgrade {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let key =
            wanted(&parts.headers).ok_or_else(|| Refusal::bad_request("this is a websocket: ask for an upgrade to one (RFC 6455)"))?;
        let accept = derive_accept_key(key.as_bytes());
        let pending = parts.extensions.remove::<OnUpgrade>();
        let pending = pending.ok_or_else(|| Refusal::bad_request("the connection cannot become a websocket: use HTTP/1.1"))?;
        Ok(Self { accept, pending })
    }
}

fn wanted(headers: &HeaderMap) -> Option<&HeaderValue> {
    let has = |name: HeaderName, word: &str| {
        let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let asked = has(header::CONNECTION, "upgrade") && has(header::UPGRADE, "websocket") && has(header::SEC_WEBSOCKET_VERSION, "13");
    headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asked)
}

impl From<Upgraded> for Socket {
    fn from(upgraded: Upgraded) -> Self {
        match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(parts) => {
                // The bare socket: its halves need no lock between them.
                let (receiving, sending) = parts.io.into_inner().into_split();
                Self { reader: Reader::new(Box::new(receiving), &parts.read_buf), writer: Writer::new(Box::new(sending)) }
            }
            Err(upgraded) => {
                let (receiving, sending) = tokio::io::split(TokioIo::new(upgraded));
                Self { reader: Reader::new(Box::new(receiving), &[]), writer: Writer::new(Box::new(sending)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expect: bool) {
        let map: HeaderMap = headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        assert_eq!(wanted(&map).is_some(), expect, "{headers:?}");
    }

    #[test]
    fn who_wants_a_websocket() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let version = ("sec-websocket-version", "13");
        check(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket"), version, key], true);
        check(&[("connection", "Upgrade"), ("upgrade", "sftp"), version, key], false);
        check(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "8"), key], false);
        check(&[("connection", "Upgrade"), ("upgrade", "websocket"), version], false);
        check(&[], false);
    }

    #[test]
    fn the_accept_key_is_the_standard_s_example() {
        assert_eq!(derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
