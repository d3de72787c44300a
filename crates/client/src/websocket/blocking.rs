//! Websockets driven by plain blocking calls, one thread a direction: the fastest and simplest way to pump bytes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::SendFlags;

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
        let outgoing = Outgoing { stream: self.stream, writing: self.writing, owed: Arc::default() };
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
    /// A ping's payload whose answer found no room; whoever writes next sends it.
    owed: Arc<Mutex<Option<Vec<u8>>>>,
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
            if let Some(payload) = self.owed().take() {
                (&*self.stream).write_all(&frame(Opcode::Pong, &payload))?;
            }
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
        let message = frame(opcode, payload);
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (&*self.stream).write_all(&message)
    }

    /// Answers a control frame without ever waiting. Whoever reads must go on reading: the server may take nothing from us
    /// until it is rid of what it has for us.
    fn answer(&self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = match self.writing.try_lock() {
            Ok(_turn) => rustix::net::send(&*self.stream, &frame(opcode, payload), flags).map(drop),
            Err(_) => Err(Errno::AGAIN),
        };
        match sent {
            Err(Errno::AGAIN) if opcode == Opcode::Pong => *self.owed() = Some(payload.to_vec()),
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn owed(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One masked frame. On a stream socket so few bytes are sent whole or not at all.
fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut head = [0; LONGEST_HEADER];
    let start = header(opcode, payload.len()).write_before(&mut head);
    [&head[start..], payload].concat()
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
    /// Bytes of the current frame's payload that are still to come.
    left: u64,
}

impl Incoming {
    fn new(answer: Outgoing, early: &[u8]) -> Incoming {
        let mut buffer = vec![0; BUFFER.max(early.len())];
        buffer[..early.len()].copy_from_slice(early);
        Incoming { answer, buffer, start: 0, end: early.len(), left: 0 }
    }

    /// Writes the payloads of all messages to `sink` until the stream ends.
    ///
    /// # Errors
    /// If reading or writing fails; [`io::ErrorKind::BrokenPipe`] from `sink` comes through as it is.
    pub fn copy_to(&mut self, mut sink: impl Write) -> io::Result<End> {
        loop {
            if let Some(end) = self.advance(&mut sink)? {
                return Ok(end);
            }
        }
    }

    /// Reads once and writes what came to `sink`; tells the stream's end once it is there.
    ///
    /// Does not block if something can be read, except as `sink` does.
    ///
    /// # Errors
    /// If reading or writing fails; [`io::ErrorKind::BrokenPipe`] from `sink` comes through as it is.
    pub fn advance(&mut self, sink: &mut dyn Write) -> io::Result<Option<End>> {
        // What came with the handshake is there before anything can be read.
        if self.start == self.end && self.fill()? == 0 {
            return Ok(Some(End::Closed));
        }
        loop {
            let here = (self.end - self.start).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if here > 0 {
                sink.write_all(&self.buffer[self.start..self.start + here])?;
                self.start += here;
                self.left -= here as u64;
            }
            match self.next_frame()? {
                Next::Frame(header) if header.opcode == Opcode::Text && header.length == 0 && header.last => return Ok(Some(End::Marked)),
                Next::Frame(header) => self.left = header.length,
                Next::Closed => return Ok(Some(End::Closed)),
                Next::Nothing if self.start == self.end => {
                    sink.flush()?;
                    return Ok(None);
                }
                // The rest of a header or of a control frame is on its way.
                Next::Nothing => {
                    sink.flush()?;
                    return Ok((self.fill()? == 0).then_some(End::Closed));
                }
            }
        }
    }

    /// Reads one whole message; `None` once the connection is closed.
    ///
    /// # Errors
    /// If reading fails or the message is longer than 16 MiB.
    pub fn message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = Vec::new();
        loop {
            let header = match self.next_frame()? {
                Next::Frame(header) => header,
                Next::Closed => return Ok(None),
                Next::Nothing if self.fill()? == 0 => return Ok(None),
                Next::Nothing => continue,
            };
            self.left = header.length;
            if message.len() as u64 + header.length > MESSAGE_LIMIT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
            }
            while self.left > 0 {
                if self.start == self.end && self.fill()? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let here = (self.end - self.start).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                message.extend_from_slice(&self.buffer[self.start..self.start + here]);
                self.start += here;
                self.left -= here as u64;
            }
            if header.last {
                return Ok(Some(message));
            }
        }
    }

    /// Returns the socket, to wait until it can be read.
    pub(crate) fn socket(&self) -> &UnixStream {
        &self.answer.stream
    }

    /// Tells whether bytes are waiting here that no wait for the socket would tell of.
    pub(crate) fn has_early(&self) -> bool {
        self.start < self.end
    }

    /// Takes the next frame that carries a message off the buffer, answering pings on the way.
    fn next_frame(&mut self) -> io::Result<Next> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        while self.left == 0 {
            let read = Header::read(&self.buffer[self.start..self.end]).map_err(|error| invalid(error.to_string()))?;
            let Some((header, size)) = read else { break };
            if header.mask.is_some() {
                return Err(invalid("the server masks its frames".to_owned()));
            }
            if !header.opcode.is_control() {
                self.start += size;
                return Ok(Next::Frame(header));
            }
            // Control frames are short: they are taken whole or not yet.
            let payload = self.start + size..self.start + size + usize::try_from(header.length).unwrap_or(0);
            if payload.end > self.end {
                break;
            }
            self.start = payload.end;
            match header.opcode {
                Opcode::Ping => self.answer.answer(Opcode::Pong, &self.buffer[payload])?,
                Opcode::Close => {
                    // The server may have closed for good already.
                    let _ = self.answer.answer(Opcode::Close, &self.buffer[payload]);
                    return Ok(Next::Closed);
                }
                Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
            }
        }
        Ok(Next::Nothing)
    }

    /// Reads more bytes behind those that are left; 0 at the end.
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

/// What the buffer holds next.
enum Next {
    Frame(Header),
    Closed,
    /// No whole header or control frame, or the middle of a payload.
    Nothing,
}
