//! Reading image files in `coffer-unpack`, a process of its own that is locked in before it reads the first byte.
//!
//! The daemon's side is [`Unpacker`]; [`worker::main`] is the program. Between them is a socket: one order with descriptors goes
//! in, packets of JSON come out. The unpacker needs no path of the host: it is handed the image's files and the directory to
//! fill as descriptors. It has one thread that decides and writes, and others that only decompress.
//!
//! Ids on disk are the instance's own, unshifted; device nodes are left out; the root file system is in `rootfs/`, beside
//! `metadata.yaml` and `templates/`.

mod acl;
mod archive;
mod budget;
mod confine;
mod entry;
mod failure;
mod filter;
mod layout;
mod look;
mod order;
mod pax;
mod report;
mod sparse;
mod squashfs;
mod stream;
mod tree;
pub mod worker;
mod xz;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use coffer_base::Progress;
use coffer_base::run::{Program, RunError};
use coffer_sys::socket::PacketSocket;

use crate::metadata::{Metadata, MetadataError};
pub use failure::{Failure, FailureKind};
pub use order::{Confinement, Limits, Unpacked};
use order::{Line, Order, Task};

/// The program's file name.
pub const PROGRAM: &str = "coffer-unpack";

/// The stage under which unpacking reports its progress.
const STAGE: &str = "create_instance_from_image_unpack";

/// The largest packet that the unpacker sends, in bytes.
const MAX_PACKET: usize = 160 << 10;

/// Starts unpackers.
#[derive(Clone, Debug)]
pub struct Unpacker {
    program: PathBuf,
}

/// An image to unpack.
#[derive(Debug)]
pub struct UnpackRequest<'a> {
    /// The unified archive, or the metadata's.
    pub metadata: BorrowedFd<'a>,
    /// The root file system's file of a split image.
    pub rootfs: Option<BorrowedFd<'a>>,
    /// The directory that gets `rootfs/`, `metadata.yaml` and `templates/`; on disk it should be empty and belong to root.
    pub target: BorrowedFd<'a>,
    /// How much the image may hold.
    pub limits: Limits,
}

/// An image to read without writing.
#[derive(Debug)]
pub struct InspectRequest<'a> {
    /// The unified archive, or the metadata's.
    pub metadata: BorrowedFd<'a>,
    /// The root file system's file of a split image.
    pub rootfs: Option<BorrowedFd<'a>>,
    /// How much the image may hold.
    pub limits: Limits,
    /// Reads to the last byte, so that a damaged or hostile image is refused now; otherwise only until it is known what it is.
    pub whole: bool,
}

/// What an image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its `metadata.yaml`.
    pub metadata: Metadata,
}

/// Why an image was not read or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The unpacker could not be started.
    #[error("starting the unpacker")]
    Start(#[source] RunError),
    /// Talking to the unpacker failed.
    #[error("talking to the unpacker")]
    Talk(#[source] io::Error),
    /// The unpacker ended without saying why.
    #[error("the unpacker ended without an answer{}", if said.is_empty() { String::new() } else { format!("; it said: {said}") })]
    Silent {
        /// What it wrote instead, a panic's message for one.
        said: String,
    },
    /// The image was refused, or could not be written.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Its metadata is not accepted.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl UnpackError {
    /// The class of this error, for whoever answers the user.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed(failure) => failure.kind(),
            Self::Metadata(_) => FailureKind::BadImage,
            Self::Start(_) | Self::Talk(_) | Self::Silent { .. } => FailureKind::System,
        }
    }
}

