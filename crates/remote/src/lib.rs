//! Servers of images elsewhere: what they offer, and fetching it, by simplestreams, from another daemon, or from a registry.
//!
//! Never: believes a byte of what a server says (fingerprints are 64 hexadecimal digits, paths stay below the server's address,
//! everything has a limit, every file is hashed); writes where a server says; decides which server may be asked.

pub mod cache;
pub mod catalogue;
pub mod direct;
mod download;
pub mod error;
pub mod image;
mod lxd;
pub mod oci;
mod push;
pub mod server;
pub mod signature;
mod simplestreams;

pub use cache::Cache;
pub use catalogue::Catalogue;
pub use error::RemoteError;
pub use image::{Delta, ImageKind, RemoteFile, RemoteImage};
pub use push::{Pushed, PushedFile};
pub use server::{Protocol, ProtocolError, Server, Sink, Wanted};
pub use signature::{PublicKey, SignatureError, Signers};
pub use simplestreams::INDEX;

/// How we name ourselves to image servers.
pub const AGENT: &str = concat!("Coffer/", env!("CARGO_PKG_VERSION"), " (Linux)");
