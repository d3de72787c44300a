//! Project quotas of ext4 and xfs: a number on files and directories, and a limit on what carries it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::ioctl::{Opcode, opcode};

const FS_GET_XATTR: Opcode = opcode::read::<Attributes>(b'X', 31);
const FS_SET_XATTR: Opcode = opcode::write::<Attributes>(b'X', 32);
const PROJECT_INHERIT: u32 = 0x200;

const PROJECT_QUOTA: u32 = 2;
const GET_INFO: u32 = 0x80_0005;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
const VALID_BLOCK_LIMITS: u32 = 1;
/// The unit of block limits, in bytes.
const LIMIT_UNIT: u64 = 1024;

/// What a project uses and may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProjectUsage {
    /// What its files take on the device.
    pub used: u64,
    /// The most they may take, if that is limited.
    pub limit: Option<u64>,
}

/// Whether a file system counts and limits projects, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Enabled,
    /// The kernel is built without quotas or without `quotactl_fd`.
    NoKernel,
    /// The file system can, but was not mounted with project quotas on (`prjquota`).
    NotEnabled,
    /// This kind of file system has no project quotas.
    NoFileSystem,
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Block {
    hard_limit: u64,
    soft_limit: u64,
    space: u64,
    inode_hard_limit: u64,
    inode_soft_limit: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// `struct if_dqinfo`.
#[repr(C)]
#[derive(Default)]
struct Info {
    block_grace: u64,
    inode_grace: u64,
    flags: u32,
    valid: u32,
}

const _: () = assert!(size_of::<Attributes>() == 28 && size_of::<Block>() == 72 && size_of::<Info>() == 24);

/// Says whether the file system that a descriptor is on limits projects.
///
/// # Errors
/// Only unexpected ones: the usual answers are values of [`Support`].
///
/// Source: quotactl(2), Q_GETINFO; quotactl_fd is of Linux 5.14.
pub fn support(any: BorrowedFd<'_>) -> io::Result<Support> {
    let mut info = Info::default();
    // SAFETY: Q_GETINFO writes one if_dqinfo, which `info` is.
    let result = unsafe { quotactl(any, GET_INFO, 0, &mut info) };
    let Err(error) = result else { return Ok(Support::Enabled) };
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Ok(Support::NoKernel),
        Some(libc::ESRCH) => Ok(Support::NotEnabled),
        Some(libc::ENOTBLK | libc::ENODEV | libc::EINVAL | libc::EOPNOTSUPP) => Ok(Support::NoFileSystem),
        _ => Err(error),
    }
}

/// The project number that a file or directory carries; 0 if none.
///
/// # Errors
/// `ENOTTY` or `EOPNOTSUPP` if the file system has none.
///
/// Source: FS_IOC_FSGETXATTR.
pub fn project(file: BorrowedFd<'_>) -> io::Result<u32> {
    attributes(file).map(|attributes| attributes.project)
}

/// Gives a file or directory a project number; what is made in a directory later inherits it if `inherit` is set.
///
/// # Errors
/// `EOPNOTSUPP` if the file system has none, `EINVAL` outside the first user namespace.
///
/// Source: FS_IOC_FSSETXATTR.
pub fn set_project(file: BorrowedFd<'_>, project: u32, inherit: bool) -> io::Result<()> {
    let mut attributes = attributes(file)?;
    attributes.project = project;
    attributes.flags = if inherit { attributes.flags | PROJECT_INHERIT } else { attributes.flags & !PROJECT_INHERIT };
    // SAFETY: FS_IOC_FSSETXATTR reads one fsxattr, which `attributes` is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_SET_XATTR as _, &attributes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What a project uses and may use.
///
/// # Errors
/// `ESRCH` if project quotas are not on.
///
/// Source: quotactl(2), Q_GETQUOTA.
pub fn project_usage(any: BorrowedFd<'_>, project: u32) -> io::Result<ProjectUsage> {
    let mut block = Block::default();
    // SAFETY: Q_GETQUOTA writes one if_dqblk, which `block` is.
    match unsafe { quotactl(any, GET_QUOTA, project, &mut block) } {
        // xfs says so of a project that it has never heard of.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ProjectUsage::default()),
        read => read?,
    }
    let limit = (block.hard_limit != 0).then_some(block.hard_limit * LIMIT_UNIT);
    Ok(ProjectUsage { used: block.space, limit })
}

/// Limits what a project may take, in bytes rounded up to whole KiB, or lifts the limit.
///
/// # Errors
/// `ESRCH` if project quotas are not on, `EPERM` without CAP_SYS_ADMIN.
///
/// Source: quotactl(2), Q_SETQUOTA.
pub fn set_project_limit(any: BorrowedFd<'_>, project: u32, limit: Option<u64>) -> io::Result<()> {
    let hard_limit = limit.map_or(0, |bytes| bytes.div_ceil(LIMIT_UNIT).max(1));
    let mut block = Block { hard_limit, valid: VALID_BLOCK_LIMITS, ..Block::default() };
    // SAFETY: Q_SETQUOTA reads one if_dqblk, which `block` is.
    unsafe { quotactl(any, SET_QUOTA, project, &mut block) }
}

fn attributes(file: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: FS_IOC_FSGETXATTR writes one fsxattr, which `attributes` is.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), FS_GET_XATTR as _, &mut attributes) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes) }
}

/// Calls `quotactl_fd` for project quotas.
///
/// # Safety
/// `argument` must be what the command expects behind the pointer.
unsafe fn quotactl<T>(any: BorrowedFd<'_>, command: u32, project: u32, argument: &mut T) -> io::Result<()> {
    let command = (command << 8) | PROJECT_QUOTA;
    // SAFETY: the descriptor is open for the call; the caller vouches for the argument, which is exclusively borrowed.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, any.as_raw_fd(), command, project, std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
