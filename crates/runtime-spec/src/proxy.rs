//! Connections that are handed on from one side to the other.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Sockets on one side whose connections go to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Proxy {
    /// What it is called; unique for an instance.
    pub name: String,
    /// On which side is listened.
    pub bind: Side,
    /// At what is listened.
    pub listen: Vec<Endpoint>,
    /// What is connected to: one for all, or one for each that is listened at.
    pub connect: Vec<Endpoint>,
    /// The sender is told in a line before the data: the PROXY protocol, version 1.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Owner and mode of a unix socket that is listened at.
    #[serde(default)]
    pub socket: SocketFile,
    /// User that connects, on the side that is connected to.
    #[serde(default)]
    pub uid: u32,
    /// Group that connects.
    #[serde(default)]
    pub gid: u32,
}

/// The two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The monitor's namespaces.
    Host,
    /// The instance's.
    Instance,
}

/// An address of one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// UDP.
    Udp(SocketAddr),
    /// A unix stream socket at a path of the side. On the host it comes from somebody who may name host paths.
    Unix(String),
    /// A unix stream socket with an abstract name.
    Abstract(String),
}

/// The file of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SocketFile {
    /// Owner, an id of the side.
    pub uid: u32,
    /// Group, an id of the side.
    pub gid: u32,
    /// Permission bits, as a number: 420 is 0644.
    pub mode: u32,
}

impl Default for SocketFile {
    fn default() -> Self {
        Self { uid: 0, gid: 0, mode: 0o644 }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}
