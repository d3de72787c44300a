//! Serving the files of one instance: `coffer-files`, a process locked into the instance's root, and the daemon's hold on it.
//!
//! The daemon's side is [`FileProgram`] and [`FileServer`]; [`worker::main`] is the program. Between them is a socket: one order
//! goes in, then connections, each a stream on which the server speaks SFTP. It ends when the daemon's end of the socket does.
//!
//! The process has the ids and the root directory of the instance, and nothing of the host: no path, no network, no process,
//! five capabilities at most and those inside the instance's user namespace, a short list of system calls. Whoever is root in the
//! instance can neither see nor trace it, for it is in a process namespace of its own. So a link, a race or a bug in here leads
//! nowhere but to what the instance's root could reach anyway.
//!
//! Never: a path of the host, a decision about who may.

mod order;
mod server;
pub mod worker;

pub use order::{Confinement, IdRange, MAPPING};
pub use server::{FileProgram, FileServer, Place, StartError};
