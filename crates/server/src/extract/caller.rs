//! Who sends a request.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use coffer_engine::Caller;
use coffer_web::Certificate;

use crate::app::App;
use crate::refusal::Refusal;

/// How far a connection's other end is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is root, of the socket's group, or holds a trusted certificate: it may do everything.
    Admin,
    /// It holds a certificate for the metrics: it may read those.
    Metrics,
    /// It is somebody else.
    None,
}

/// Who is at the other end of a connection. The listener puts it into each of the connection's requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name and address.
    pub caller: Caller,
    /// How far it is trusted.
    pub trust: Trust,
    /// What is known of a connection over the network; `None` on the socket.
    pub connection: Option<Connection>,
}

impl Peer {
    /// Tells whether it came over the unix socket.
    pub fn is_local(&self) -> bool {
        self.connection.is_none()
    }
}

/// A connection over the network.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it comes from.
    pub address: IpAddr,
    /// The certificate that its other end holds.
    pub certificate: Option<Arc<Certificate>>,
}

impl FromRequestParts<App> for Peer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<Self>().cloned();
        peer.ok_or_else(|| Refusal::forbidden("the connection says nothing about who made it"))
    }
}
