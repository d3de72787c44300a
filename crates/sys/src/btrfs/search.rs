//! Searching the trees of a btrfs.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Opcode, opcode};

use super::{GROUP, ioctl};

const TREE_SEARCH_V2: Opcode = opcode::read_write::<SearchHead>(GROUP, 17);

const SEARCH_SPACE: usize = 64 << 10;

/// The length of what stands before each item that was found: transid, objectid, offset, kind, length.
const HEADER: usize = 32;

const _: () = assert!(size_of::<SearchHead>() == 112);

/// `struct btrfs_ioctl_search_key` and `buf_size`: the fixed part of `struct btrfs_ioctl_search_args_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct SearchHead {
    tree_id: u64,
    pub(super) min_objectid: u64,
    pub(super) max_objectid: u64,
    pub(super) min_offset: u64,
    pub(super) max_offset: u64,
    pub(super) min_transid: u64,
    max_transid: u64,
    pub(super) min_type: u32,
    pub(super) max_type: u32,
    nr_items: u32,
    unused: u32,
    unused_more: [u64; 4],
    buf_size: u64,
}

/// `struct btrfs_ioctl_search_args_v2` with room for the answer.
#[repr(C)]
pub(super) struct SearchArgs {
    pub(super) head: SearchHead,
    buffer: [u8; SEARCH_SPACE],
}

/// The key of an item.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) objectid: u64,
    pub(super) offset: u64,
    pub(super) kind: u32,
}

impl SearchArgs {
    /// Looks for everything in a tree; 0 is that of the subvolume that is asked.
    pub(super) fn of(tree_id: u64) -> Box<Self> {
        let head = SearchHead {
            tree_id,
            min_objectid: 0,
            max_objectid: u64::MAX,
            min_offset: 0,
            max_offset: u64::MAX,
            min_transid: 0,
            max_transid: u64::MAX,
            min_type: 0,
            max_type: u8::MAX.into(),
            nr_items: 0,
            unused: 0,
            unused_more: [0; 4],
            buf_size: SEARCH_SPACE as u64,
        };
        Box::new(Self { head, buffer: [0; SEARCH_SPACE] })
    }

    /// Calls `each` with the items that fit into one answer; answers the key of the last, after which the next search begins.
    pub(super) fn next(&mut self, any: BorrowedFd<'_>, mut each: impl FnMut(Key, &[u8])) -> io::Result<Option<Key>> {
        self.head.nr_items = u32::MAX;
        // SAFETY: TREE_SEARCH_V2 reads the head and writes at most `buf_size` bytes behind it, which `buffer` holds.
        unsafe { ioctl(any, TREE_SEARCH_V2, &mut *self) }?;
        let mut rest = &self.buffer[..];
        let mut last = None;
        for _ in 0..self.head.nr_items {
            let Some((key, item)) = item(rest) else { break };
            each(key, item);
            rest = &rest[HEADER + item.len()..];
            last = Some(key);
        }
        Ok(last)
    }
}

/// Calls `each` with the offset and the bytes of every item of one object and type in a tree.
pub(super) fn search(
    any: BorrowedFd<'_>,
    tree_id: u64,
    objectid: u64,
    kind: u32,
    offsets: RangeInclusive<u64>,
    mut each: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let mut args = SearchArgs::of(tree_id);
    (args.head.min_objectid, args.head.max_objectid) = (objectid, objectid);
    (args.head.min_type, args.head.max_type) = (kind, kind);
    (args.head.min_offset, args.head.max_offset) = offsets.into_inner();
    loop {
        match args.next(any, |key, item| each(key.offset, item))? {
            Some(last) if last.offset < args.head.max_offset => args.head.min_offset = last.offset + 1,
            _ => return Ok(()),
        }
    }
}

fn item(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let long = |at: usize| bytes.get(at..at + 8).map(|eight| u64::from_ne_bytes(eight.try_into().expect("eight bytes")));
    let short = |at: usize| bytes.get(at..at + 4).map(|four| u32::from_ne_bytes(four.try_into().expect("four bytes")));
    let key = Key { objectid: long(8)?, offset: long(16)?, kind: short(24)? };
    Some((key, bytes.get(HEADER..HEADER + short(28)? as usize)?))
}
