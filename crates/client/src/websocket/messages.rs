//! Websockets read message by message on the runtime, for streams that are slow and never written.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::frame::{Header, LONGEST_HEADER, Opcode};
use super::handshake::Dialled;

/// Longest message that is collected in memory.
const MESSAGE_LIMIT: u64 = 16 << 20;

/// The messages of a websocket.
pub struct Messages {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Messages {
    pub(crate) fn new(dialled: Dialled) -> Messages {
        Messages { stream: dialled.stream, bytes: dialled.early }
    }

    /// Waits for the next message; `None` once the connection is closed. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If reading fails or a message is longer than 16 MiB.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.take_message()? {
                Taken::Message(message) => return Ok(Some(message)),
                Taken::Closed => return Ok(None),
                Taken::Ping(payload) => self.pong(&payload).await?,
                Taken::Nothing => {
                    if self.stream.read_buf(&mut self.bytes).await? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes a whole message or control frame off the front of what was read; a message in pieces is joined first.
    fn take_message(&mut self) -> io::Result<Taken> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut message = Vec::new();
        let mut at = 0;
        loop {
            let read = Header::read(&self.bytes[at..]).map_err(|error| invalid(error.to_string()))?;
            let Some((header, size)) = read else { return Ok(Taken::Nothing) };
            if header.mask.is_some() || header.length > MESSAGE_LIMIT || message.len() as u64 + header.length > MESSAGE_LIMIT {
                return Err(invalid("a frame is masked or too long".to_owned()));
            }
            let start = at + size;
            let end = start + usize::try_from(header.length).unwrap_or(usize::MAX);
            let Some(payload) = self.bytes.get(start..end) else { return Ok(Taken::Nothing) };
            if header.opcode.is_control() {
                let payload = payload.to_vec();
                self.bytes.drain(at..end);
                match header.opcode {
                    Opcode::Ping => return Ok(Taken::Ping(payload)),
                    Opcode::Close => return Ok(Taken::Closed),
                    Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => continue,
                }
            }
            message.extend_from_slice(payload);
            at = end;
            if header.last {
                self.bytes.drain(..end);
                return Ok(Taken::Message(message));
            }
        }
    }

    async fn pong(&mut self, payload: &[u8]) -> io::Result<()> {
        let header = Header { last: true, opcode: Opcode::Pong, mask: Some([0; 4]), length: payload.len() as u64 };
        let mut head = [0; LONGEST_HEADER];
        let start = header.write_before(&mut head);
        self.stream.write_all(&[&head[start..], payload].concat()).await
    }
}

enum Taken {
    Message(Vec<u8>),
    Ping(Vec<u8>),
    Closed,
    Nothing,
}
