//! The server's half of SSH version 2, as bytes: one user with a password, one channel, one subsystem.
//!
//! Bytes of a client go in, bytes for it come out; what the channel carries is somebody else's. One way of each kind is spoken, the
//! one that every client of the last years has: Curve25519, Ed25519, ChaCha20-Poly1305, all of them from `ring`.
//!
//! Never: sockets, files, time, a shell, a terminal, forwarding; a byte of a stranger's kept before its length is known to be small.

mod cipher;
mod connection;
mod exchange;
mod field;
mod message;

pub use connection::{Access, Connection};
pub use exchange::{HostKey, secret};

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// The client does not speak SSH version 2.
    #[error("the client does not speak SSH version 2")]
    Version,
    /// There is no way of a kind that both know.
    #[error("the client knows no {0} that this server has; it has {1}")]
    NoCommon(&'static str, &'static str),
    /// A packet is not what it says to be.
    #[error("the client sent a packet that is damaged")]
    Damaged,
    /// A message came at the wrong time, or is not one.
    #[error("the client sent message {0} where it has no meaning")]
    Unexpected(u8),
    /// Too many wrong passwords.
    #[error("the client tried too many passwords")]
    Passwords,
    /// The random generator of the kernel gives nothing.
    #[error("the kernel gives no random bytes")]
    Random,
    /// The client has ended the connection.
    #[error("the client has ended the connection")]
    Ended,
}

impl From<ring::error::Unspecified> for SshError {
    fn from(_: ring::error::Unspecified) -> Self {
        Self::Damaged
    }
}
