//! Pipes that nobody else has a name for.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;

/// Which end of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What was written is read here.
    Read,
    /// What is to be read is written here.
    Write,
}

/// Tells which end of a pipe from pipe(2) a descriptor is; `None` for anything else, also for a FIFO with a path.
///
/// # Errors
/// None in practice.
///
/// Source: `PIPEFS_MAGIC`, statfs(2); `F_GETFL`, fcntl(2).
pub fn end(fd: BorrowedFd<'_>) -> io::Result<Option<End>> {
    /// Source: linux/magic.h.
    const PIPEFS_MAGIC: i64 = 0x5049_5045;
    if rustix::fs::fstatfs(fd)?.f_type as i64 != PIPEFS_MAGIC {
        return Ok(None);
    }
    Ok(match rustix::fs::fcntl_getfl(fd)? & OFlags::ACCMODE {
        OFlags::RDONLY => Some(End::Read),
        OFlags::WRONLY => Some(End::Write),
        // Opened anew for both through /proc.
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn ends_of_pipes_are_told_from_all_else() {
        let (read, write) = io::pipe().unwrap();
        assert_eq!(end(read.as_fd()).unwrap(), Some(End::Read));
        assert_eq!(end(write.as_fd()).unwrap(), Some(End::Write));
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(end(null.as_fd()).unwrap(), None);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let named = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        assert_eq!(end(named.as_fd()).unwrap(), None);
    }
}
