//! Descriptors of files: opening them below a directory, again, and what they are of.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Opens a path below a directory, asking again where the kernel is unsure.
///
/// A `..` (or a link with one) in a walk that must not leave its directory fails with `EAGAIN` when anybody on the whole
/// machine renamed a directory or mounted something during the walk. That says nothing of this path, so everything of ours
/// opens by this function.
///
/// # Errors
/// Those of openat2(2); `EAGAIN` when the machine does not come to rest in a thousand walks.
///
/// Source: openat2(2), "ERRORS".
pub fn openat2(dir: impl AsFd, path: impl rustix::path::Arg, flags: OFlags, mode: Mode, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    path.into_with_c_str(|path| {
        for _ in 0..1000 {
            #[expect(clippy::disallowed_methods, reason = "the place that asks again")]
            match rustix::fs::openat2(&dir, path, flags, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    })
}

/// Opens again what a handle (`O_PATH`) stands for, with other access.
///
/// # Errors
/// `EACCES`, `EROFS`; `ELOOP` for a link.
///
/// Source: proc(5), `/proc/self/fd`.
pub fn reopen(handle: BorrowedFd<'_>, access: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(own_link(handle), access | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
}

/// Says what kind of file this is.
#[must_use]
pub fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The path by which this process reaches what a descriptor is open on, whatever its name means by now.
///
/// Source: proc(5), `/proc/self/fd`.
#[must_use]
pub fn own_link(handle: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}
