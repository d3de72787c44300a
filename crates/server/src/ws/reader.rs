//! The receiving side of a websocket.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::frame::{FrameError, Header, Opcode, read_header, unmask};

/// Bytes that are received at once.
pub const CHUNK: usize = 256 << 10;

/// The longest text message.
const TEXT_LIMIT: usize = 64 << 10;

/// The receiving side of a websocket.
pub struct Reader<R> {
    transport: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    frames: Frames,
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes of binary messages, in the buffer that was handed in. Where messages end does not matter to streams.
    Bytes,
    /// A whole text message.
    Text(Vec<u8>),
    /// A ping that wants to be answered with this.
    Ping(Vec<u8>),
    /// The other side closed, or is gone.
    Closed,
}

/// Why nothing more can be received.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection failed.
    #[error("receiving from the websocket")]
    Receive(#[source] io::Error),
    /// The client breaks the protocol.
    #[error("the client breaks the websocket protocol")]
    Frame(#[from] FrameError),
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Begins with what was already received behind the handshake.
    pub fn new(transport: R, received: &[u8]) -> Self {
        // Not touched until something arrives, so it costs nothing on a socket that stays quiet.
        let mut buffer = vec![0; CHUNK.max(received.len())];
        buffer[..received.len()].copy_from_slice(received);
        Self { transport, buffer, start: 0, end: received.len(), frames: Frames::default() }
    }

    /// Waits for what comes next. Binary content is appended to `out`, which should be empty; small messages that
    /// arrived together are joined. Dropping the future loses nothing.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self, out: &mut Vec<u8>) -> Result<Input, ReadError> {
        loop {
            let (used, input) = self.frames.advance(&mut self.buffer[self.start..self.end], out)?;
            self.start += used;
            if let Some(input) = input {
                return Ok(input);
            }
            if self.fill().await.map_err(ReadError::Receive)? == 0 {
                return Ok(Input::Closed);
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = self.transport.read(&mut self.buffer[self.end..]).await?;
        self.end += count;
        Ok(count)
    }
}

/// Where in which message the reader is.
#[derive(Default)]
struct Frames {
    /// The data frame that is being read, and how much of it was.
    current: Option<(Header, u64)>,
    /// Whether the message that is being read is text; `None` between messages.
    is_text: Option<bool>,
    text: Vec<u8>,
}

impl Frames {
    /// Takes frames off the start of `bytes`; answers how many bytes were used up, and what came of them.
    fn advance(&mut self, bytes: &mut [u8], out: &mut Vec<u8>) -> Result<(usize, Option<Input>), FrameError> {
        let mut at = 0;
        loop {
            if let Some((header, read)) = self.current {
                let take = usize::try_from(header.length - read).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.content(&mut bytes[at..at + take], header, read, out)?;
                at += take;
                if read + (take as u64) < header.length {
                    self.current = Some((header, read + take as u64));
                    break;
                }
                self.current = None;
                if header.last && self.is_text.take() == Some(true) {
                    return Ok((at, Some(Input::Text(std::mem::take(&mut self.text)))));
                }
            }
            let Some((header, size)) = read_header(&bytes[at..])? else { break };
            if !out.is_empty() && (header.opcode.is_control() || header.opcode == Opcode::Text) {
                // What came before is handed out first.
                break;
            }
            if header.opcode.is_control() {
                let end = at + size + header.length as usize;
                if end > bytes.len() {
                    break;
                }
                let content = &mut bytes[at + size..end];
                unmask(content, header.mask, 0);
                at = end;
                match header.opcode {
                    Opcode::Close => return Ok((at, Some(Input::Closed))),
                    Opcode::Ping => return Ok((at, Some(Input::Ping(content.to_vec())))),
                    Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => continue,
                }
            }
            self.is_text = match (header.opcode, self.is_text) {
                (Opcode::Continuation, Some(is_text)) => Some(is_text),
                (Opcode::Text, None) => Some(true),
                (Opcode::Binary, None) => Some(false),
                _ => return Err(FrameError::Order),
            };
            at += size;
            self.current = Some((header, 0));
        }
        Ok((at, (!out.is_empty()).then_some(Input::Bytes)))
    }

    fn content(&mut self, bytes: &mut [u8], header: Header, read: u64, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let target = if self.is_text == Some(true) { &mut self.text } else { out };
        let before = target.len();
        target.extend_from_slice(bytes);
        unmask(&mut target[before..], header.mask, read);
        if self.text.len() > TEXT_LIMIT { Err(FrameError::Text) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame.
    fn frame(first: u8, content: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut bytes = vec![first];
        match content.len() {
            short @ 0..126 => bytes.push(0x80 | short as u8),
            long => {
                bytes.push(0xfe);
                bytes.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        let start = bytes.len();
        bytes.extend_from_slice(content);
        unmask(&mut bytes[start..], mask, 0);
        bytes
    }

    /// Receives everything, `step` bytes at a time, and writes it down; neighbouring bytes are joined.
    async fn receive(wire: &[u8], step: usize) -> String {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let wire = wire.to_vec();
        let send = async move {
            for piece in wire.chunks(step) {
                // The reader goes away after a refusal.
                if tokio::io::AsyncWriteExt::write_all(&mut client, piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let read = async {
            let mut reader = Reader::new(server, &[]);
            let (mut log, mut data) = (Vec::new(), Vec::new());
            loop {
                let mut out = Vec::new();
                let input = reader.next(&mut out).await;
                data.extend_from_slice(&out);
                if matches!(input, Ok(Input::Bytes)) {
                    continue;
                }
                if !data.is_empty() {
                    log.push(format!("bytes {}", String::from_utf8(std::mem::take(&mut data)).unwrap()));
                }
                match input {
                    Ok(Input::Bytes) => {}
                    Ok(Input::Text(text)) => log.push(format!("text {}", String::from_utf8(text).unwrap())),
                    Ok(Input::Ping(content)) => log.push(format!("ping {}", String::from_utf8(content).unwrap())),
                    Ok(Input::Closed) => break log.push("closed".into()),
                    Err(error) => break log.push(coffer_base::chain(&error)),
                }
            }
            log.join("; ")
        };
        tokio::join!(send, read).1
    }

    #[track_caller]
    fn check(frames: &[Vec<u8>], expect: &str) {
        let wire = frames.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for step in [1, 2, 3, 7, 64, wire.len().max(1)] {
            assert_eq!(runtime.block_on(receive(&wire, step)), expect, "{step} bytes at a time");
        }
    }

    #[test]
    fn streams_and_barriers() {
        check(&[frame(0x82, b"ab"), frame(0x82, b"cd"), frame(0x81, b""), frame(0x82, b"e")], "bytes abcd; text ; bytes e; closed");
        check(&[frame(0x82, &[b'x'; 300])], &format!("bytes {}; closed", "x".repeat(300)));
    }

    #[test]
    fn messages_in_pieces_with_pings_between() {
        check(
            &[frame(0x02, b"a"), frame(0x89, b"1"), frame(0x00, b""), frame(0x8a, b"pong"), frame(0x80, b"b")],
            "bytes a; ping 1; bytes b; closed",
        );
        check(&[frame(0x01, b"{"), frame(0x80, b"}"), frame(0x88, b"\x03\xe8"), frame(0x82, b"late")], "text {}; closed");
    }

    #[test]
    fn broken_streams_are_refused() {
        let prefix = "the client breaks the websocket protocol: ";
        check(&[frame(0x82, b"a"), frame(0x80, b"b")], &format!("bytes a; {prefix}frames of messages are out of order"));
        check(&[frame(0x01, b"a"), frame(0x82, b"b")], &format!("{prefix}frames of messages are out of order"));
        let long: Vec<_> = std::iter::once(0x01).chain(std::iter::repeat_n(0x00, 40)).map(|first| frame(first, &[b'x'; 2000])).collect();
        check(&long, &format!("{prefix}a text message is too long"));
    }
}
