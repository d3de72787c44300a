//! One file's content, with several requests under way.

use std::collections::VecDeque;
use std::io::{Read, Write};

use crate::session::refused;
use crate::{MOST_DATA, Reply, Request, Session, SessionError, Status};

/// Requests of one file under way at a time: enough that neither end waits for the other.
const UNDER_WAY: usize = 4;

/// A file that is read from its beginning.
#[derive(Debug)]
pub struct Reading {
    handle: Vec<u8>,
    /// Where the next request begins.
    next: u64,
    /// Where the file ends, as far as it is to be read.
    end: u64,
    asked: VecDeque<Asked>,
}

#[derive(Debug)]
struct Asked {
    id: u32,
    offset: u64,
    length: u32,
}

impl Reading {
    /// Reads the first `size` bytes of an open file.
    #[must_use]
    pub fn new(handle: Vec<u8>, size: u64) -> Self {
        Self { handle, next: 0, end: size, asked: VecDeque::new() }
    }

    /// Reads on; empty at the end, which may come before the size that was given.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn next<S: Read + Write>(&mut self, session: &mut Session<S>) -> Result<Vec<u8>, SessionError> {
        while self.asked.len() < UNDER_WAY && self.next < self.end {
            let length = (self.end - self.next).min(MOST_DATA as u64) as u32;
            self.ask(session, self.next, length);
            self.next += u64::from(length);
        }
        let Some(asked) = self.asked.pop_front() else { return Ok(Vec::new()) };
        let data = match session.answer()? {
            (id, _) if id != asked.id => return Err(SessionError::Mismatch),
            (_, Reply::Data(data)) => data.to_vec(),
            (_, Reply::Status(Status::Eof, _)) => Vec::new(),
            (_, Reply::Status(status, text)) => {
                let error = refused(status, text);
                self.drain(session)?;
                return Err(error);
            }
            _ => return Err(SessionError::Mismatch),
        };
        if data.len() < asked.length as usize {
            // Less than was asked for: what was asked for behind it is at the wrong place.
            self.drain(session)?;
            self.next = if data.is_empty() { self.end } else { asked.offset + data.len() as u64 };
        }
        Ok(data)
    }

    /// Closes the file; what is under way is waited for.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn close<S: Read + Write>(mut self, session: &mut Session<S>) -> Result<(), SessionError> {
        self.drain(session)?;
        session.tell(&Request::Close { handle: &self.handle })
    }

    fn ask<S: Read + Write>(&mut self, session: &mut Session<S>, offset: u64, length: u32) {
        let id = session.put(&Request::Read { handle: &self.handle, offset, length });
        self.asked.push_back(Asked { id, offset, length });
    }

    fn drain<S: Read + Write>(&mut self, session: &mut Session<S>) -> Result<(), SessionError> {
        for _ in 0..self.asked.drain(..).len() {
            session.answer()?;
        }
        Ok(())
    }
}

/// A file that is written from its beginning.
#[derive(Debug)]
pub struct Writing {
    handle: Vec<u8>,
    offset: u64,
    unanswered: usize,
}

impl Writing {
    /// Writes an open file.
    #[must_use]
    pub fn new(handle: Vec<u8>) -> Self {
        Self { handle, offset: 0, unanswered: 0 }
    }

    /// Writes on. A failure of what was written before may be told here.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub fn write<S: Read + Write>(&mut self, session: &mut Session<S>, bytes: &[u8]) -> Result<(), SessionError> {
        for data in bytes.chunks(MOST_DATA) {
            while self.unanswered >= UNDER_WAY {
                self.take(session)?;
            }
            session.put(&Request::Write { handle: &self.handle, offset: self.offset, data });
            session.flush()?;
            self.offset += data.len() as u64;
            self.unanswered += 1;
        }
        Ok(())
    }

    /// Waits until all is written, and closes the file, also after a failure.
    ///
    /// # Errors
    /// See [`SessionError`]; the first failure of what was written.
    pub fn close<S: Read + Write>(mut self, session: &mut Session<S>) -> Result<(), SessionError> {
        let mut written = Ok(());
        while self.unanswered > 0 {
            match self.take(session) {
                Err(error) if !error.is_refusal() => return Err(error),
                Err(error) if written.is_ok() => written = Err(error),
                _ => {}
            }
        }
        let closed = session.tell(&Request::Close { handle: &self.handle });
        written.and(closed)
    }

    fn take<S: Read + Write>(&mut self, session: &mut Session<S>) -> Result<(), SessionError> {
        let answer = session.answer()?.1;
        self.unanswered -= 1;
        match answer {
            Reply::Status(Status::Ok, _) => Ok(()),
            Reply::Status(status, text) => Err(refused(status, text)),
            _ => Err(SessionError::Mismatch),
        }
    }
}
