//! Writing archives of instances: images that are published, backups.
//!
//! The daemon's side is [`Unpacker::pack`]. The work is done by the same program that unpacks, locked in likewise: what it reads
//! was written by instances. It sees the directories to read as mounts of their own, read-only and with the ids that the instance
//! knows; it writes to one descriptor. Memory does not grow with the archive.

mod attributes;
mod blocks;
mod compressor;
mod header;
mod plan;
mod sink;
mod streams;
mod tree;
pub(crate) mod work;

use std::os::fd::{AsFd, BorrowedFd};

use coffer_base::Progress;
use serde::{Deserialize, Serialize};

use crate::unpack::order::{Confinement, Line, Task};
use crate::unpack::{UnpackError, Unpacker};
pub use compressor::{Algorithm, Compressor, UnknownCompressor};
pub use plan::Member;
pub(crate) use plan::{read as read_plan, write as write_plan};

/// An archive to write.
#[derive(Debug)]
pub struct PackRequest<'a> {
    /// What goes into it, in this order.
    pub members: &'a [Member],
    /// The directories that the members speak of.
    pub directories: &'a [BorrowedFd<'a>],
    /// The open files that the members speak of.
    pub files: &'a [BorrowedFd<'a>],
    /// What it is compressed with.
    pub compressor: Compressor,
    /// Makes the same bytes of the same files, whenever and on whatever file system they were written: times after this second
    /// since 1970 become this second, and holes are written as zeros. None keeps times and holes.
    pub reproducible: Option<i64>,
    /// Where its bytes go: a file, or a pipe that somebody empties.
    pub output: BorrowedFd<'a>,
    /// The stage under which progress is reported, in LXD's key form.
    pub stage: &'static str,
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Members.
    pub files: u64,
    /// Bytes before compression.
    pub bytes: u64,
    /// Bytes of the archive.
    pub size: u64,
    /// Sockets left out: archives have none, and what made them makes them again.
    pub skipped_sockets: u64,
    /// How the packer was locked in.
    pub confinement: Confinement,
}

impl Unpacker {
    /// Writes an archive. Blocks until all of it is written; a failure leaves its beginning.
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn pack(&self, request: &PackRequest<'_>, progress: &Progress) -> Result<Packed, UnpackError> {
        let plan = plan::write(&request.members).map_err(UnpackError::Talk)?;
        let mut files = vec![plan.as_fd(), request.output];
        files.extend_from_slice(request.files);
        files.extend_from_slice(request.directories);
        let PackRequest { compressor, reproducible, .. } = *request;
        let heard = self.converse(Task::Pack { compressor, reproducible, open: request.files.len() }, &files, progress, |done| {
            progress.report(request.stage, done, None)
        })?;
        match heard.last {
            Line::Packed(packed) => Ok(packed),
            line => Err(UnpackError::unexpected(line)),
        }
    }
}
