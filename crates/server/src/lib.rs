//! The daemon's edge: its socket, HTTP, websockets, and the translation between the wire's words and the model's.
//!
//! Never: a decision about an instance (handlers parse, call one use case, wrap the answer); a path that a client chose;
//! a body kept in memory that may be as large as an image; a redirect.

mod access;
mod app;
mod daemon;
mod envelope;
mod etag;
mod extract;
mod guest;
mod host;
mod identity;
mod listener;
mod logging;
mod metrics;
mod network;
mod notify;
mod prefer;
mod refusal;
mod route;
mod show;
mod state_dir;
#[cfg(test)]
mod tests;
mod unread;
mod ws;

pub use daemon::{DaemonError, Options, run};
pub use logging::{Log, LogError, Verbosity};
