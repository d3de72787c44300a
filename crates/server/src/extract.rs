//! What handlers are given: who asks, where, with which parameters and which body, each read once and valid.

mod body;
mod caller;
mod condition;
mod named;
mod parameters;
mod place;

pub use body::{Patch, Wire, collect, parse};
pub use caller::{Connection, Peer, Trust};
pub use condition::IfMatch;
pub use named::Named;
pub use parameters::{Parameters, Recursion};
pub use place::{Everywhere, Place};
