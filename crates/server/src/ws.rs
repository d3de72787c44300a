//! Websockets: the handshake, frames, and the sessions that pump bytes between a client and an instance.
//!
//! The codec is our own because of what passes through it: exec streams. It unmasks straight into the buffer that is
//! written to the pipe, joins the small frames that clients send, and writes a frame's header and content in one call.

mod console;
mod exec;
mod feed;
mod frame;
mod handover;
mod handshake;
mod line;
mod pipe;
mod reader;
mod session;
mod writer;

pub use console::attach as attach_console;
pub use exec::{Client, Plan, run as run_exec};
pub use feed::feed;
pub use handover::{FILE, Handover, HandoverUpgrade, file as handed_file};
pub use handshake::{Socket, Upgrade};
pub use session::{Doors, Sessions};
