//! Whether a volume's file system can map ids in a mount; where it cannot, [`crate::tree::shift`] rewrites owners.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use coffer_sys::mount::{self, Change};

/// Says whether the ids in a directory can be seen through the map of a user namespace, by trying it on a mount that
/// nobody sees.
///
/// ext4, xfs, btrfs and tmpfs can; overlayfs and most of what FUSE serves cannot.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN or for the first user namespace.
///
/// Source: mount_setattr(2), MOUNT_ATTR_IDMAP.
pub fn supports_idmapped_mounts(directory: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<bool> {
    let copy = mount::copy(directory, false)?;
    match mount::change(copy.as_fd(), Change { idmap: Some(user_namespace), ..Change::default() }) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(error),
    }
}
