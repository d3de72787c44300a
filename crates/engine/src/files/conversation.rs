//! A conversation about an instance's files: one thing at a time.

use coffer_model::{InstanceName, ProjectName, Time};
use coffer_sftp::{Attributes, Flags, Kind, Reading, Request, SessionError, Status, Writing};
use serde_json::json;

use super::server::{InUse, PATIENCE, Talk};
use crate::Engine;
use crate::error::EngineError;
use crate::events::{Caller, EventBody, Lifecycle};

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a named pipe or a socket.
    Special,
}

/// What is known of a file; the ids are those inside the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// What it is.
    pub kind: FileKind,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// When it was last written.
    pub modified: Time,
    /// Its size in bytes.
    pub size: u64,
}

/// What something that is made gets; absent is up to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewFile {
    /// Its user inside.
    pub uid: Option<u32>,
    /// Its group inside.
    pub gid: Option<u32>,
    /// Its permission bits.
    pub mode: Option<u32>,
}

/// A conversation about an instance's files. All calls block.
pub struct Files {
    engine: Engine,
    project: ProjectName,
    name: InstanceName,
    in_use: InUse,
    /// None once the stream has failed.
    talk: Option<Talk>,
    under_way: UnderWay,
}

/// What was begun and not ended.
enum UnderWay {
    Nothing,
    Reading(Reading),
    Writing(Writing),
}

impl Files {
    pub(super) fn new(engine: Engine, project: ProjectName, name: InstanceName, in_use: InUse, talk: Talk) -> Self {
        Self { engine, project, name, in_use, talk: Some(talk), under_way: UnderWay::Nothing }
    }

    /// Says what lies at a path; a link in the last place is the link itself.
    ///
    /// # Errors
    /// If nothing does.
    pub fn look(&mut self, path: &str) -> Result<FileInfo, EngineError> {
        self.with(path, |talk| talk.look(path.as_bytes(), false)).map(info)
    }

    /// Lists a directory, sorted. Names that are no UTF-8 are shown as well as can be.
    ///
    /// # Errors
    /// If it is none.
    pub fn list(&mut self, path: &str) -> Result<Vec<String>, EngineError> {
        let names = self.with(path, |talk| talk.list(path.as_bytes()))?;
        let mut names: Vec<String> = names.into_iter().map(|name| String::from_utf8_lossy(&name.name).into_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// Reads a symbolic link.
    ///
    /// # Errors
    /// If it is none.
    pub fn read_link(&mut self, path: &str) -> Result<Vec<u8>, EngineError> {
        self.with(path, |talk| talk.read_link(path.as_bytes()))
    }

    /// Begins to read a regular file; what it is, is of the one that was opened. A size of 0 may mean that the kernel does not
    /// say it, as of files in `/proc`: they are read to their end.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(&mut self, path: &str) -> Result<FileInfo, EngineError> {
        let (handle, attributes) = self.with(path, |talk| {
            let handle = talk.open(path.as_bytes(), Flags::READ, Attributes::default())?;
            match talk.ask(&Request::LookAtOpen { handle: &handle })? {
                coffer_sftp::Reply::Attributes(attributes) => Ok((handle, attributes)),
                _ => Err(SessionError::Mismatch),
            }
        })?;
        let info = info(attributes);
        self.under_way = UnderWay::Reading(Reading::new(handle, if info.size == 0 { u64::MAX } else { info.size }));
        Ok(info)
    }

    /// Reads on in the file that was opened; empty at its end, after which it is closed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&mut self) -> Result<Vec<u8>, EngineError> {
        let UnderWay::Reading(mut reading) = std::mem::replace(&mut self.under_way, UnderWay::Nothing) else { return Ok(Vec::new()) };
        // After a failure the file is open on the other side for nothing: with the conversation it is closed.
        let data = self.with("", |talk| reading.next(talk)).inspect_err(|_| self.talk = None)?;
        if data.is_empty() {
            self.with("", |talk| reading.close(talk))?;
        } else {
            self.under_way = UnderWay::Reading(reading);
        }
        Ok(data)
    }

