//! Extended attributes.

use super::super::entry::Xattr;
use super::super::failure::Failure;
use super::inode::NONE;
use super::superblock::{ABSENT, Fields, Image, damaged};
use super::table::{Cursor, Metadata};

/// The largest value the kernel takes, in bytes.
const MAX_VALUE: usize = 64 << 10;

/// Attributes that one inode may have.
const MAX_COUNT: u32 = 1024;

/// Where attributes are found.
pub(super) struct Xattrs {
    /// Where names and values start.
    values: u64,
    count: u32,
    /// Where the list of the index's blocks is.
    list: u64,
}

impl Xattrs {
    /// Reads the table's head; none if the file system has no attributes.
    pub(super) fn open(image: &Image) -> Result<Option<Self>, Failure> {
        let at = image.superblock.xattr_table;
        if at == ABSENT {
            return Ok(None);
        }
        let mut head = [0; 16];
        image.read(&mut head, at)?;
        let mut fields = Fields::new(&head);
        Ok(Some(Self { values: fields.u64()?, count: fields.u32()?, list: at + 16 }))
    }

    /// Reads the attributes that an inode names by `index`.
    pub(super) fn of(&self, metadata: &mut Metadata<'_>, index: u32) -> Result<Vec<Xattr>, Failure> {
        if index == NONE {
            return Ok(Vec::new());
        }
        if index >= self.count {
            return Err(damaged("an inode has attributes that are not there"));
        }
        let entry = metadata.indexed::<16>(self.list, index.into())?;
        let mut fields = Fields::new(&entry);
        let (reference, count) = (fields.u64()?, fields.u32()?);
        if count > MAX_COUNT {
            return Err(damaged("an inode has too many attributes"));
        }
        let mut at = Cursor::refer(self.values, reference)?;
        (0..count).map(|_| self.pair(metadata, &mut at)).collect()
    }

    fn pair(&self, metadata: &mut Metadata<'_>, at: &mut Cursor) -> Result<Xattr, Failure> {
        let head = metadata.array::<4>(at)?;
        let mut fields = Fields::new(&head);
        let (kind, length) = (fields.u16()?, fields.u16()?);
        let prefix = match kind & 0xff {
            0 => b"user.".as_slice(),
            1 => b"trusted.",
            2 => b"security.",
            _ => return Err(damaged("an attribute is of an unknown kind")),
        };
        let name = [prefix, &metadata.bytes(at, length.into())?].concat();
        let size = metadata.u32(at)?;
        // A value that several inodes share stands elsewhere.
        if kind & 0x100 == 0 {
            return Ok((name, value(metadata, at, size)?));
        }
        let reference = metadata.array(at).map(u64::from_le_bytes)?;
        let mut elsewhere = Cursor::refer(self.values, reference)?;
        let size = metadata.u32(&mut elsewhere)?;
        Ok((name, value(metadata, &mut elsewhere, size)?))
    }
}

fn value(metadata: &mut Metadata<'_>, at: &mut Cursor, size: u32) -> Result<Vec<u8>, Failure> {
    if size as usize > MAX_VALUE {
        return Err(damaged("an attribute's value is too large"));
    }
    metadata.bytes(at, size as usize)
}
