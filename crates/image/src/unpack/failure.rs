//! Why an archive was not unpacked or written, in a form that crosses the pipe between the worker and the daemon.

use std::io;

use serde::{Deserialize, Serialize};

/// Why an archive was not unpacked or written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The file is in no format that images have.
    #[error("the {part} file is no tar archive and no squashfs file system")]
    Format {
        /// `metadata`, `rootfs` or `backup`.
        part: String,
    },
    /// The file is in a format, or uses a feature of one, that is known but not supported.
    #[error("{what} is not supported; {instead}")]
    Unsupported {
        /// What is not supported.
        what: String,
        /// What to do instead.
        instead: String,
    },
    /// The archive's bytes are damaged or end too early.
    #[error("the {part} file is damaged: {why}")]
    Damaged {
        /// `metadata`, `rootfs` or `backup`.
        part: String,
        /// What was found.
        why: String,
    },
    /// A member of the archive is refused.
    #[error("the archive's member {member}: {why}")]
    Refused {
        /// The member's name, made printable.
        member: String,
        /// Why.
        why: String,
    },
    /// Nothing that was unpacked is a root file system.
    #[error("the image has no rootfs directory")]
    NoRootfs,
    /// The archive has no `metadata.yaml`.
    #[error("the image has no metadata.yaml")]
    NoMetadata,
    /// The archive is no backup, or not a whole one.
    #[error("the backup has no {what}")]
    Incomplete {
        /// What is missing.
        what: String,
    },
    /// The image is larger than it may be.
    #[error("the archive has more than {limit} {unit}, which is the limit here")]
    Limit {
        /// The limit.
        limit: u64,
        /// `bytes` or `files`.
        unit: String,
    },
    /// Writing a member failed: the disk may be full.
    #[error("{doing} {member}: {}", io::Error::from_raw_os_error(*errno))]
    Write {
        /// What was being done: `writing`, `making the directory`.
        doing: String,
        /// The member's name, made printable.
        member: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// Reading the image's file failed.
    #[error("reading the {part} file: {}", io::Error::from_raw_os_error(*errno))]
    Read {
        /// `metadata`, `rootfs` or `backup`.
        part: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The process that unpacked was killed: by its limits, its system call filter or the machine's want of memory.
    #[error("the unpacker ended by {how}")]
    Ended {
        /// `signal 9`, `status 101`.
        how: String,
    },
    /// The unpacker could not lock itself in, and so did not begin.
    #[error("confining the unpacker: {step}: {}", io::Error::from_raw_os_error(*errno))]
    Confine {
        /// The step that failed.
        step: String,
        /// The kernel's error number.
        errno: i32,
    },
}

/// The class of a [`Failure`], for whoever answers the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The image is at fault.
    BadImage,
    /// The image is larger than allowed, or the disk is full.
    NoRoom,
    /// The machine is at fault.
    System,
}

impl Failure {
    /// The class of this failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Format { .. } | Self::Unsupported { .. } | Self::Damaged { .. } | Self::Refused { .. } => FailureKind::BadImage,
            Self::NoRootfs | Self::NoMetadata | Self::Incomplete { .. } => FailureKind::BadImage,
            Self::Limit { .. } => FailureKind::NoRoom,
            Self::Write { errno, .. } if matches!(*errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => FailureKind::NoRoom,
            Self::Write { .. } | Self::Read { .. } | Self::Ended { .. } | Self::Confine { .. } => FailureKind::System,
        }
    }

    pub(crate) fn refused(member: &[u8], why: impl Into<String>) -> Self {
        Self::Refused { member: printable(member), why: why.into() }
    }

    pub(crate) fn write(doing: &str, member: &[u8], errno: rustix::io::Errno) -> Self {
        Self::Write { doing: doing.to_owned(), member: printable(member), errno: errno.raw_os_error() }
    }

    pub(crate) fn damaged(part: &str, why: impl Into<String>) -> Self {
        Self::Damaged { part: part.to_owned(), why: why.into() }
    }

    pub(crate) fn confine(step: &str, errno: impl Into<io::Error>) -> Self {
        Self::Confine { step: step.to_owned(), errno: errno.into().raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// A member's name as text that is safe in a log or on a terminal, at most 200 characters.
pub(crate) fn printable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String = text.chars().take(200).flat_map(char::escape_debug).collect();
    if text.chars().count() > 200 {
        shown.push('…');
    }
    shown
}