impl Unpacker {
    /// Uses this program.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// Uses the `coffer-unpack` in the directory of the running program, or the installed one if there is none.
    #[must_use]
    pub fn beside_this_program() -> Self {
        let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(|dir| dir.join(PROGRAM)));
        Self::at(beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(PROGRAM)))
    }

    /// The program that is started.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Unpacks an image. Blocks until it is done; what a failure leaves in the target is the caller's to remove.
    ///
    /// # Errors
    /// See [`UnpackError`] and [`Failure`].
    pub fn unpack(&self, request: &UnpackRequest<'_>, progress: &Progress) -> Result<Unpacked, UnpackError> {
        let order = Order { task: Task::Unpack, split: request.rootfs.is_some(), limits: request.limits };
        let files = [Some(request.metadata), request.rootfs, Some(request.target)];
        match self.converse(order, &files, progress)? {
            (_, Line::Unpacked(unpacked)) => Ok(unpacked),
            (_, Line::Failed(failure)) => Err(failure.into()),
            (_, line) => Err(UnpackError::Silent { said: format!("{line:?}") }),
        }
    }

    /// Reads an image without writing anything. Blocks until it is done.
    ///
    /// # Errors
    /// See [`UnpackError`] and [`Failure`].
    pub fn inspect(&self, request: &InspectRequest<'_>, progress: &Progress) -> Result<Inspected, UnpackError> {
        let task = Task::Inspect { whole: request.whole };
        let order = Order { task, split: request.rootfs.is_some(), limits: request.limits };
        match self.converse(order, &[Some(request.metadata), request.rootfs], progress)? {
            (text, Line::Inspected) => Ok(Inspected { metadata: Metadata::parse(text.as_bytes())? }),
            (_, Line::Failed(failure)) => Err(failure.into()),
            (_, line) => Err(UnpackError::Silent { said: format!("{line:?}") }),
        }
    }

    /// Starts the program, gives it its order and listens to its end. Answers the metadata's text and the last line.
    fn converse(&self, order: Order, files: &[Option<BorrowedFd<'_>>], progress: &Progress) -> Result<(String, Line), UnpackError> {
        let files: Vec<BorrowedFd<'_>> = files.iter().copied().flatten().collect();
        let total = files.iter().take(1 + usize::from(order.split)).map(|file| crate::receive::size_of(*file)).sum::<io::Result<u64>>();
        let total = total.map_err(UnpackError::Talk)?;
        let (ours, theirs) = PacketSocket::pair().map_err(UnpackError::Talk)?;
        let program = Program::new(&self.program.to_string_lossy());
        let mut child = program.spawn(Some(theirs.into_fd())).map_err(UnpackError::Start)?;
        let heard = serde_json::to_vec(&order)
            .map_err(io::Error::from)
            .and_then(|text| ours.send(&[&text], &files))
            .and_then(|()| listen(&ours, |done| progress.report(STAGE, done, Some(total))));
        // Its socket is closed or of no use any more: it has ended or is about to.
        drop(ours);
        if heard.is_err() {
            let _ = child.kill();
        }
        child.wait().map_err(UnpackError::Talk)?;
        let heard = heard.map_err(UnpackError::Talk)?;
        heard.last.map(|line| (heard.metadata, line)).ok_or(UnpackError::Silent { said: heard.said.trim().to_owned() })
    }
}

/// What the unpacker said.
#[derive(Default)]
struct Heard {
    metadata: String,
    last: Option<Line>,
    /// What was no line of ours.
    said: String,
}

/// Listens until the unpacker closes its end.
fn listen(socket: &PacketSocket, mut progress: impl FnMut(u64)) -> io::Result<Heard> {
    let mut heard = Heard::default();
    while let Some(packet) = socket.receive(MAX_PACKET)? {
        match serde_json::from_slice(&packet.bytes) {
            Ok(Line::Progress { done }) => progress(done),
            // More than it may read cannot be its own; memory is not for a locked-in process to fill.
            Ok(Line::Metadata(text)) if heard.metadata.len() + text.len() <= crate::metadata::MAX_SIZE => heard.metadata.push_str(&text),
            Ok(Line::Metadata(_)) => {}
            Ok(line) => heard.last = Some(line),
            Err(_) if heard.said.len() < 2000 => heard.said.push_str(&String::from_utf8_lossy(&packet.bytes)),
            Err(_) => {}
        }
    }
    Ok(heard)
}
