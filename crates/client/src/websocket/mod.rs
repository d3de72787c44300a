//! Websockets, reduced to what exec and event streams need and nothing in between.
//!
//! A library would copy each message into one of its own and mask it byte by byte. Here payloads go straight between
//! a large buffer and the descriptor, and the mask that RFC 6455 demands of clients is zero, which leaves bytes as they
//! are: it protects proxies from scripts in browsers, and there is neither on a unix socket.

mod blocking;
mod frame;
mod handshake;
mod messages;
mod pump;

pub use blocking::{End, Incoming, Outgoing, Socket};
pub use frame::{FrameError, Header, Opcode};
pub use handshake::connect;
pub(crate) use handshake::{dial, upgrade};
pub use messages::Messages;
pub use pump::{Flow, pump};
