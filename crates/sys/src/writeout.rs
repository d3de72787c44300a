//! Having the kernel write a file's bytes to disk before anybody waits for it.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Begins to write `length` bytes of a file from `offset` on to disk, and does not wait for it. It is a wish: nothing says that the
/// bytes are there, which is what `fdatasync` is for, and what that still has to do is less.
///
/// # Errors
/// `ESPIPE` if it is no file, `EINVAL` for a range that is none, `EIO`, `ENOSPC` if writing failed.
///
/// Source: sync_file_range(2); Linux 2.6.17.
pub fn begin(file: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    let range = |value: u64| i64::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let (offset, length) = (range(offset)?, range(length)?);
    // SAFETY: the call takes numbers only; the descriptor is open as long as it is borrowed.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    #[test]
    fn only_files_are_written_out() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        begin(file.as_fd(), 0, 100_000).unwrap();
        begin(file.as_fd(), 1 << 40, 1).unwrap();
        assert_eq!(begin(file.as_fd(), u64::MAX, 1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let (read, _write) = io::pipe().unwrap();
        assert_eq!(begin(read.as_fd(), 0, 1).unwrap_err().raw_os_error(), Some(libc::ESPIPE));
    }
}
