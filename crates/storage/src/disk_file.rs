//! Disks in files: what a volume of block or ISO content holds.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_base::Bytes;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

/// The file's name in its volume, as LXD has it.
pub const NAME: &str = "root.img";

/// The size of a disk whose size nobody says.
pub const DEFAULT_SIZE: Bytes = Bytes(10 << 30);

/// Makes the file of a new disk; it takes no room until something is written.
///
/// # Errors
/// The kernel's answers.
pub fn create(volume: BorrowedFd<'_>, size: Bytes) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(volume, NAME, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::ftruncate(&file, size.0)?;
    Ok(file)
}

/// Opens the file of a disk for reading.
///
/// # Errors
/// `EINVAL` if something else than a file has its name.
pub fn open(volume: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    open_as(volume, OFlags::RDONLY)
}

/// The size of a disk.
///
/// # Errors
/// Those of [`open`].
pub fn size(volume: BorrowedFd<'_>) -> io::Result<Bytes> {
    Ok(Bytes(rustix::fs::fstat(open(volume)?)?.st_size.unsigned_abs()))
}

/// The room that a disk takes.
///
/// # Errors
/// Those of [`open`].
pub fn used(volume: BorrowedFd<'_>) -> io::Result<Bytes> {
    Ok(Bytes(rustix::fs::fstat(open(volume)?)?.st_blocks.unsigned_abs() * 512))
}

/// Gives a disk a larger size. A smaller one would cut off what is on it and is left to the caller to refuse.
///
/// # Errors
/// Those of [`open`].
pub fn grow(volume: BorrowedFd<'_>, size: Bytes) -> io::Result<()> {
    let file = open_as(volume, OFlags::RDWR)?;
    if rustix::fs::fstat(&file)?.st_size.unsigned_abs() < size.0 {
        rustix::fs::ftruncate(&file, size.0)?;
    }
    Ok(())
}

fn open_as(volume: BorrowedFd<'_>, mode: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    // What is no file must not make the opening wait.
    let flags = mode | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = coffer_sys::path::openat2(volume.as_fd(), NAME, flags, Mode::empty(), resolve)?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_grows_and_takes_only_the_room_that_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let volume = std::fs::File::open(directory.path()).unwrap();
        let file = create(volume.as_fd(), Bytes(1 << 30)).unwrap();
        assert_eq!(size(volume.as_fd()).unwrap(), Bytes(1 << 30));
        assert_eq!(used(volume.as_fd()).unwrap(), Bytes(0));
        rustix::io::pwrite(&file, &[1; 8192], 0).unwrap();
        grow(volume.as_fd(), Bytes(2 << 30)).unwrap();
        grow(volume.as_fd(), Bytes(1 << 20)).unwrap();
        assert_eq!(size(volume.as_fd()).unwrap(), Bytes(2 << 30));
        assert!(create(volume.as_fd(), Bytes(1)).is_err(), "a disk is never made over another one");
    }

    #[test]
    fn what_is_no_file_is_no_disk() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join(NAME)).unwrap();
        let volume = std::fs::File::open(directory.path()).unwrap();
        assert!(open(volume.as_fd()).is_err());
    }
}
