//! Registries of OCI images: finding an image by its reference, and fetching its parts by their digests.
//!
//! Everything is known by the SHA-256 of its bytes: a tag leads to a manifest, and from there on each byte is checked. Credentials
//! go to the registry and to whom it names for tokens, never to where its storage redirects.
//!
//! Source: the OCI distribution and image specifications, and Docker's for the older media types.

mod auth;
mod config;
mod manifest;
mod reference;
mod registry;

pub use config::ImageConfig;
pub use manifest::Descriptor;
pub use reference::{Reference, ReferenceError};
pub use registry::{OciError, OciImage, Registry};
