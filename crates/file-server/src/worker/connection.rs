//! One connection: requests read in order, answers written when no request waits any more.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use coffer_sftp::{Frames, MOST_DATA, Malformed, Names, Reply, Request, Status, VERSION, extension, write_data, write_version};
use coffer_sys::path::Root;

use super::handles::{Handles, Open};
use super::{extensions, tree};

/// Answers are sent when they have become so many bytes, even if requests still wait.
const ENOUGH: usize = MOST_DATA;

/// The extensions that are announced, with their versions.
const EXTENSIONS: [(&str, &str); 8] = [
    (extension::POSIX_RENAME, "1"),
    (extension::STATVFS, "2"),
    (extension::FSTATVFS, "2"),
    (extension::HARD_LINK, "1"),
    (extension::SYNC, "1"),
    (extension::SET_LINK, "1"),
    (extension::LIMITS, "1"),
    (coffer_sftp::MORE_CODES, "1"),
];

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: Status,
    pub(super) text: Cow<'static, str>,
}

/// What becomes of a request.
pub(super) type Result<T> = std::result::Result<T, Denied>;

impl Denied {
    pub(super) fn new(status: Status, text: &'static str) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<io::Error> for Denied {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        // Numbers are for programs, and those have the status.
        let text = text.split(" (os error").next().unwrap_or_default().to_owned();
        Self { status: Status::of(&error), text: text.into() }
    }
}

impl From<rustix::io::Errno> for Denied {
    fn from(errno: rustix::io::Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<Malformed> for Denied {
    fn from(malformed: Malformed) -> Self {
        Self { status: Status::BadMessage, text: malformed.to_string().into() }
    }
}

/// One connection.
pub(super) struct Connection {
    stream: File,
    root: Root,
    handles: Handles,
    out: Vec<u8>,
    /// The client understands more codes than version 3 has.
    more_codes: bool,
}

impl Connection {
    pub(super) fn new(stream: File, root: Root) -> Self {
        Self { stream, root, handles: Handles::default(), out: Vec::new(), more_codes: false }
    }

    /// Serves until the client has hung up, or sends what no client would.
    pub(super) fn serve(mut self) {
        let mut frames = Frames::default();
        loop {
            while let Ok(Some(packet)) = frames.cut() {
                if self.packet(packet).is_err() || (self.out.len() >= ENOUGH && self.send().is_err()) {
                    return;
                }
            }
            // A length that cannot be: there is no way to find the next packet.
            if frames.has_next() || self.send().is_err() || !frames.fill(&mut self.stream).unwrap_or(false) {
                return;
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.out);
        self.out.clear();
        // What one large answer took is not kept.
        self.out.shrink_to(2 * MOST_DATA);
        sent
    }

    fn packet(&mut self, packet: &[u8]) -> std::result::Result<(), Malformed> {
        let (id, request) = Request::read(packet)?;
        let done = match request {
            Ok(Some(request)) => self.request(id, request),
            Ok(None) => Err(Denied::new(Status::Unsupported, "there is no such request")),
            Err(malformed) => Err(malformed.into()),
        };
        if let Err(denied) = done {
            Reply::Status(denied.status, denied.text.as_bytes()).write(id, self.more_codes, &mut self.out);
        }
        Ok(())
    }

    fn request(&mut self, id: u32, request: Request<'_>) -> Result<()> {
        let root = &self.root;
        match request {
            Request::Begin { version, more_codes } => return self.begin(version, more_codes),
            Request::Open { path, flags, attributes } => {
                let file = tree::open(root, tree::path(path), flags, &attributes)?;
                return self.opened(id, Open::File(file));
            }
            Request::OpenDirectory { path } => {
                let directory = tree::open_directory(root, tree::path(path))?;
                return self.opened(id, Open::Directory(Box::new(directory)));
            }
            Request::Close { handle } => self.handles.close(handle)?,
            Request::Read { handle, offset, length } => return self.read(id, handle, offset, length),
            Request::Write { handle, offset, data } => tree::write(self.handles.file(handle)?, offset, data)?,
            Request::LookAtLink { path } => return self.attributes(id, tree::look(root, tree::path(path), false)?),
            Request::Look { path } => return self.attributes(id, tree::look(root, tree::path(path), true)?),
            Request::LookAtOpen { handle } => {
                let attributes = tree::attributes(&rustix::fs::fstat(self.handles.any(handle)?)?);
                return self.attributes(id, attributes);
            }
            Request::Set { path, attributes } => tree::set(root, tree::path(path), &attributes, true)?,
            Request::SetOpen { handle, attributes } => tree::set_open(self.handles.any(handle)?, &attributes)?,
            Request::ReadDirectory { handle } => return self.read_directory(id, handle),
            Request::Remove { path } => root.remove_file(tree::path(path))?,
            Request::MakeDirectory { path, attributes } => tree::make_directory(root, tree::path(path), &attributes)?,
            Request::RemoveDirectory { path } => root.remove_dir(tree::path(path))?,
            Request::RealPath { path } => return self.name(id, &tree::absolute(path)),
            Request::Rename { from, to } => tree::rename_new(root, tree::path(from), tree::path(to))?,
            Request::ReadLink { path } => {
                let target = root.read_link(tree::path(path))?;
                return self.name(id, std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str()));
            }
            Request::Link { target, path } => root.symlink(tree::path(target), tree::path(path))?,
            Request::Extended { name, rest } => {
                if let Some(answer) = extensions::answer(root, &self.handles, name, rest)? {
                    Reply::Extended(&answer).write(id, self.more_codes, &mut self.out);
                    return Ok(());
                }
            }
        }
        Reply::Status(Status::Ok, b"done").write(id, self.more_codes, &mut self.out);
        Ok(())
    }

    fn begin(&mut self, version: u32, more_codes: bool) -> Result<()> {
        if version < VERSION {
            return Err(Denied::new(Status::Unsupported, "this server speaks version 3"));
        }
        self.more_codes = more_codes;
        write_version(&EXTENSIONS, &mut self.out);
        Ok(())
    }

    fn opened(&mut self, id: u32, open: Open) -> Result<()> {
        let handle = self.handles.add(open)?;
        Reply::Handle(&handle).write(id, self.more_codes, &mut self.out);
        Ok(())
    }

    fn attributes(&mut self, id: u32, attributes: coffer_sftp::Attributes) -> Result<()> {
        Reply::Attributes(attributes).write(id, self.more_codes, &mut self.out);
        Ok(())
    }

    fn name(&mut self, id: u32, name: &[u8]) -> Result<()> {
        let mut names = Names::default();
        names.add(name, name, &coffer_sftp::Attributes::default());
        names.write(id, &mut self.out);
        Ok(())
    }

    fn read(&mut self, id: u32, handle: &[u8], offset: u64, length: u32) -> Result<()> {
        let file = self.handles.file(handle)?;
        let most = (length as usize).min(MOST_DATA);
        let read = |room: &mut [u8]| rustix::io::pread(file.as_fd(), room, offset);
        match write_data(id, most, &mut self.out, read)? {
            0 if length > 0 => Err(Denied::new(Status::Eof, "the file ends here")),
            0 => {
                Reply::Data(b"").write(id, self.more_codes, &mut self.out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_directory(&mut self, id: u32, handle: &[u8]) -> Result<()> {
        let names = self.handles.directory(handle)?.next()?;
        if names.count() == 0 {
            return Err(Denied::new(Status::Eof, "there are no more names"));
        }
        names.write(id, &mut self.out);
        Ok(())
    }
}
