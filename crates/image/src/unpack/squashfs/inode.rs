//! Inodes.

use super::super::entry::{MAX_PATH, Numbers};
use super::super::failure::Failure;
use super::superblock::{Fields, damaged};
use super::table::{Cursor, Metadata};

/// No fragment, or no extended attributes.
pub(super) const NONE: u32 = u32::MAX;

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) mode: u32,
    pub(super) uid: u16,
    pub(super) gid: u16,
    pub(super) mtime: u32,
    pub(super) number: u32,
    pub(super) links: u32,
    pub(super) xattr: u32,
    pub(super) data: Data,
}

/// What an inode holds.
#[derive(Debug)]
pub(super) enum Data {
    Directory {
        /// The block of its listing, relative to the directory table.
        block: u32,
        offset: u16,
        /// Bytes of its listing.
        length: u32,
    },
    File {
        start: u64,
        size: u64,
        fragment: u32,
        fragment_offset: u32,
        /// Where the sizes of its blocks stand.
        sizes: Cursor,
    },
    Symlink(Vec<u8>),
    Fifo,
    Device(Numbers),
    Socket,
}

/// Reads the inode at a cursor.
///
/// Source: `struct squashfs_*_inode` in fs/squashfs/squashfs_fs.h.
pub(super) fn read(metadata: &mut Metadata<'_>, mut at: Cursor) -> Result<Inode, Failure> {
    let head = metadata.array::<16>(&mut at)?;
    let mut fields = Fields::new(&head);
    let kind = fields.u16()?;
    let mut inode = Inode {
        mode: u32::from(fields.u16()?),
        uid: fields.u16()?,
        gid: fields.u16()?,
        mtime: fields.u32()?,
        number: fields.u32()?,
        links: 1,
        xattr: NONE,
        data: Data::Fifo,
    };
    inode.data = match kind {
        1 => directory(metadata, &mut at)?,
        2 => file(metadata, &mut at)?,
        3 => symlink(metadata, &mut at, &mut inode, false)?,
        4 | 5 | 11 | 12 => {
            inode.links = metadata.u32(&mut at)?;
            // The kernel's own way to put both numbers into 32 bits. Source: `new_decode_dev` in linux/kdev_t.h.
            let device = metadata.u32(&mut at)?;
            let (major, minor) = ((device & 0xf_ff00) >> 8, (device & 0xff) | ((device >> 12) & 0xf_ff00));
            Data::Device(Numbers { character: matches!(kind, 5 | 12), major, minor })
        }
        6 | 13 => {
            inode.links = metadata.u32(&mut at)?;
            Data::Fifo
        }
        7 | 14 => Data::Socket,
        8 => extended_directory(metadata, &mut at, &mut inode)?,
        9 => extended_file(metadata, &mut at, &mut inode)?,
        10 => symlink(metadata, &mut at, &mut inode, true)?,
        other => return Err(damaged(&format!("an inode is of the unknown kind {other}"))),
    };
    Ok(inode)
}

fn directory(metadata: &mut Metadata<'_>, at: &mut Cursor) -> Result<Data, Failure> {
    let bytes = metadata.array::<16>(at)?;
    let mut fields = Fields::new(&bytes);
    let (block, _links, length, offset) = (fields.u32()?, fields.u32()?, fields.u16()?, fields.u16()?);
    Ok(Data::Directory { block, offset, length: listing_length(length.into()) })
}

fn extended_directory(metadata: &mut Metadata<'_>, at: &mut Cursor, inode: &mut Inode) -> Result<Data, Failure> {
    let bytes = metadata.array::<24>(at)?;
    let mut fields = Fields::new(&bytes);
    let (_links, length, block, _parent) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    let (_indexes, offset) = (fields.u16()?, fields.u16()?);
    inode.xattr = fields.u32()?;
    Ok(Data::Directory { block, offset, length: listing_length(length) })
}

/// The field counts three bytes for `.` and `..`, which are not written.
fn listing_length(field: u32) -> u32 {
    field.saturating_sub(3)
}

fn file(metadata: &mut Metadata<'_>, at: &mut Cursor) -> Result<Data, Failure> {
    let bytes = metadata.array::<16>(at)?;
    let mut fields = Fields::new(&bytes);
    let (start, fragment, fragment_offset, size) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    Ok(Data::File { start: start.into(), size: size.into(), fragment, fragment_offset, sizes: *at })
}

fn extended_file(metadata: &mut Metadata<'_>, at: &mut Cursor, inode: &mut Inode) -> Result<Data, Failure> {
    let bytes = metadata.array::<40>(at)?;
    let mut fields = Fields::new(&bytes);
    let (start, size, _sparse) = (fields.u64()?, fields.u64()?, fields.u64()?);
    inode.links = fields.u32()?;
    let (fragment, fragment_offset) = (fields.u32()?, fields.u32()?);
    inode.xattr = fields.u32()?;
    if size > 1 << 62 {
        return Err(damaged("a file is impossibly large"));
    }
    Ok(Data::File { start, size, fragment, fragment_offset, sizes: *at })
}

fn symlink(metadata: &mut Metadata<'_>, at: &mut Cursor, inode: &mut Inode, extended: bool) -> Result<Data, Failure> {
    inode.links = metadata.u32(at)?;
    let length = metadata.u32(at)? as usize;
    if length > MAX_PATH {
        return Err(damaged("a symbolic link is too long"));
    }
    let text = metadata.bytes(at, length)?;
    if extended {
        inode.xattr = metadata.u32(at)?;
    }
    Ok(Data::Symlink(text))
}
