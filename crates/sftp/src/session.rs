//! A client.

use std::io::{self, Read, Write};

use crate::fields::{Malformed, put_string};
use crate::{Attributes, Flags, Frames, Name, Reply, Request, Status, VERSION, extension, reply};

/// A client's side of a stream. Requests wait in a buffer until an answer is wanted.
#[derive(Debug)]
pub struct Session<S> {
    stream: S,
    out: Vec<u8>,
    frames: Frames,
    last_id: u32,
    extensions: Vec<String>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The stream failed.
    #[error("talking to the file server")]
    Stream(#[source] io::Error),
    /// The server has closed the stream.
    #[error("the file server has hung up")]
    Closed,
    /// The server sent something that it may not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server answered another kind of thing than was asked for.
    #[error("the file server gave an answer to another question")]
    Mismatch,
    /// The server refused.
    #[error("{text}")]
    Refused {
        /// Why.
        status: Status,
        /// Why, in the server's words.
        text: String,
    },
}

impl SessionError {
    /// Says whether it is the server's word on one request, after which others may follow.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// The status that the server gave.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Stream(_) | Self::Closed | Self::Malformed(_) | Self::Mismatch => None,
        }
    }
}

impl<S: Read + Write> Session<S> {
    /// Begins a session; `early` is what was read from the stream already.
    ///
    /// # Errors
    /// If the stream fails, or its other end is no server.
    pub fn begin(stream: S, early: &[u8]) -> Result<Self, SessionError> {
        let frames = Frames::beginning_with(early);
        let mut session = Self { stream, out: Vec::new(), frames, last_id: 0, extensions: Vec::new() };
        Request::Begin { version: VERSION, more_codes: true }.write(0, &mut session.out);
        session.flush()?;
        session.extensions = reply::read_version(session.packet()?)?;
        Ok(session)
    }

    /// Says whether the server has an extension.
    #[must_use]
    pub fn has(&self, extension: &str) -> bool {
        self.extensions.iter().any(|known| known == extension)
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Puts a request into the buffer; the answer is its number.
    pub fn put(&mut self, request: &Request<'_>) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        request.write(self.last_id, &mut self.out);
        self.last_id
    }

    /// Says how many bytes wait in the buffer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Sends what waits in the buffer.
    ///
    /// # Errors
    /// The stream's.
    pub fn flush(&mut self) -> Result<(), SessionError> {
        let sent = self.stream.write_all(&self.out).and_then(|()| self.stream.flush());
        self.out.clear();
        sent.map_err(SessionError::Stream)
    }

    /// Sends what waits, and reads the next answer.
    ///
    /// # Errors
    /// See [`SessionError`]; a refusal is an answer, and no error here.
    pub fn answer(&mut self) -> Result<(u32, Reply<'_>), SessionError> {
        if !self.out.is_empty() {
            self.flush()?;
        }
        Ok(Reply::read(self.packet()?)?)
    }

    fn packet(&mut self) -> Result<&[u8], SessionError> {
        while !self.frames.has_next() {
            if !self.frames.fill(&mut self.stream).map_err(SessionError::Stream)? {
                return Err(SessionError::Closed);
            }
        }
        self.frames.cut()?.ok_or(SessionError::Mismatch)
    }

    /// Asks one thing and waits for its answer; nothing else may be under way.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn ask(&mut self, request: &Request<'_>) -> Result<Reply<'_>, SessionError> {
        let asked = self.put(request);
        match self.answer()? {
            (id, _) if id != asked => Err(SessionError::Mismatch),
            (_, Reply::Status(status, text)) if status != Status::Ok => Err(refused(status, text)),
            (_, reply) => Ok(reply),
        }
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn tell(&mut self, request: &Request<'_>) -> Result<(), SessionError> {
        match self.ask(request)? {
            Reply::Status(..) => Ok(()),
            _ => Err(SessionError::Mismatch),
        }
    }

    /// Says what is at a path; `follow` follows a link in the last place too.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn look(&mut self, path: &[u8], follow: bool) -> Result<Attributes, SessionError> {
        let request = if follow { Request::Look { path } } else { Request::LookAtLink { path } };
        match self.ask(&request)? {
            Reply::Attributes(attributes) => Ok(attributes),
            _ => Err(SessionError::Mismatch),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn open(&mut self, path: &[u8], flags: Flags, attributes: Attributes) -> Result<Vec<u8>, SessionError> {
        self.handle(&Request::Open { path, flags, attributes })
    }

    fn handle(&mut self, request: &Request<'_>) -> Result<Vec<u8>, SessionError> {
        match self.ask(request)? {
            Reply::Handle(handle) => Ok(handle.to_vec()),
            _ => Err(SessionError::Mismatch),
        }
    }

    /// Reads a link.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn read_link(&mut self, path: &[u8]) -> Result<Vec<u8>, SessionError> {
        match self.ask(&Request::ReadLink { path })? {
            Reply::Names(mut names) => names.pop().map(|name| name.name).ok_or(SessionError::Mismatch),
            _ => Err(SessionError::Mismatch),
        }
    }

    /// Lists a directory without `.` and `..`, in no order.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn list(&mut self, path: &[u8]) -> Result<Vec<Name>, SessionError> {
        let handle = self.handle(&Request::OpenDirectory { path })?;
        let mut all = Vec::new();
        loop {
            match self.ask(&Request::ReadDirectory { handle: &handle }) {
                Ok(Reply::Names(names)) => all.extend(names.into_iter().filter(|name| name.name != b"." && name.name != b"..")),
                Ok(_) => return Err(SessionError::Mismatch),
                Err(SessionError::Refused { status: Status::Eof, .. }) => break,
                Err(error) => return Err(error),
            }
        }
        self.tell(&Request::Close { handle: &handle })?;
        Ok(all)
    }

    /// Renames over what is there, if the server can.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn replace(&mut self, from: &[u8], to: &[u8]) -> Result<(), SessionError> {
        if !self.has(extension::POSIX_RENAME) {
            return self.tell(&Request::Rename { from, to });
        }
        let mut rest = Vec::new();
        put_string(&mut rest, from);
        put_string(&mut rest, to);
        self.tell(&Request::Extended { name: extension::POSIX_RENAME.as_bytes(), rest: &rest })
    }
}

pub(crate) fn refused(status: Status, text: &[u8]) -> SessionError {
    SessionError::Refused { status, text: String::from_utf8_lossy(text).into_owned() }
}