    /// Begins to write a regular file, made if it is not there; `new` is for one that is made.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn create(&mut self, path: &str, new: NewFile, append: bool) -> Result<(), EngineError> {
        let how = if append { Flags::APPEND } else { Flags::TRUNCATE };
        let attributes = given(new, 0o644);
        let handle = self.with(path, |talk| talk.open(path.as_bytes(), Flags::WRITE | Flags::CREATE | how, attributes))?;
        self.under_way = UnderWay::Writing(Writing::new(handle));
        Ok(())
    }

    /// Writes on in the file that was begun.
    ///
    /// # Errors
    /// If what was written before cannot be.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let UnderWay::Writing(mut writing) = std::mem::replace(&mut self.under_way, UnderWay::Nothing) else { return Ok(()) };
        let written = self.with("", |talk| writing.write(talk, bytes));
        self.under_way = UnderWay::Writing(writing);
        written
    }

    /// Ends the writing of the file that was begun.
    ///
    /// # Errors
    /// If what was written cannot be.
    pub fn finish(&mut self) -> Result<(), EngineError> {
        let UnderWay::Writing(writing) = std::mem::replace(&mut self.under_way, UnderWay::Nothing) else { return Ok(()) };
        self.with("", |talk| writing.close(talk))
    }

    /// Makes a directory; one that is there is fine, and stays as it is.
    ///
    /// # Errors
    /// If something else has the name, or what is above is missing.
    pub fn make_directory(&mut self, path: &str, new: NewFile) -> Result<(), EngineError> {
        let attributes = given(new, 0o750);
        self.with(path, |talk| match talk.tell(&Request::MakeDirectory { path: path.as_bytes(), attributes }) {
            Err(error) if error.is_refusal() => match talk.look(path.as_bytes(), true) {
                Ok(there) if there.kind() == Kind::Directory => Ok(()),
                _ => Err(error),
            },
            made => made,
        })
    }

    /// Makes a symbolic link; one that is there with the same target is fine.
    ///
    /// # Errors
    /// If something else has the name.
    pub fn make_link(&mut self, path: &str, target: &[u8]) -> Result<(), EngineError> {
        self.with(path, |talk| match talk.tell(&Request::Link { target, path: path.as_bytes() }) {
            Err(error) if error.is_refusal() => match talk.read_link(path.as_bytes()) {
                Ok(there) if there == target => Ok(()),
                _ => Err(error),
            },
            made => made,
        })
    }

    /// Removes a file, a link or an empty directory.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove(&mut self, path: &str) -> Result<(), EngineError> {
        self.with(path, |talk| match talk.tell(&Request::Remove { path: path.as_bytes() }) {
            Err(SessionError::Refused { status: Status::IsADirectory, .. }) => {
                talk.tell(&Request::RemoveDirectory { path: path.as_bytes() })
            }
            removed => removed,
        })
    }

    /// Tells the listeners what was done with a path.
    pub fn tell(&self, action: &'static str, path: &str, caller: &Caller) {
        let source = format!("/1.0/instances/{}", self.name);
        let context = Some(json!({ "path": path }));
        let body = Lifecycle { action, source, context, requestor: Some(caller.clone()) };
        self.engine.events().send(Some(self.project.clone()), EventBody::Lifecycle(body));
    }

    /// Asks something. After the stream has failed nothing more can be.
    fn with<T>(&mut self, path: &str, ask: impl FnOnce(&mut Talk) -> Result<T, SessionError>) -> Result<T, EngineError> {
        let asked = match &mut self.talk {
            Some(talk) => ask(talk),
            None => Err(SessionError::Closed),
        };
        asked.map_err(|cause| {
            if !cause.is_refusal() {
                self.talk = None;
            }
            let cause = unanswered(cause);
            match cause.status() {
                Some(_) if !path.is_empty() => EngineError::File { instance: self.name.clone(), path: path.to_owned(), cause },
                _ => EngineError::Files { instance: self.name.clone(), cause },
            }
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // A conversation in which something is under way ends, and with it what is open in it.
        if let (Some(talk), UnderWay::Nothing) = (self.talk.take(), &self.under_way) {
            self.in_use.keep(talk);
        }
        self.in_use.leave(&self.engine.inner.runtime);
    }
}

/// Says of a stream that was waited for too long what that may mean.
fn unanswered(cause: SessionError) -> SessionError {
    match cause {
        SessionError::Stream(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            let text = format!("no answer within {} seconds; a file system inside may hang", PATIENCE.as_secs());
            SessionError::Stream(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
        }
        other => other,
    }
}

fn info(attributes: Attributes) -> FileInfo {
    let (uid, gid) = attributes.owner.unwrap_or_default();
    let (_, written) = attributes.times.unwrap_or_default();
    FileInfo {
        kind: match attributes.kind() {
            Kind::File => FileKind::File,
            Kind::Directory => FileKind::Directory,
            Kind::Symlink => FileKind::Symlink,
            Kind::Special => FileKind::Special,
        },
        uid,
        gid,
        mode: attributes.permissions().unwrap_or(0),
        modified: Time::from_second(written.into()).unwrap_or_default(),
        size: attributes.size.unwrap_or(0),
    }
}

fn given(new: NewFile, mode: u32) -> Attributes {
    let owner = (new.uid.unwrap_or(0), new.gid.unwrap_or(0));
    Attributes { owner: Some(owner), mode: Some(new.mode.unwrap_or(mode)), ..Attributes::default() }
}
