//! The file in the instance's directory.
//!
//! The directory's other names may be anybody's (an imported backup put them there), so nothing is followed: a new file
//! is written whole beside the old name and then takes it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};

use super::{BackupError, Document, LIMIT, parse};

/// The file's name.
pub const NAME: &str = "backup.yaml";

/// The name under which it is written before it takes its own.
const NEW: &str = ".backup.yaml.new";

/// Writes the document into a directory in place of the one there, so that at any moment a whole one is there. It is
/// durable when this returns. Only root may read the file: keys can hold secrets.
///
/// # Errors
/// [`BackupError::File`] and [`BackupError::TooLarge`]; the old document is still there then.
pub fn write(directory: BorrowedFd<'_>, document: &Document) -> Result<(), BackupError> {
    put_in_place(directory, document, |directory| Ok(rustix::fs::fsync(directory)?))
}

/// Writes as [`write`] does for a caller who has the file system commit right after. Until that has happened a power loss may
/// give the old document back, as whole as the new one.
///
/// # Errors
/// As [`write`].
pub fn write_before_commit(directory: BorrowedFd<'_>, document: &Document) -> Result<(), BackupError> {
    put_in_place(directory, document, |_| Ok(()))
}

/// Reads the document in a directory; `None` where there is none.
///
/// # Errors
/// See [`BackupError`]; a link or other special file under that name is not opened.
pub fn read(directory: BorrowedFd<'_>) -> Result<Option<Document>, BackupError> {
    let failed = |cause: io::Error| BackupError::File { doing: "reading", cause };
    // Not to block: the name could be a FIFO's.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, NAME, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        // Links and sockets cannot be opened so.
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Err(BackupError::NotAFile),
        Err(error) => return Err(failed(error.into())),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(BackupError::NotAFile);
    }
    let mut text = String::new();
    let most = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_string(&mut text).map_err(failed)?;
    parse(&text).map(Some)
}

/// Puts a document in place of the old one, and has `settle` make its name durable.
fn put_in_place(directory: BorrowedFd<'_>, document: &Document, settle: fn(BorrowedFd<'_>) -> io::Result<()>) -> Result<(), BackupError> {
    let text = document.to_yaml()?;
    replace(directory, text.as_bytes(), settle).map_err(|cause| BackupError::File { doing: "writing", cause })
}

fn replace(directory: BorrowedFd<'_>, text: &[u8], settle: fn(BorrowedFd<'_>) -> io::Result<()>) -> io::Result<()> {
    // A description of our own: the caller's may be a mere path, which can be neither locked nor synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    // One writer at a time, as they share the name; released when `own` is closed.
    rustix::fs::flock(&own, FlockOperation::LockExclusive)?;
    let result = put(own.as_fd(), text).and_then(|()| settle(own.as_fd()));
    if result.is_err() {
        // The error to tell is the first one; what stays is removed by the next write.
        let _ = rustix::fs::unlinkat(&own, NEW, AtFlags::empty());
    }
    result
}

fn put(directory: BorrowedFd<'_>, text: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, NEW, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => (),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, NEW, flags, Mode::RUSR)?);
    file.write_all(text)?;
    file.sync_all()?;
    Ok(rustix::fs::renameat(directory, NEW, directory, NAME)?)
}
