//! Metadata: compressed blocks of at most 8 KiB that inodes, directories and tables are strung over.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::failure::Failure;
use super::superblock::{Decompressor, Fields, Image, damaged};

/// Bytes in a metadata block, decompressed.
const BLOCK: usize = 8192;

/// Blocks kept; 2 MiB.
const KEPT: usize = 256;

/// Reads metadata and keeps the blocks used last.
pub(super) struct Metadata<'i> {
    image: &'i Image,
    decompressor: Decompressor,
    /// By position in the file: the bytes, and where the next block starts.
    kept: HashMap<u64, (Arc<[u8]>, u64)>,
}

/// A place in the metadata from which to read on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// Where the block starts in the file.
    pub(super) block: u64,
    /// Bytes into the decompressed block.
    pub(super) offset: usize,
}

impl Cursor {
    /// Follows a reference: the block relative to a table's start, and the offset in its lowest 16 bits.
    pub(super) fn refer(table: u64, reference: u64) -> Result<Self, Failure> {
        let block = table.checked_add(reference >> 16).ok_or_else(|| damaged("a reference is out of range"))?;
        Ok(Self { block, offset: (reference & 0xffff) as usize })
    }
}

impl<'i> Metadata<'i> {
    pub(super) fn new(image: &'i Image) -> Self {
        Self { image, decompressor: Decompressor::new(image), kept: HashMap::new() }
    }

    /// Reads the buffer full and moves the cursor on.
    pub(super) fn read(&mut self, cursor: &mut Cursor, mut buffer: &mut [u8]) -> Result<(), Failure> {
        while !buffer.is_empty() {
            let (bytes, next) = self.block(cursor.block)?;
            let ready = bytes.get(cursor.offset..).ok_or_else(|| damaged("a reference is out of range"))?;
            if ready.is_empty() {
                *cursor = Cursor { block: next, offset: 0 };
                if bytes.is_empty() {
                    return Err(damaged("a metadata block is empty"));
                }
                continue;
            }
            let count = ready.len().min(buffer.len());
            buffer[..count].copy_from_slice(&ready[..count]);
            cursor.offset += count;
            buffer = &mut buffer[count..];
        }
        Ok(())
    }

    /// Reads so many bytes.
    pub(super) fn array<const N: usize>(&mut self, cursor: &mut Cursor) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        self.read(cursor, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a vector of `length` bytes, which the caller has bounded.
    pub(super) fn bytes(&mut self, cursor: &mut Cursor, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; length];
        self.read(cursor, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, cursor: &mut Cursor) -> Result<u32, Failure> {
        self.array(cursor).map(u32::from_le_bytes)
    }

    fn block(&mut self, at: u64) -> Result<(Arc<[u8]>, u64), Failure> {
        if let Some((bytes, next)) = self.kept.get(&at) {
            return Ok((Arc::clone(bytes), *next));
        }
        let mut header = [0; 2];
        self.image.read(&mut header, at)?;
        let header = u16::from_le_bytes(header);
        let mut data = vec![0; usize::from(header & 0x7fff)];
        if data.len() > BLOCK {
            return Err(damaged("a metadata block is too large"));
        }
        self.image.read(&mut data, at + 2)?;
        let next = at + 2 + data.len() as u64;
        if header & 0x8000 == 0 {
            let mut out = Vec::new();
            self.decompressor.run(&data, BLOCK, &mut out)?;
            data = out;
        }
        let bytes: Arc<[u8]> = data.into();
        if self.kept.len() == KEPT {
            self.kept.clear();
        }
        self.kept.insert(at, (Arc::clone(&bytes), next));
        Ok((bytes, next))
    }

    /// Reads entry `index` of `SIZE` bytes in a table whose blocks are listed, uncompressed, at `list`.
    pub(super) fn indexed<const SIZE: usize>(&mut self, list: u64, index: u64) -> Result<[u8; SIZE], Failure> {
        let per_block = (BLOCK / SIZE) as u64;
        let place = (index / per_block).checked_mul(8).and_then(|place| place.checked_add(list));
        let mut block = [0; 8];
        self.image.read(&mut block, place.ok_or_else(|| damaged("an index is out of range"))?)?;
        let offset = usize::try_from(index % per_block).expect("less than a block") * SIZE;
        self.array(&mut Cursor { block: u64::from_le_bytes(block), offset })
    }
}

/// Reads all user and group ids, which inodes name by number.
pub(super) fn ids(image: &Image, metadata: &mut Metadata<'_>) -> Result<Vec<u32>, Failure> {
    let count = u64::from(image.superblock.id_count);
    let id = |index| metadata.indexed::<4>(image.superblock.id_table, index).map(u32::from_le_bytes);
    (0..count).map(id).collect()
}

/// Reads where fragment `index` lies in the file, and its size field.
pub(super) fn fragment(image: &Image, metadata: &mut Metadata<'_>, index: u32) -> Result<(u64, u32), Failure> {
    if index >= image.superblock.fragment_count {
        return Err(damaged("a file ends in a fragment that is not there"));
    }
    let entry = metadata.indexed::<16>(image.superblock.fragment_table, index.into())?;
    let mut fields = Fields::new(&entry);
    Ok((fields.u64()?, fields.u32()?))
}
