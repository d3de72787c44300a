//! Images: receiving, finding, unpacking, handing out, deleting.

pub mod alias;
pub mod change;
mod delta;
pub mod export;
pub mod find;
pub(crate) mod oci;
pub mod pools;
pub mod public;
pub mod publish;
pub mod pull;
mod pull_url;
pub mod push;
pub mod receive;
pub mod refresh;
mod secret;
pub mod servers;
pub mod unpack;

pub use coffer_image::Part as ExportedFile;
