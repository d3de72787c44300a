//! How a request went.

use std::io;

/// How a request went. The codes behind `Unsupported` are sent only to clients that asked for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Ok,
    /// There is nothing more to read.
    Eof,
    /// There is no such file.
    NoSuchFile,
    /// It is not allowed.
    PermissionDenied,
    /// It failed for another reason.
    Failure,
    /// The request is malformed.
    BadMessage,
    /// The server does not do that.
    Unsupported,
    /// The name is taken.
    Exists,
    /// The file system can only be read.
    ReadOnly,
    /// The file system is full.
    NoSpace,
    /// A quota is used up.
    Quota,
    /// The handle means nothing.
    BadHandle,
    /// The directory is not empty.
    NotEmpty,
    /// It is no directory.
    NotADirectory,
    /// The name cannot be one.
    BadName,
    /// Symbolic links lead in a circle.
    LinkLoop,
    /// It is a directory.
    IsADirectory,
    /// It is no regular file.
    NotRegular,
}

/// Every status with its code: those up to 8 of version 3, the others of draft-ietf-secsh-filexfer-13; a private one last.
const CODES: [(Status, u32); 18] = [
    (Status::Ok, 0),
    (Status::Eof, 1),
    (Status::NoSuchFile, 2),
    (Status::PermissionDenied, 3),
    (Status::Failure, 4),
    (Status::BadMessage, 5),
    (Status::Unsupported, 8),
    (Status::BadHandle, 9),
    (Status::Exists, 11),
    (Status::ReadOnly, 12),
    (Status::NoSpace, 14),
    (Status::Quota, 15),
    (Status::NotEmpty, 18),
    (Status::NotADirectory, 19),
    (Status::BadName, 20),
    (Status::LinkLoop, 21),
    (Status::IsADirectory, 24),
    (Status::NotRegular, 200),
];

impl Status {
    /// Reads a code; one that nobody knows is a failure.
    #[must_use]
    pub fn from_code(code: u32) -> Self {
        CODES.iter().find(|(_, known)| *known == code).map_or(Self::Failure, |(status, _)| *status)
    }

    /// Its code; version 3 has no more than eight, and the rest are failures.
    #[must_use]
    pub fn code(self, more: bool) -> u32 {
        let code = CODES.iter().find(|(status, _)| *status == self).map_or(4, |(_, code)| *code);
        if more || code <= 8 { code } else { 4 }
    }

    /// The status of an error of the kernel.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind;
        match error.kind() {
            ErrorKind::NotFound => Self::NoSuchFile,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            ErrorKind::AlreadyExists => Self::Exists,
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            ErrorKind::StorageFull => Self::NoSpace,
            ErrorKind::QuotaExceeded => Self::Quota,
            ErrorKind::DirectoryNotEmpty => Self::NotEmpty,
            ErrorKind::NotADirectory => Self::NotADirectory,
            ErrorKind::InvalidFilename => Self::BadName,
            ErrorKind::IsADirectory => Self::IsADirectory,
            ErrorKind::Unsupported => Self::Unsupported,
            // ELOOP has no stable kind.
            _ if error.raw_os_error() == Some(40) => Self::LinkLoop,
            _ => Self::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back() {
        for (status, code) in CODES {
            assert_eq!((Status::from_code(code), status.code(true)), (status, code));
            assert!(status.code(false) <= 8);
        }
        assert_eq!(Status::from_code(77), Status::Failure);
    }

    #[test]
    fn errors_of_the_kernel_have_one() {
        let of = |errno| Status::of(&io::Error::from_raw_os_error(errno));
        assert_eq!(
            [of(2), of(17), of(39), of(28), of(40), of(5)],
            [Status::NoSuchFile, Status::Exists, Status::NotEmpty, Status::NoSpace, Status::LinkLoop, Status::Failure]
        );
    }
}
