//! Btrfs ioctls: subvolumes, snapshots, quota groups.
//!
//! Everything a driver does day by day with a btrfs file system, without starting a program. Names are single path
//! components; directories are descriptors. Source: linux/btrfs.h, btrfs-ioctl(2).

mod history;
mod search;

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::ioctl::{Opcode, opcode};

pub use history::{Lineage, changed_since, lineage};
use search::search;

/// The file system type that `fstatfs` reports for btrfs.
pub const MAGIC: u64 = 0x9123_683E;

/// The inode number that the top directory of every subvolume has.
pub const TOP_INODE: u64 = 256;

/// Where on a device the first superblock starts, in bytes.
pub const SUPERBLOCK_OFFSETS: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];

const GROUP: u8 = 0x94;
const NAME_SPACE: usize = 4040;
const READ_ONLY: u64 = 1 << 1;
const SPEC_BY_ID: u64 = 1 << 4;
const ROOT_TREE: u64 = 1;
const QUOTA_TREE: u64 = 8;
const ROOT_REF_KEY: u32 = 156;
const QGROUP_INFO_KEY: u32 = 242;
const QGROUP_LIMIT_KEY: u32 = 244;
const LIMIT_REFERENCED: u64 = 1 << 0;

/// A subvolume that stands in the tree of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The subvolume's own number.
    pub id: u64,
    /// The inode of the directory that holds it, in the parent's tree.
    pub directory: u64,
    /// Its name in that directory.
    pub name: OsString,
}

