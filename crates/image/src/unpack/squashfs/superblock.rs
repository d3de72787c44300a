//! The first 96 bytes, and reading and decompressing pieces of the file.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use super::super::failure::Failure;
use super::super::stream::MEMORY;

/// Where a table is not there at all.
pub(super) const ABSENT: u64 = u64::MAX;

/// A squashfs file with its superblock.
pub(super) struct Image {
    file: OwnedFd,
    pub(super) superblock: Superblock,
}

/// The fields that reading needs.
///
/// Source: `struct squashfs_super_block` in fs/squashfs/squashfs_fs.h.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) inode_count: u32,
    pub(super) block_size: usize,
    pub(super) fragment_count: u32,
    compressor: Compressor,
    pub(super) id_count: u16,
    pub(super) root_inode: u64,
    /// Bytes of the file system; the file may be filled up beyond.
    bytes_used: u64,
    pub(super) id_table: u64,
    pub(super) xattr_table: u64,
    pub(super) inode_table: u64,
    pub(super) directory_table: u64,
    pub(super) fragment_table: u64,
}

#[derive(Clone, Copy, Debug)]
enum Compressor {
    Zlib,
    Xz,
    Zstd,
}

impl Image {
    /// Reads and checks the superblock.
    pub(super) fn open(file: OwnedFd) -> Result<Self, Failure> {
        let size = u64::try_from(rustix::fs::fstat(&file).map_err(unreadable)?.st_size).unwrap_or(0);
        let mut block = [0; 96];
        read_at(&file, &mut block, 0)?;
        let superblock = Superblock::parse(&block)?;
        if superblock.bytes_used > size {
            let used = superblock.bytes_used;
            return Err(damaged(&format!("it has {size} bytes of {used}")));
        }
        Ok(Self { file, superblock })
    }

    /// Fills the buffer from byte `at` on.
    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), Failure> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.superblock.bytes_used) {
            return Err(damaged("something in it claims to lie beyond its end"));
        }
        read_at(&self.file, buffer, at)
    }
}

/// What decompresses one block after the other; it keeps its memory between them.
pub(super) struct Decompressor {
    kind: Compressor,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Decompressor {
    pub(super) fn new(image: &Image) -> Self {
        Self { kind: image.superblock.compressor, zstd: None }
    }

    /// Decompresses a block that may not be larger than `limit` afterwards into `out`, which is emptied first.
    pub(super) fn run(&mut self, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
        out.clear();
        out.reserve_exact(limit);
        let bound = limit as u64 + 1;
        let result = match self.kind {
            Compressor::Zlib => flate2::bufread::ZlibDecoder::new(data).take(bound).read_to_end(out).map(drop),
            Compressor::Xz => xz(data, bound, out),
            Compressor::Zstd => self.zstd(data, out),
        };
        result.map_err(|error| damaged(&format!("a block cannot be decompressed: {error}")))?;
        if out.len() > limit { Err(damaged("a block is larger than the file system's blocks")) } else { Ok(()) }
    }

    fn zstd(&mut self, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            empty => empty.insert(zstd::bulk::Decompressor::new()?),
        };
        zstd.decompress_to_buffer(data, out).map(drop)
    }
}

fn xz(data: &[u8], bound: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, 0)?;
    liblzma::bufread::XzDecoder::new_stream(data, stream).take(bound).read_to_end(out).map(drop)
}

impl Superblock {
    fn parse(block: &[u8; 96]) -> Result<Self, Failure> {
        let mut fields = Fields::new(block);
        let magic = fields.u32()?;
        let inode_count = fields.u32()?;
        let _made = fields.u32()?;
        let block_size = fields.u32()?;
        let fragment_count = fields.u32()?;
        let compressor = fields.u16()?;
        let block_log = fields.u16()?;
        let _flags = fields.u16()?;
        let id_count = fields.u16()?;
        let version = (fields.u16()?, fields.u16()?);
        if magic != u32::from_le_bytes(*b"hsqs") || version != (4, 0) {
            return Err(damaged(&format!("it is no squashfs of version 4.0 but {}.{}", version.0, version.1)));
        }
        if !(12..=20).contains(&block_log) || block_size != 1 << block_log {
            return Err(damaged(&format!("its block size of {block_size} bytes is impossible")));
        }
        Ok(Self {
            inode_count,
            block_size: block_size as usize,
            fragment_count,
            compressor: compressor_of(compressor)?,
            id_count,
            root_inode: fields.u64()?,
            bytes_used: fields.u64()?,
            id_table: fields.u64()?,
            xattr_table: fields.u64()?,
            inode_table: fields.u64()?,
            directory_table: fields.u64()?,
            fragment_table: fields.u64()?,
        })
    }
}

fn compressor_of(number: u16) -> Result<Compressor, Failure> {
    let name = match number {
        1 => return Ok(Compressor::Zlib),
        4 => return Ok(Compressor::Xz),
        6 => return Ok(Compressor::Zstd),
        2 => "lzma",
        3 => "lzo",
        5 => "lz4",
        other => return Err(damaged(&format!("its compression {other} is unknown"))),
    };
    Err(Failure::Unsupported {
        what: format!("squashfs compressed by {name}"),
        instead: "make it with mksquashfs -comp zstd, xz or gzip".into(),
    })
}

fn read_at(file: &OwnedFd, mut buffer: &mut [u8], mut at: u64) -> Result<(), Failure> {
    while !buffer.is_empty() {
        match rustix::io::pread(file, &mut *buffer, at) {
            Ok(0) => return Err(damaged("it ends too early")),
            Ok(count) => {
                buffer = &mut buffer[count..];
                at += count as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(unreadable(errno)),
        }
    }
    Ok(())
}

fn unreadable(errno: rustix::io::Errno) -> Failure {
    Failure::Read { part: "rootfs".into(), errno: errno.raw_os_error() }
}

/// The failure of a file system that contradicts itself.
pub(super) fn damaged(why: &str) -> Failure {
    Failure::damaged("rootfs", why)
}

/// Little-endian numbers, one after the other.
pub(super) struct Fields<'d>(&'d [u8]);

impl<'d> Fields<'d> {
    pub(super) fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| damaged("a table is too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Failure> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Failure> {
        self.array().map(u64::from_le_bytes)
    }
}
