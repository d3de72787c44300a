//! Where a subvolume comes from, and what was changed in it since.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Opcode, opcode};

use super::search::SearchArgs;
use super::{GROUP, TOP_INODE, ioctl, word};

/// The kind of a key that an inode has.
const INODE_ITEM_KEY: u32 = 1;
/// The highest number that an inode can have. Source: linux/btrfs_tree.h, `BTRFS_LAST_FREE_OBJECTID`.
const LAST_INODE: u64 = u64::MAX - 255;

/// Source: linux/btrfs_tree.h, `BTRFS_ROOT_SUBVOL_RDONLY`: another bit than the call that sets it takes.
const READ_ONLY_ROOT: u64 = 1 << 0;

const SUBVOLUME_INFO: Opcode = opcode::read::<SubvolumeInfo>(GROUP, 60);

/// `struct btrfs_ioctl_get_subvol_info_args`.
#[repr(C)]
struct SubvolumeInfo {
    tree_id: u64,
    name: [u8; 256],
    parent_id: u64,
    directory_id: u64,
    generation: u64,
    flags: u64,
    uuid: [u8; 16],
    parent_uuid: [u8; 16],
    received_uuid: [u8; 16],
    changed: u64,
    made: u64,
    sent: u64,
    received: u64,
    times: [[u64; 2]; 4],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<SubvolumeInfo>() == 504);

/// Where a subvolume comes from. Moments are numbers of the file system's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// The subvolume that it was a snapshot of when it was made; nothing if it was made empty.
    pub parent: Option<[u8; 16]>,
    /// When it was made.
    pub made: u64,
    /// When something in it was changed last; up to `made` if nothing ever was.
    pub changed: u64,
    /// Whether nothing in it can be changed.
    pub read_only: bool,
}

impl Lineage {
    /// Says whether this snapshot is what its parent was at the moment in which it was made.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.parent.is_some() && self.read_only && self.changed <= self.made
    }
}

/// Reads where a subvolume comes from.
///
/// # Errors
/// `ENOTTY` if this is no btrfs, or one of before Linux 4.18.
///
/// Source: BTRFS_IOC_GET_SUBVOL_INFO.
pub fn lineage(subvolume: BorrowedFd<'_>) -> io::Result<Lineage> {
    // SAFETY: all of the structure's fields are numbers or arrays of numbers, for which zeros are valid.
    let mut info: Box<SubvolumeInfo> = Box::new(unsafe { std::mem::zeroed() });
    // SAFETY: GET_SUBVOL_INFO writes one btrfs_ioctl_get_subvol_info_args, which `info` is.
    unsafe { ioctl(subvolume, SUBVOLUME_INFO, &mut *info) }?;
    let parent = Some(info.parent_uuid).filter(|uuid| *uuid != [0; 16]);
    Ok(Lineage { parent, made: info.made, changed: info.changed, read_only: info.flags & READ_ONLY_ROOT != 0 })
}

/// The inodes of a subvolume in which anything was changed after a transaction: content, attributes, a directory's entries,
/// a file's names. Exact, where times are not: a clock may go back, and two changes may come at one moment of it.
///
/// What was not written out yet is not seen: for a snapshot there is no such thing.
///
/// # Errors
/// `ENOTTY` if this is no btrfs; needs CAP_SYS_ADMIN.
///
/// Source: BTRFS_IOC_TREE_SEARCH_V2, which passes over whole leaves that are older; `struct btrfs_inode_item`.
pub fn changed_since(subvolume: BorrowedFd<'_>, transaction: u64) -> io::Result<HashSet<u64>> {
    let mut changed = HashSet::new();
    let mut args = SearchArgs::of(0);
    (args.head.min_objectid, args.head.max_objectid) = (TOP_INODE, LAST_INODE);
    args.head.min_type = INODE_ITEM_KEY;
    args.head.min_transid = transaction + 1;
    loop {
        let last = args.next(subvolume, |key, item| {
            if key.kind == INODE_ITEM_KEY && word(item, 8).is_some_and(|changed| changed > transaction) {
                changed.insert(key.objectid);
            }
        })?;
        // The next inode's item is the first of its keys; the others of this one say nothing.
        let Some(next) = last.map(|key| key.objectid + 1).filter(|next| *next <= LAST_INODE) else { return Ok(changed) };
        args.head.min_objectid = next;
    }
}
