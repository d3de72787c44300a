//! Extended attributes by descriptor.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The largest value of an attribute, in bytes. Source: linux/limits.h, `XATTR_SIZE_MAX`.
pub const MAX_VALUE: usize = 64 << 10;

/// Reads an attribute of an open file; `None` if it has none of that name.
///
/// # Errors
/// `EOPNOTSUPP` if the file system has no such attributes, `EBADF` for a descriptor opened with `O_PATH`.
///
/// Source: fgetxattr(2).
pub fn get(file: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    loop {
        let read = rustix::fs::fgetxattr_query(file, name).and_then(|size| {
            // Asking with no room at all would be the query again.
            let mut value = vec![0; size.max(1)];
            let length = rustix::fs::fgetxattr(file, name, &mut value)?;
            value.truncate(length);
            Ok(value)
        });
        match read {
            Ok(value) => return Ok(Some(value)),
            Err(Errno::NODATA) => return Ok(None),
            // It grew between the two calls.
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Sets an attribute of an open file, new or not.
///
/// # Errors
/// `EPERM` if its kind is not for this caller or file, `EOPNOTSUPP` if the file system has no such attributes, `ENOSPC`,
/// `ERANGE` beyond [`MAX_VALUE`].
///
/// Source: fsetxattr(2).
pub fn set(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?)
}

/// Removes an attribute of an open file; false if it had none of that name.
///
/// # Errors
/// As [`set`].
///
/// Source: fremovexattr(2).
pub fn remove(file: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    match rustix::fs::fremovexattr(file, name) {
        Ok(()) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Lists the names of an open file's attributes that the caller may see.
///
/// # Errors
/// `EOPNOTSUPP` if the file system has no attributes.
///
/// Source: flistxattr(2).
pub fn list(file: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    loop {
        let size = rustix::fs::flistxattr_query(file)?;
        let mut names = vec![0; size.max(1)];
        match rustix::fs::flistxattr(file, &mut names) {
            Ok(length) => {
                let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
                return Ok(names.filter_map(|name| CString::new(name).ok()).collect());
            }
            // The list grew between the two calls.
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn set_get_list_remove() {
        let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
        let file = rustix::fs::open(std::env::temp_dir(), flags, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let file = file.as_fd();
        match set(file, c"user.one", b"1") {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return println!("skipped: {error}"),
            other => other.unwrap(),
        }
        set(file, c"user.two", b"").unwrap();
        assert_eq!(get(file, c"user.one").unwrap(), Some(b"1".to_vec()));
        assert_eq!(get(file, c"user.two").unwrap(), Some(Vec::new()));
        assert_eq!(get(file, c"user.three").unwrap(), None);
        let mut names = list(file).unwrap();
        names.retain(|name| name.to_bytes().starts_with(b"user."));
        names.sort();
        assert_eq!(names, [c"user.one".to_owned(), c"user.two".to_owned()]);
        assert!(remove(file, c"user.one").unwrap());
        assert!(!remove(file, c"user.one").unwrap());
    }
}
