//! A tree of images that any simplestreams client reads: adding to it, checking it, pruning it, handing it out.
//!
//! Never: parses an image in its own process (that is `coffer-unpack`'s work); opens a path that a list or a client named other
//! than beneath the tree; leaves the lists naming a file that is not there.

pub mod add;
pub mod change;
pub mod document;
pub mod error;
mod hash;
pub mod serve;
pub mod sign;
pub mod tree;
pub mod verify;

pub use add::{Added, NewImage};
pub use error::PublishError;
pub use serve::{Serving, serve};
pub use sign::SigningKey;
pub use tree::{Listed, Tree};
