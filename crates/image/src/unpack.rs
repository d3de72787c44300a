//! Reading image files and backups in `coffer-unpack`, a process of its own that is locked in before it reads the first byte.
//!
//! The daemon's side is [`Unpacker`]; [`worker::main`] is the program. Between them is a socket: one order with descriptors goes
//! in, packets of JSON come out. The unpacker needs no path of the host: it is handed the image's files and the directory to
//! fill as descriptors. It has one thread that decides and writes, and others that only decompress.
//!
//! Ids on disk are the instance's own, unshifted; of device nodes only those are made that every instance has anyway; the root file system is in `rootfs/`, beside
//! `metadata.yaml` and `templates/`.

pub(crate) mod acl;
mod archive;
mod backup;
mod budget;
pub(crate) mod confine;
pub(crate) mod conversation;
mod custom;
mod delta;
pub(crate) mod devices;
mod ending;
pub(crate) mod entry;
pub(crate) mod failure;
mod filter;
mod image;
mod layers;
mod layout;
mod look;
pub(crate) mod order;
mod pax;
pub(crate) mod report;
mod send;
mod settle;
mod sparse;
mod squashfs;
mod stream;
mod tree;
mod volume;
pub mod worker;
mod xz;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use coffer_base::Progress;
use coffer_base::run::RunError;

use crate::metadata::{Metadata, MetadataError};
pub use failure::{Failure, FailureKind};
pub use order::{Confinement, Limits, Unpacked};
use order::{Line, Task};

/// The program's file name.
pub const PROGRAM: &str = "coffer-unpack";

/// The stage under which unpacking reports its progress.
const STAGE: &str = "create_instance_from_image_unpack";

/// Starts the program that reads and writes archives.
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
    /// Reads to the last byte, so that every damaged or hostile image is refused now. Otherwise compressed archives are read until
    /// it is known what they are and that their end is there; what is wrong in between is refused when it is unpacked.
    pub whole: bool,
}

/// What an image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its `metadata.yaml`.
    pub metadata: Metadata,
}

/// The lists of accounts in an image of layers: empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Its `/etc/passwd`.
    pub passwd: String,
    /// Its `/etc/group`.
    pub group: String,
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
    /// A device node could not be made.
    #[error("making a device node")]
    Device(#[source] io::Error),
}

impl UnpackError {
    /// What a last line means that is no result of the task: why it failed.
    pub(crate) fn unexpected(line: Line) -> Self {
        match line {
            Line::Failed(failure) => failure.into(),
            line => Self::Silent { said: format!("{line:?}") },
        }
    }

    /// The class of this error, for whoever answers the user.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Failed(failure) => failure.kind(),
            Self::Metadata(_) => FailureKind::BadImage,
            Self::Start(_) | Self::Talk(_) | Self::Silent { .. } | Self::Device(_) => FailureKind::System,
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
        let task = Task::Unpack { split: request.rootfs.is_some(), limits: request.limits };
        let files: Vec<_> = [Some(request.metadata), request.rootfs, Some(request.target)].into_iter().flatten().collect();
        let total = total(request.metadata, request.rootfs)?;
        let heard = self.converse(task, &files, progress, |done| progress.report(STAGE, done, Some(total)))?;
        let mut unpacked = match heard.last {
            Line::Unpacked(unpacked) => unpacked,
            line => return Err(UnpackError::unexpected(line)),
        };
        devices::make_all(&heard.devices, &mut unpacked, |_| devices::open_rootfs(request.target).map(Some))?;
        Ok(unpacked)
    }

    /// Reads an image without writing anything. Blocks until it is done.
    ///
    /// # Errors
    /// See [`UnpackError`] and [`Failure`].
    pub fn inspect(&self, request: &InspectRequest<'_>, progress: &Progress) -> Result<Inspected, UnpackError> {
        let task = Task::Inspect { split: request.rootfs.is_some(), limits: request.limits, whole: request.whole };
        let files: Vec<_> = [Some(request.metadata), request.rootfs].into_iter().flatten().collect();
        let total = total(request.metadata, request.rootfs)?;
        let heard = self.converse(task, &files, progress, |done| progress.report(STAGE, done, Some(total)))?;
        match heard.last {
            Line::Inspected => Ok(Inspected { metadata: Metadata::parse(heard.text.as_bytes())? }),
            line => Err(UnpackError::unexpected(line)),
        }
    }
}

impl Unpacker {
    /// Unpacks layers over each other, the lowest first, into a directory that gets `rootfs/`. Blocks until it is done; what a
    /// failure leaves in the target is the caller's to remove.
    ///
    /// # Errors
    /// See [`UnpackError`] and [`Failure`].
    pub fn unpack_layers(
        &self,
        layers: &[BorrowedFd<'_>],
        target: BorrowedFd<'_>,
        limits: Limits,
        progress: &Progress,
    ) -> Result<Unpacked, UnpackError> {
        let files: Vec<_> = layers.iter().copied().chain([target]).collect();
        let total = total_of(layers)?;
        let heard = self.converse(Task::UnpackLayers { limits }, &files, progress, |done| progress.report(STAGE, done, Some(total)))?;
        match heard.last {
            Line::Unpacked(unpacked) => Ok(unpacked),
            line => Err(UnpackError::unexpected(line)),
        }
    }

    /// Reads layers to their ends without writing anything; answers the accounts in them. Blocks until it is done.
    ///
    /// # Errors
    /// See [`UnpackError`] and [`Failure`].
    pub fn inspect_layers(&self, layers: &[BorrowedFd<'_>], limits: Limits, progress: &Progress) -> Result<Accounts, UnpackError> {
        let total = total_of(layers)?;
        let heard = self.converse(Task::InspectLayers { limits }, layers, progress, |done| progress.report(STAGE, done, Some(total)))?;
        match heard.last {
            Line::Inspected => Ok(Accounts { passwd: heard.text, group: heard.configuration.unwrap_or_default() }),
            line => Err(UnpackError::unexpected(line)),
        }
    }
}

impl Unpacker {
    /// Makes a file of at most `limit` bytes out of another file and a delta of the two; `target` is empty. Answers its bytes:
    /// whether they are the right ones, only their hash tells. Blocks until it is done.
    ///
    /// # Errors
    /// See [`UnpackError`] and [`Failure`].
    pub fn patch(
        &self,
        base: BorrowedFd<'_>,
        delta: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        limit: u64,
        progress: &Progress,
    ) -> Result<u64, UnpackError> {
        let heard =
            self.converse(Task::Patch { limit }, &[base, delta, target], progress, |done| progress.report(STAGE, done, Some(limit)))?;
        match heard.last {
            Line::Patched { bytes } => Ok(bytes),
            line => Err(UnpackError::unexpected(line)),
        }
    }
}

/// Bytes of layers.
fn total_of(layers: &[BorrowedFd<'_>]) -> Result<u64, UnpackError> {
    layers.iter().map(|layer| crate::receive::size_of(*layer)).sum::<io::Result<u64>>().map_err(UnpackError::Talk)
}

/// Bytes of an image's files.
fn total(metadata: BorrowedFd<'_>, rootfs: Option<BorrowedFd<'_>>) -> Result<u64, UnpackError> {
    let sizes = [Some(metadata), rootfs].into_iter().flatten().map(crate::receive::size_of);
    sizes.sum::<io::Result<u64>>().map_err(UnpackError::Talk)
}
