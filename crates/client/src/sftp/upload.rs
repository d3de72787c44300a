//! Many files into an instance, several under way at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use coffer_sftp::{Attributes, Flags, MOST_DATA, Reply, Request, Status};

use super::{GATHERED, PIECES, Sftp, Through, UNDER_WAY, at, local};
use crate::ClientError;

/// Files that are sent. What fails is told by whatever call comes to know of it.
pub struct Uploads<'a> {
    session: &'a mut Sftp,
    through: Through<'a>,
    /// What each request that is not answered was for.
    asked: HashMap<u32, (usize, Step)>,
    files: Vec<Option<Sending>>,
    under_way: usize,
    buffer: Vec<u8>,
}

/// What an answer is awaited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    Write(u64),
    Close,
}

/// A file that is sent.
struct Sending {
    source: File,
    local: PathBuf,
    path: Vec<u8>,
    handle: Vec<u8>,
    offset: u64,
    pieces: usize,
    /// Everything was read, and closing was asked for.
    closing: bool,
}

impl<'a> Uploads<'a> {
    /// Sends files over a conversation in which nothing else is under way.
    pub fn new(session: &'a mut Sftp, through: Through<'a>) -> Self {
        Self { session, through, asked: HashMap::new(), files: Vec::new(), under_way: 0, buffer: vec![0; MOST_DATA] }
    }

    /// The conversation, after all that was begun has ended.
    ///
    /// # Errors
    /// What failed until then.
    pub fn quiet(&mut self) -> Result<&mut Sftp, ClientError> {
        while self.under_way > 0 {
            self.step()?;
        }
        Ok(self.session)
    }

    /// Sends a file, or begins to. The attributes are for one that is not there yet.
    ///
    /// # Errors
    /// What failed until then, of this file or of one before.
    pub fn send(&mut self, source: File, local: PathBuf, path: Vec<u8>, attributes: Attributes) -> Result<(), ClientError> {
        while self.under_way >= UNDER_WAY {
            self.step()?;
        }
        let flags = Flags::WRITE | Flags::CREATE | Flags::TRUNCATE;
        let id = self.session.put(&Request::Open { path: &path, flags, attributes });
        let sending = Sending { source, local, path, handle: Vec::new(), offset: 0, pieces: 0, closing: false };
        let free = self.files.iter().position(Option::is_none);
        let index = free.unwrap_or(self.files.len());
        match free {
            Some(index) => self.files[index] = Some(sending),
            None => self.files.push(Some(sending)),
        }
        self.asked.insert(id, (index, Step::Open));
        self.under_way += 1;
        Ok(())
    }

    /// Takes one answer and does what follows from it.
    fn step(&mut self) -> Result<(), ClientError> {
        let (id, reply) = self.session.answer()?;
        let (index, step) = self.asked.remove(&id).ok_or(coffer_sftp::SessionError::Mismatch)?;
        let file = self.files[index].as_mut().ok_or(coffer_sftp::SessionError::Mismatch)?;
        match (step, reply) {
            (Step::Open, Reply::Handle(handle)) => file.handle = handle.to_vec(),
            (Step::Write(length), Reply::Status(Status::Ok, _)) => {
                file.pieces -= 1;
                (self.through)(length);
            }
            (Step::Close, Reply::Status(Status::Ok, _)) => {
                self.files[index] = None;
                self.under_way -= 1;
                return Ok(());
            }
            (_, Reply::Status(status, text)) => {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err(at(&file.path, coffer_sftp::SessionError::Refused { status, text }));
            }
            _ => return Err(coffer_sftp::SessionError::Mismatch.into()),
        }
        self.pump(index)
    }

    /// Sends more of a file, until enough is under way or it is at its end.
    fn pump(&mut self, index: usize) -> Result<(), ClientError> {
        let Some(file) = self.files[index].as_mut() else { return Ok(()) };
        while file.pieces < PIECES && !file.closing {
            let count = fill(&mut file.source, &mut self.buffer).map_err(local(&file.local))?;
            if count > 0 {
                let data = &self.buffer[..count];
                let id = self.session.put(&Request::Write { handle: &file.handle, offset: file.offset, data });
                self.asked.insert(id, (index, Step::Write(count as u64)));
                file.offset += count as u64;
                file.pieces += 1;
            }
            if count < self.buffer.len() {
                // The server does one thing after the other, so what is written is written before.
                let id = self.session.put(&Request::Close { handle: &file.handle });
                self.asked.insert(id, (index, Step::Close));
                file.closing = true;
            }
            if self.session.waiting() >= GATHERED {
                self.session.flush()?;
            }
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
