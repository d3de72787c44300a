//! Where images came from.

use serde::{Deserialize, Serialize};

use crate::Time;

/// Where an image came from, when and for whom: kept with it as long as it is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The server that it was fetched from; `None` for what a client sent.
    pub server: Option<OriginServer>,
    /// Who asked for it: a name and how the caller came.
    pub by: String,
    /// When it was fetched or sent.
    pub at: Time,
}

/// A server that images are fetched from, and what to ask it for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginServer {
    /// Its address.
    pub url: String,
    /// `simplestreams` or `lxd`.
    pub protocol: String,
    /// The alias that was asked for; empty where the fingerprint was.
    pub alias: String,
    /// Its certificate in PEM, where it is pinned; else empty.
    pub certificate: String,
}
