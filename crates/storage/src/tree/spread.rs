//! Where on the device new trees begin.

use std::os::fd::BorrowedFd;

use rustix::fs::IFlags;

/// Asks the file system to put each directory that is made here at a place of its own on the device, with room around it.
///
/// Without that ext4 puts a new tree beside its neighbours, also where one was just removed; there making a file looks at each
/// inode that was freed in the last half minute, which takes milliseconds when those were thousands. A hint and no more: other
/// file systems do not know it.
///
/// Source: chattr(1), attribute T; fs/ext4/ialloc.c, `find_group_orlov` and `recently_deleted`.
pub(crate) fn spread(directory: BorrowedFd<'_>) {
    if let Ok(flags) = rustix::fs::ioctl_getflags(directory)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = rustix::fs::ioctl_setflags(directory, flags | IFlags::TOPDIR);
    }
}
