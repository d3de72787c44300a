//! Many files out of an instance, several under way at a time.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use coffer_sftp::{Attributes, Flags, MOST_DATA, Reply, Request, SessionError, Status};

use super::{PIECES, Sftp, Through, UNDER_WAY, at, local};
use crate::ClientError;

/// Makes the local file when the other end has opened its own.
pub type Make<'a> = Box<dyn FnOnce() -> std::io::Result<File> + 'a>;

/// Files that are fetched. What fails is told by whatever call comes to know of it.
pub struct Downloads<'a> {
    session: &'a mut Sftp,
    through: Through<'a>,
    /// What each request that is not answered was for.
    asked: HashMap<u32, (usize, Step)>,
    files: Vec<Option<Fetching<'a>>>,
    under_way: usize,
}

/// What an answer is awaited for.
#[derive(Clone, Copy)]
enum Step {
    Open,
    Read { offset: u64, length: u32 },
    Close,
}

/// A file that is fetched.
struct Fetching<'a> {
    make: Option<Make<'a>>,
    target: Option<File>,
    local: PathBuf,
    path: Vec<u8>,
    handle: Vec<u8>,
    /// Where the next request begins.
    next: u64,
    /// Where the file ends, as far as is known.
    end: u64,
    pieces: usize,
    closing: bool,
}

impl<'a> Downloads<'a> {
    /// Fetches files over a conversation in which nothing else is under way.
    pub fn new(session: &'a mut Sftp, through: Through<'a>) -> Self {
        Self { session, through, asked: HashMap::new(), files: Vec::new(), under_way: 0 }
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

    /// Fetches a file of this size, or begins to. A size of 0 may be one that is not known: it is read to its end.
    ///
    /// # Errors
    /// What failed until then, of this file or of one before.
    pub fn fetch(&mut self, path: Vec<u8>, size: u64, local: PathBuf, make: Make<'a>) -> Result<(), ClientError> {
        while self.under_way >= UNDER_WAY {
            self.step()?;
        }
        let id = self.session.put(&Request::Open { path: &path, flags: Flags::READ, attributes: Attributes::default() });
        let end = if size == 0 { u64::MAX } else { size };
        let fetching =
            Fetching { make: Some(make), target: None, local, path, handle: Vec::new(), next: 0, end, pieces: 0, closing: false };
        let free = self.files.iter().position(Option::is_none);
        let index = free.unwrap_or(self.files.len());
        match free {
            Some(index) => self.files[index] = Some(fetching),
            None => self.files.push(Some(fetching)),
        }
        self.asked.insert(id, (index, Step::Open));
        self.under_way += 1;
        Ok(())
    }

    /// Takes one answer and does what follows from it.
    fn step(&mut self) -> Result<(), ClientError> {
        let (id, reply) = self.session.answer()?;
        let (index, step) = self.asked.remove(&id).ok_or(SessionError::Mismatch)?;
        let file = self.files[index].as_mut().ok_or(SessionError::Mismatch)?;
        match (step, reply) {
            (Step::Open, Reply::Handle(handle)) => {
                file.handle = handle.to_vec();
                if let Some(make) = file.make.take() {
                    file.target = Some(make().map_err(local(&file.local))?);
                }
            }
            (Step::Read { offset, length }, Reply::Data(data)) if data.len() <= length as usize => {
                file.pieces -= 1;
                if let Some(target) = &file.target {
                    target.write_all_at(data, offset).map_err(local(&file.local))?;
                }
                (self.through)(data.len() as u64);
                let got = data.len() as u32;
                if got < length {
                    // Less than was asked for is no end yet.
                    ask(self.session, &mut self.asked, index, file, offset + u64::from(got), length - got);
                }
            }
            (Step::Read { .. }, Reply::Status(Status::Eof, _)) => {
                file.pieces -= 1;
                file.end = file.next;
            }
            (Step::Close, Reply::Status(Status::Ok, _)) => {
                self.files[index] = None;
                self.under_way -= 1;
                return Ok(());
            }
            (_, Reply::Status(status, text)) => {
                let text = String::from_utf8_lossy(text).into_owned();
                return Err(at(&file.path, SessionError::Refused { status, text }));
            }
            _ => return Err(SessionError::Mismatch.into()),
        }
        self.pump(index);
        Ok(())
    }

    /// Asks for more of a file, until enough is under way or it is at its end.
    fn pump(&mut self, index: usize) {
        let Some(file) = self.files[index].as_mut() else { return };
        // Of a file whose end is not known one piece is asked for at a time.
        let most = if file.end == u64::MAX { 1 } else { PIECES };
        while file.pieces < most && file.next < file.end {
            let length = (file.end - file.next).min(MOST_DATA as u64) as u32;
            let offset = file.next;
            file.next += u64::from(length);
            ask(self.session, &mut self.asked, index, file, offset, length);
        }
        if file.pieces == 0 && !file.closing {
            file.closing = true;
            let id = self.session.put(&Request::Close { handle: &file.handle });
            self.asked.insert(id, (index, Step::Close));
        }
    }
}

fn ask(session: &mut Sftp, asked: &mut HashMap<u32, (usize, Step)>, index: usize, file: &mut Fetching<'_>, offset: u64, length: u32) {
    file.pieces += 1;
    let id = session.put(&Request::Read { handle: &file.handle, offset, length });
    asked.insert(id, (index, Step::Read { offset, length }));
}
