//! Servers of images elsewhere: what they offer, and fetching it, by simplestreams or from another daemon.
//!
//! Never: believes a byte of what a server says (fingerprints are 64 hexadecimal digits, paths stay below the server's address,
//! everything has a limit, every file is hashed); writes where a server says; decides which server may be asked.

pub mod cache;
pub mod catalogue;
pub mod error;
pub mod image;
mod lxd;
pub mod server;
mod simplestreams;

pub use cache::Cache;
pub use catalogue::Catalogue;
pub use error::RemoteError;
pub use image::{ImageKind, RemoteFile, RemoteImage};
pub use server::{Protocol, ProtocolError, Server, Sink, Wanted};

/// How we name ourselves to image servers.
pub const AGENT: &str = concat!("Coffer/", env!("CARGO_PKG_VERSION"), " (Linux)");
