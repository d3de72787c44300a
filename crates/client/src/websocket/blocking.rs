//! Websockets driven by plain blocking calls, one thread a direction: the fastest and simplest way to pump bytes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::{Header, LONGEST_HEADER, Opcode};
use super::handshake::Dialled;

/// Bytes read or written at a time.
const BUFFER: usize = 256 << 10;
/// Longest message that is collected in memory.
const MESSAGE_LIMIT: u64 = 16 << 20;

/// A connected websocket.
pub struct Socket {
    stream: Arc<UnixStream>,
    writing: Arc<Mutex<()>>,
    early: Vec<u8>,
}

impl Socket {
    pub(crate) fn new(dialled: Dialled) -> io::Result<Socket> {
        let stream = dialled.stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(Socket { stream: Arc::new(stream), writing: Arc::default(), early: dialled.early })
    }

    /// Splits it into its two directions.
    pub fn split(self) -> (Incoming, Outgoing) {
        let outgoing = Outgoing { stream: self.stream, writing: self.writing };
        (Incoming::new(outgoing.clone(), &self.early), outgoing)
    }
}

/// How a stream of bytes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the empty text message that marks the end of a stream.
    Marked,
    /// With the connection.
    Closed,
}

/// The direction towards the server. Clones write to the same websocket.
#[derive(Clone)]
pub struct Outgoing {
    stream: Arc<UnixStream>,
    writing: Arc<Mutex<()>>,
}

impl Outgoing {
    /// Sends everything `source` has as binary messages, then marks the end.
    ///
    /// # Errors
    /// If reading or sending fails.
    pub fn copy_from(&self, mut source: impl Read) -> io::Result<()> {
        let mut room = vec![0; LONGEST_HEADER + BUFFER];
        loop {
            let count = match source.read(&mut room[LONGEST_HEADER..]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut head = [0; LONGEST_HEADER];
            let start = header(Opcode::Binary, count).write_before(&mut head);
            room[start..LONGEST_HEADER].copy_from_slice(&head[start..]);
            let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            (&*self.stream).write_all(&room[start..LONGEST_HEADER + count])?;
        }
        self.mark_end()
    }

    /// Sends one text message.
    ///
    /// # Errors
    /// If sending fails.
    pub fn send_text(&self, text: &str) -> io::Result<()> {
        self.send(Opcode::Text, text.as_bytes())
    }

    /// Marks the end of the stream; the other direction stays open.
    ///
    /// # Errors
    /// If sending fails.
    pub fn mark_end(&self) -> io::Result<()> {
        self.send(Opcode::Text, b"")
    }

    /// Says goodbye and closes both directions.
    pub fn close(&self) {
        // 1000: normal closure. The peer may have gone already.
        let _ = self.send(Opcode::Close, &1000u16.to_be_bytes());
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn send(&self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mut head = [0; LONGEST_HEADER];
        let start = header(opcode, payload.len()).write_before(&mut head);
        let message = [&head[start..], payload].concat();
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (&*self.stream).write_all(&message)
    }
}

fn header(opcode: Opcode, length: usize) -> Header {
    Header { last: true, opcode, mask: Some([0; 4]), length: length as u64 }
}

/// The direction from the server.
pub struct Incoming {
    answer: Outgoing,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    fn new(answer: Outgoing, early: &[u8]) -> Incoming {
        let mut buffer = vec![0; BUFFER.max(early.len())];
        buffer[..early.len()].copy_from_slice(early);
        Incoming { answer, buffer, start: 0, end: early.len() }
    }

    /// Writes the payloads of all messages to `sink` until the stream ends.
    ///
    /// # Errors
    /// If reading or writing fails; [`io::ErrorKind::BrokenPipe`] from `sink` comes through as it is.
    pub fn copy_to(&mut self, mut sink: impl Write) -> io::Result<End> {
        while let Some(header) = self.next_header()? {
            if header.opcode == Opcode::Text && header.length == 0 && header.last {
                return Ok(End::Marked);
            }
            self.payload(header.length, &mut |bytes| sink.write_all(bytes))?;
            sink.flush()?;
        }
        Ok(End::Closed)
    }

    /// Reads one whole message; `None` once the connection is closed.
    ///
    /// # Errors
    /// If reading fails or the message is longer than 16 MiB.
    pub fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        while let Some(header) = self.next_header()? {
            if message.len() as u64 + header.length > MESSAGE_LIMIT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
            }
            self.payload(header.length, &mut |bytes| {
                message.extend_from_slice(bytes);
                Ok(())
            })?;
            if header.last {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Reads and forgets everything, answering pings, until the connection is closed.
    pub fn drain(&mut self) {
        while let Ok(Some(_)) = self.message() {}
    }

    /// Reads up to the next frame that carries a message, answering pings; `None` once the connection is closed.
    fn next_header(&mut self) -> io::Result<Option<Header>> {
        loop {
            let read =
                Header::read(&self.buffer[self.start..self.end]).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let Some((header, size)) = read else {
                if self.fill()? == 0 {
                    return Ok(None);
                }
                continue;
            };
            if header.mask.is_some() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the server masks its frames"));
            }
            self.start += size;
            if !header.opcode.is_control() {
                return Ok(Some(header));
            }
            let mut payload = Vec::new();
            self.payload(header.length, &mut |bytes| {
                payload.extend_from_slice(bytes);
                Ok(())
            })?;
            match header.opcode {
                Opcode::Ping => self.answer.send(Opcode::Pong, &payload)?,
                Opcode::Close => {
                    let _ = self.answer.send(Opcode::Close, &payload);
                    return Ok(None);
                }
                Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
            }
        }
    }

    /// Hands the next `length` bytes of payload to `take`, in pieces as large as they come.
    fn payload(&mut self, mut length: u64, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        while length > 0 {
            if self.start == self.end && self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let here = (self.end - self.start).min(usize::try_from(length).unwrap_or(usize::MAX));
            take(&self.buffer[self.start..self.start + here])?;
            self.start += here;
            length -= here as u64;
        }
        Ok(())
    }

    /// Reads more bytes behind those that are left.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = loop {
            match (&*self.answer.stream).read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A server that is done may close without a word; both ends know the stream is over.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break 0,
                other => break other?,
            }
        };
        self.end += count;
        Ok(count)
    }
}
