//! Framing: one message is one packet, a header and JSON.
//!
//! The header is 16 bytes: `COFM`, a version byte, a byte that says where the JSON is, two zero bytes, and the length of
//! the JSON as a little-endian 64-bit number. JSON over 64 KiB does not fit in a packet for sure; it travels in a memory
//! file, which is the last descriptor of the packet.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use coffer_sys::socket::{MOST_FDS, PacketSocket};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the framing.
pub const VERSION: u8 = 1;

/// Most bytes of JSON in one message.
pub const MOST_BYTES: u64 = 8 << 20;

/// Most bytes of JSON that travel in the packet itself.
const MOST_INLINE: usize = 64 << 10;

const MAGIC: [u8; 4] = *b"COFM";
const HEADER: usize = 16;
const INLINE: u8 = 0;
const IN_FILE: u8 = 1;

/// Why a message could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket failed. `WouldBlock` on a non-blocking socket means: try again when it is ready.
    #[error("talking to the peer")]
    Socket(#[source] io::Error),
    /// The packet is none of ours.
    #[error("a packet of {0} bytes has no header of this protocol")]
    Header(usize),
    /// The peer speaks another version.
    #[error("the peer speaks version {0} of the protocol, this program version {VERSION}")]
    Version(u8),
    /// A message is longer than allowed or than it says.
    #[error("a message of {0} bytes is longer than allowed or than its packet")]
    Length(u64),
    /// The JSON is not what was expected.
    #[error("reading a message")]
    Json(#[source] serde_json::Error),
    /// More descriptors than a message can carry.
    #[error("{0} descriptors are more than the {MOST_FDS} that a message can carry")]
    Descriptors(usize),
}

impl WireError {
    /// Says whether a non-blocking socket was not ready.
    #[must_use]
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Socket(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// One end of a conversation between a caller and a monitor. All calls take `&self` and are atomic by message.
#[derive(Debug)]
pub struct Connection(PacketSocket);

impl Connection {
    /// Speaks over this socket.
    #[must_use]
    pub fn new(socket: PacketSocket) -> Self {
        Self(socket)
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &PacketSocket {
        &self.0
    }

    /// Chooses whether calls wait. A waiter polls the descriptor ([`AsFd`]) for reading or writing.
    ///
    /// # Errors
    /// None in practice.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.0.set_nonblocking(nonblocking)
    }

    /// Sends one message with descriptors.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        let json = serde_json::to_vec(message).map_err(WireError::Json)?;
        if json.len() as u64 > MOST_BYTES {
            return Err(WireError::Length(json.len() as u64));
        }
        if json.len() <= MOST_INLINE {
            return self.send_packet(&[&header(INLINE, json.len()), &json], fds);
        }
        let file = memory_file(&json).map_err(WireError::Socket)?;
        let mut all = fds.to_vec();
        all.push(file.as_fd());
        self.send_packet(&[&header(IN_FILE, json.len())], &all)
    }

    fn send_packet(&self, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Result<(), WireError> {
        if fds.len() > MOST_FDS {
            return Err(WireError::Descriptors(fds.len()));
        }
        self.0.send(parts, fds).map_err(WireError::Socket)
    }

    /// Receives one message with its descriptors; `None` if the peer has closed.
    ///
    /// # Errors
    /// [`WireError`]. After another error than a socket's that would block the conversation is of no more use.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<Option<(T, Vec<OwnedFd>)>, WireError> {
        let Some(packet) = self.0.receive(HEADER + MOST_INLINE).map_err(WireError::Socket)? else { return Ok(None) };
        let mut fds = packet.fds;
        let Some((head, rest)) = packet.bytes.split_at_checked(HEADER).filter(|(head, _)| head.starts_with(&MAGIC)) else {
            return Err(WireError::Header(packet.bytes.len()));
        };
        if head[4] != VERSION {
            return Err(WireError::Version(head[4]));
        }
        let length = head[8..].iter().rev().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
        if length > MOST_BYTES {
            return Err(WireError::Length(length));
        }
        let json = match head[5] {
            INLINE if rest.len() as u64 == length => rest.to_vec(),
            IN_FILE if rest.is_empty() => read_file(fds.pop(), length)?,
            _ => return Err(WireError::Length(length)),
        };
        let message = serde_json::from_slice(&json).map_err(WireError::Json)?;
        Ok(Some((message, fds)))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn header(place: u8, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[5] = place;
    header[8..].copy_from_slice(&(length as u64).to_le_bytes());
    header
}

fn memory_file(json: &[u8]) -> io::Result<std::fs::File> {
    let file = std::fs::File::from(coffer_sys::process::memory_file("coffer-message")?);
    file.write_all_at(json, 0)?;
    Ok(file)
}

fn read_file(fd: Option<OwnedFd>, length: u64) -> Result<Vec<u8>, WireError> {
    let file = std::fs::File::from(fd.ok_or(WireError::Length(length))?);
    let mut json = vec![0; length as usize];
    file.read_exact_at(&mut json, 0).map_err(|_| WireError::Length(length))?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Connection, Connection) {
        let (one, other) = PacketSocket::pair().unwrap();
        (Connection::new(one), Connection::new(other))
    }

    #[test]
    fn small_and_large_messages_arrive_with_their_descriptors() {
        let (one, other) = pair();
        for length in [0, 1000, MOST_INLINE - 2, MOST_INLINE, 1 << 20] {
            let text = "x".repeat(length);
            one.send(&text, &[one.as_fd(), other.as_fd()]).unwrap();
            let (got, fds) = other.receive::<String>().unwrap().unwrap();
            assert_eq!((got, fds.len()), (text, 2));
        }
        drop(one);
        assert!(other.receive::<String>().unwrap().is_none());
    }

    #[track_caller]
    fn check_refused(packet: &[u8], expect: &str) {
        let (one, other) = pair();
        one.socket().send(&[packet], &[]).unwrap();
        assert_eq!(other.receive::<String>().unwrap_err().to_string(), expect);
    }

    #[test]
    fn wrong_packets_are_refused() {
        check_refused(b"GET / HTTP/1.1\r\n\r\n", "a packet of 18 bytes has no header of this protocol");
        check_refused(b"x", "a packet of 1 bytes has no header of this protocol");
        let mut wrong = header(INLINE, 4).to_vec();
        check_refused(&wrong, "a message of 4 bytes is longer than allowed or than its packet");
        wrong.extend(b"nope");
        check_refused(&wrong, "reading a message");
        wrong[4] = 9;
        check_refused(&wrong, "the peer speaks version 9 of the protocol, this program version 1");
        check_refused(&header(INLINE, usize::MAX), &format!("a message of {} bytes is longer than allowed or than its packet", u64::MAX));
        check_refused(&header(IN_FILE, 10), "a message of 10 bytes is longer than allowed or than its packet");
    }

    #[test]
    fn an_empty_nonblocking_connection_would_block() {
        let (one, _other) = pair();
        one.set_nonblocking(true).unwrap();
        assert!(one.receive::<String>().unwrap_err().would_block());
    }
}
