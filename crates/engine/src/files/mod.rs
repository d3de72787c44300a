//! Files inside instances. The daemon never walks there itself: a server locked into the instance does, and is asked.
//!
//! One server an instance, started when it is first needed, ended a while after it was last used, when the instance ends, and, of
//! a stopped instance, before anybody works on it.

mod conversation;
mod door;
mod server;

pub use conversation::{FileInfo, FileKind, Files, NewFile};
pub use door::SftpDoor;
pub use server::Server;