/// What the quota group of a subvolume counts, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaGroup {
    /// All that can be reached from the subvolume, shared with others or not.
    pub referenced: u64,
    /// What would be freed with the subvolume.
    pub exclusive: u64,
    /// The most that may be referenced, if that is limited.
    pub limit: Option<u64>,
}

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolumeArgs {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; NAME_SPACE],
}

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct ResizeArgs {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct LookupArgs {
    treeid: u64,
    objectid: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_fs_info_args`.
#[repr(C)]
struct FileSystemInfo {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u8; 992],
}

/// `struct btrfs_ioctl_quota_ctl_args`.
#[repr(C)]
struct QuotaControl {
    command: u64,
    status: u64,
}

/// `struct btrfs_ioctl_qgroup_create_args`.
#[repr(C)]
struct QuotaGroupCreate {
    create: u64,
    id: u64,
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct QuotaGroupLimit {
    id: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

/// `struct btrfs_ioctl_quota_rescan_args`.
#[repr(C)]
struct QuotaRescan {
    flags: u64,
    progress: u64,
    reserved: [u64; 6],
}

/// `struct btrfs_ioctl_send_args`.
#[repr(C)]
struct SendArgs {
    fd: i64,
    clone_sources_count: u64,
    clone_sources: *const u64,
    parent: u64,
    flags: u64,
    version: u32,
    reserved: [u8; 28],
}

const RESIZE: Opcode = opcode::write::<ResizeArgs>(GROUP, 3);
const SYNC: Opcode = opcode::none(GROUP, 8);
const INO_LOOKUP: Opcode = opcode::read_write::<LookupArgs>(GROUP, 18);
const SNAP_CREATE_V2: Opcode = opcode::write::<VolumeArgs>(GROUP, 23);
const SUBVOL_CREATE_V2: Opcode = opcode::write::<VolumeArgs>(GROUP, 24);
const SUBVOL_GETFLAGS: Opcode = opcode::read::<u64>(GROUP, 25);
const SUBVOL_SETFLAGS: Opcode = opcode::write::<u64>(GROUP, 26);
const FS_INFO: Opcode = opcode::read::<FileSystemInfo>(GROUP, 31);
const SEND: Opcode = opcode::write::<SendArgs>(GROUP, 38);
const QUOTA_CTL: Opcode = opcode::read_write::<QuotaControl>(GROUP, 40);
const QGROUP_CREATE: Opcode = opcode::write::<QuotaGroupCreate>(GROUP, 42);
const QGROUP_LIMIT: Opcode = opcode::read::<QuotaGroupLimit>(GROUP, 43);
const QUOTA_RESCAN: Opcode = opcode::write::<QuotaRescan>(GROUP, 44);
const QUOTA_RESCAN_WAIT: Opcode = opcode::none(GROUP, 46);
const SNAP_DESTROY_V2: Opcode = opcode::write::<VolumeArgs>(GROUP, 63);

const _: () = assert!(size_of::<VolumeArgs>() == 4096 && size_of::<ResizeArgs>() == 4096 && size_of::<LookupArgs>() == 4096);
const _: () = assert!(size_of::<FileSystemInfo>() == 1024);
const _: () = assert!(size_of::<SendArgs>() == 72);

/// Creates an empty subvolume called `name` in a directory.
///
/// # Errors
/// `EEXIST` if the name is taken, `ENOTTY` if this is no btrfs, `EINVAL` if the name is no single path component.
///
/// Source: BTRFS_IOC_SUBVOL_CREATE_V2.
pub fn create_subvolume(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut args = volume_args(name)?;
    // SAFETY: SUBVOL_CREATE_V2 reads one btrfs_ioctl_vol_args_v2, which `args` is, and keeps no pointer.
    unsafe { ioctl(directory, SUBVOL_CREATE_V2, &mut *args) }
}

/// Creates a snapshot of the subvolume whose top directory is `source`, called `name`, in a directory.
///
/// Subvolumes nested in the source are not taken along: empty directories stand in their places. The kernel commits the
/// running transaction before this returns; there is no other way to make a snapshot.
///
/// # Errors
/// `EEXIST` if the name is taken, `EINVAL` if the source is no subvolume, `EXDEV` if it is on another file system.
///
/// Source: BTRFS_IOC_SNAP_CREATE_V2.
pub fn create_snapshot(directory: BorrowedFd<'_>, name: &OsStr, source: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let mut args = volume_args(name)?;
    args.fd = i64::from(source.as_raw_fd());
    args.flags = if read_only { READ_ONLY } else { 0 };
    // SAFETY: SNAP_CREATE_V2 reads one btrfs_ioctl_vol_args_v2, which `args` is, whose descriptor is borrowed for the call.
    unsafe { ioctl(directory, SNAP_CREATE_V2, &mut *args) }
}

/// Removes the subvolume with the number `id`, wherever it stands on the file system that `any` is part of.
///
/// Its name is gone when this returns; the space is freed by the kernel afterwards.
///
/// # Errors
/// `ENOTEMPTY` if another subvolume is nested in it, `EBUSY` if it is mounted, `ENOENT` if there is none.
///
/// Source: BTRFS_IOC_SNAP_DESTROY_V2 with BTRFS_SUBVOL_SPEC_BY_ID; Linux 5.7.
pub fn destroy_subvolume(any: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let mut args = empty_volume_args();
    args.flags = SPEC_BY_ID;
    args.name[..8].copy_from_slice(&id.to_ne_bytes());
    // SAFETY: SNAP_DESTROY_V2 reads one btrfs_ioctl_vol_args_v2, which `args` is; by this flag its name holds a number.
    unsafe { ioctl(any, SNAP_DESTROY_V2, &mut *args) }
}

/// Writes a stream to `into` that makes a subvolume out of nothing, or out of the subvolume with the number `base`. Both must be
/// read-only. Blocks until all is written.
///
/// # Errors
/// `EPERM` if one of them can be written to, `EINVAL` if this is no subvolume, what writing to `into` answers.
///
/// Source: BTRFS_IOC_SEND; the format's version 1.
pub fn send(subvolume: BorrowedFd<'_>, base: Option<u64>, into: BorrowedFd<'_>) -> io::Result<()> {
    let mut args = SendArgs {
        fd: i64::from(into.as_raw_fd()),
        clone_sources_count: u64::from(base.is_some()),
        clone_sources: base.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
        parent: base.unwrap_or(0),
        flags: 0,
        version: 0,
        reserved: [0; 28],
    };
    // SAFETY: SEND reads one btrfs_ioctl_send_args, which `args` is, and as many numbers as it counts, which `base` holds until
    // the call is over; the descriptor is borrowed for the call.
    unsafe { ioctl(subvolume, SEND, &mut args) }
}

/// Says whether a directory is the top of a subvolume.
///
/// # Errors
/// Those of `fstat` and `fstatfs`.
pub fn is_subvolume(directory: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(is_btrfs(directory)? && rustix::fs::fstat(directory)?.st_ino == TOP_INODE)
}

/// Says whether a descriptor is on a btrfs file system.
///
/// # Errors
/// Those of `fstatfs`.
pub fn is_btrfs(any: BorrowedFd<'_>) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(any)?.f_type as u64;
    Ok(kind & 0xffff_ffff == MAGIC)
}

/// The number of the subvolume that a file or directory is in.
///
/// # Errors
/// `ENOTTY` if this is no btrfs.
///
/// Source: BTRFS_IOC_INO_LOOKUP.
pub fn subvolume_id(any: BorrowedFd<'_>) -> io::Result<u64> {
    let mut args = Box::new(LookupArgs { treeid: 0, objectid: TOP_INODE, name: [0; 4080] });
    // SAFETY: INO_LOOKUP reads and writes one btrfs_ioctl_ino_lookup_args, which `args` is.
    unsafe { ioctl(any, INO_LOOKUP, &mut *args) }?;
    Ok(args.treeid)
}

/// The path of a directory below the top of its subvolume; empty for the top itself, else ending in a slash.
///
/// # Errors
/// `ENOENT` if the subvolume `id` has no such directory; needs CAP_SYS_ADMIN.
///
/// Source: BTRFS_IOC_INO_LOOKUP.
pub fn directory_path(any: BorrowedFd<'_>, id: u64, directory: u64) -> io::Result<OsString> {
    let mut args = Box::new(LookupArgs { treeid: id, objectid: directory, name: [0; 4080] });
    // SAFETY: INO_LOOKUP reads and writes one btrfs_ioctl_ino_lookup_args, which `args` is.
    unsafe { ioctl(any, INO_LOOKUP, &mut *args) }?;
    let path = CStr::from_bytes_until_nul(&args.name).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(OsString::from_vec(path.to_bytes().to_vec()))
}

/// The subvolumes that stand directly in the tree of subvolume `id`, in the order of their numbers.
///
/// # Errors
/// `ENOTTY` if this is no btrfs; needs CAP_SYS_ADMIN.
///
/// Source: BTRFS_IOC_TREE_SEARCH_V2 for BTRFS_ROOT_REF_KEY items.
pub fn children(any: BorrowedFd<'_>, id: u64) -> io::Result<Vec<Child>> {
    let mut found = Vec::new();
    search(any, ROOT_TREE, id, ROOT_REF_KEY, 0..=u64::MAX, |offset, item| {
        let (Some(directory), Some(length)) = (word(item, 0), item.get(16..18)) else { return };
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        if let Some(name) = item.get(18..18 + length) {
            found.push(Child { id: offset, directory, name: OsStr::from_bytes(name).to_owned() });
        }
    })?;
    Ok(found)
}

/// Says whether a subvolume is read-only.
///
/// # Errors
/// `EINVAL` if the directory is not the top of a subvolume.
///
/// Source: BTRFS_IOC_SUBVOL_GETFLAGS.
pub fn is_read_only(subvolume: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(subvolume_flags(subvolume)? & READ_ONLY != 0)
}

/// Makes a subvolume read-only or writable.
///
/// # Errors
/// `EINVAL` if the directory is not the top of a subvolume, `EBUSY` while it is being sent.
///
/// Source: BTRFS_IOC_SUBVOL_SETFLAGS.
pub fn set_read_only(subvolume: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let old = subvolume_flags(subvolume)?;
    let mut flags = if read_only { old | READ_ONLY } else { old & !READ_ONLY };
    if flags == old {
        return Ok(());
    }
    // SAFETY: SUBVOL_SETFLAGS reads one u64.
    unsafe { ioctl(subvolume, SUBVOL_SETFLAGS, &mut flags) }
}

/// The file system's own identity.
///
/// # Errors
/// `ENOTTY` if this is no btrfs.
///
/// Source: BTRFS_IOC_FS_INFO.
pub fn file_system_id(any: BorrowedFd<'_>) -> io::Result<[u8; 16]> {
    let mut info = Box::new(FileSystemInfo { max_id: 0, num_devices: 0, fsid: [0; 16], rest: [0; 992] });
    // SAFETY: FS_INFO writes one btrfs_ioctl_fs_info_args of 1024 bytes, which `info` is.
    unsafe { ioctl(any, FS_INFO, &mut *info) }?;
    Ok(info.fsid)
}

/// Reads the identity of the btrfs on a block device or in a file; nothing if it holds none.
///
/// # Errors
/// Those of `pread`.
pub fn superblock_id(device: BorrowedFd<'_>) -> io::Result<Option<[u8; 16]>> {
    let mut head = [0; 72];
    let count = rustix::io::pread(device, &mut head, SUPERBLOCK_OFFSETS[0])?;
    let valid = count == head.len() && &head[64..72] == b"_BHRfS_M";
    Ok(valid.then(|| head[32..48].try_into().expect("sixteen bytes")))
}

/// Takes the file system away from a device: clears every copy of its superblock.
///
/// # Errors
/// Those of `pwrite`.
pub fn clear_superblocks(device: BorrowedFd<'_>, size: u64) -> io::Result<()> {
    for offset in SUPERBLOCK_OFFSETS.into_iter().filter(|offset| offset + 4096 <= size) {
        rustix::io::pwrite(device, &[0; 4096], offset)?;
    }
    Ok(rustix::fs::fdatasync(device)?)
}

/// Writes everything that is pending to the device.
///
/// # Errors
/// `EIO` if that fails.
///
/// Source: BTRFS_IOC_SYNC.
pub fn sync(any: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: SYNC takes no argument.
    unsafe { ioctl(any, SYNC, &mut ()) }
}

/// Grows the file system to the size its only device has now.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `EROFS` on a read-only mount.
///
/// Source: BTRFS_IOC_RESIZE.
pub fn grow(any: BorrowedFd<'_>) -> io::Result<()> {
    let mut args = Box::new(ResizeArgs { fd: 0, name: [0; 4088] });
    args.name[..3].copy_from_slice(b"max");
    // SAFETY: RESIZE reads one btrfs_ioctl_vol_args, which `args` is, with a terminated name.
    unsafe { ioctl(any, RESIZE, &mut *args) }
}

/// Turns quota groups on and waits until what is there has been counted. Does nothing if they are on.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `EROFS` on a read-only mount.
///
/// Source: BTRFS_IOC_QUOTA_CTL, BTRFS_IOC_QUOTA_RESCAN_WAIT.
pub fn enable_quota(any: BorrowedFd<'_>) -> io::Result<()> {
    if quota_enabled(any)? {
        return Ok(());
    }
    let mut control = QuotaControl { command: 1, status: 0 };
    // SAFETY: QUOTA_CTL reads and writes one btrfs_ioctl_quota_ctl_args.
    unsafe { ioctl(any, QUOTA_CTL, &mut control) }?;
    let mut rescan = QuotaRescan { flags: 0, progress: 0, reserved: [0; 6] };
    // SAFETY: QUOTA_RESCAN reads one btrfs_ioctl_quota_rescan_args.
    match unsafe { ioctl(any, QUOTA_RESCAN, &mut rescan) } {
        // Turning quotas on starts a count by itself.
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        other => other?,
    }
    // SAFETY: QUOTA_RESCAN_WAIT takes no argument.
    unsafe { ioctl(any, QUOTA_RESCAN_WAIT, &mut ()) }
}

/// Says whether quota groups are on.
///
/// # Errors
/// `ENOTTY` if this is no btrfs; needs CAP_SYS_ADMIN.
pub fn quota_enabled(any: BorrowedFd<'_>) -> io::Result<bool> {
    match search(any, QUOTA_TREE, 0, QGROUP_INFO_KEY, 0..=0, |_, _| ()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

/// What the quota group of subvolume `id` counts; nothing if quota groups are off or do not know it.
///
/// The numbers are those of the last commit: up to the commit interval (30 seconds) old.
///
/// # Errors
/// `ENOTTY` if this is no btrfs; needs CAP_SYS_ADMIN.
///
/// Source: BTRFS_IOC_TREE_SEARCH_V2 in the quota tree.
pub fn quota_group(any: BorrowedFd<'_>, id: u64) -> io::Result<Option<QuotaGroup>> {
    let mut group = None;
    let info = search(any, QUOTA_TREE, 0, QGROUP_INFO_KEY, id..=id, |_, item| {
        if let (Some(referenced), Some(exclusive)) = (word(item, 8), word(item, 24)) {
            group = Some(QuotaGroup { referenced, exclusive, limit: None });
        }
    });
    match info {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    }
    let Some(mut group) = group else { return Ok(None) };
    search(any, QUOTA_TREE, 0, QGROUP_LIMIT_KEY, id..=id, |_, item| {
        if let (Some(flags), Some(limit)) = (word(item, 0), word(item, 8)) {
            group.limit = (flags & LIMIT_REFERENCED != 0).then_some(limit);
        }
    })?;
    Ok(Some(group))
}

/// Limits how much subvolume `id` may reference, in bytes, or lifts the limit.
///
/// # Errors
/// `ENOTCONN` if quota groups are off, `ENOENT` if they do not know the subvolume.
///
/// Source: BTRFS_IOC_QGROUP_LIMIT.
pub fn set_quota_limit(any: BorrowedFd<'_>, id: u64, limit: Option<u64>) -> io::Result<()> {
    let mut args = QuotaGroupLimit {
        id,
        flags: LIMIT_REFERENCED,
        // All ones clears a limit.
        max_referenced: limit.unwrap_or(u64::MAX),
        max_exclusive: 0,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    // SAFETY: QGROUP_LIMIT reads one btrfs_ioctl_qgroup_limit_args.
    unsafe { ioctl(any, QGROUP_LIMIT, &mut args) }
}

/// Forgets the quota group of a subvolume that is gone. Since Linux 6.11 the kernel does that itself.
///
/// # Errors
/// `ENOTCONN` if quota groups are off, `ENOENT` if there is none, `EBUSY` while the subvolume is being cleaned away.
///
/// Source: BTRFS_IOC_QGROUP_CREATE.
pub fn remove_quota_group(any: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let mut args = QuotaGroupCreate { create: 0, id };
    // SAFETY: QGROUP_CREATE reads one btrfs_ioctl_qgroup_create_args.
    unsafe { ioctl(any, QGROUP_CREATE, &mut args) }
}

fn subvolume_flags(subvolume: BorrowedFd<'_>) -> io::Result<u64> {
    let mut flags = 0u64;
    // SAFETY: SUBVOL_GETFLAGS writes one u64.
    unsafe { ioctl(subvolume, SUBVOL_GETFLAGS, &mut flags) }?;
    Ok(flags)
}

/// The number at a place of an item: what is on disk is little-endian.
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

fn empty_volume_args() -> Box<VolumeArgs> {
    Box::new(VolumeArgs { fd: 0, transid: 0, flags: 0, unused: [0; 4], name: [0; NAME_SPACE] })
}

fn volume_args(name: &OsStr) -> io::Result<Box<VolumeArgs>> {
    let bytes = name.as_bytes();
    let single = !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.iter().any(|byte| matches!(byte, 0 | b'/'));
    if !single || bytes.len() > 255 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut args = empty_volume_args();
    args.name[..bytes.len()].copy_from_slice(bytes);
    Ok(args)
}

/// Calls an ioctl.
///
/// # Safety
/// `argument` must be what the kernel expects behind the pointer for this number.
unsafe fn ioctl<T>(fd: BorrowedFd<'_>, number: Opcode, argument: &mut T) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call; the caller vouches for the argument, which is exclusively borrowed.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), number as _, std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
