//! An archive's bytes on their way: gathered in chunks here, compressed and written by threads of their own.
//!
//! However long the archive, only a few chunks are in memory at once: a full pipeline holds whoever fills it up.

use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use super::blocks::{BlockFormat, Blocks};
use super::compressor::{Algorithm, Compressor};
use super::header::BLOCK;
use super::streams::Streams;
use crate::unpack::failure::Failure;
use crate::unpack::report::Reporter;

/// Bytes in a chunk where the algorithm does not want another size.
const CHUNK: usize = 1 << 20;

/// Takes the bytes of an archive.
pub(super) struct Sink<'r> {
    chunk: Vec<u8>,
    filled: usize,
    taken: u64,
    stage: Stage,
    reporter: &'r Reporter,
}

/// What becomes of full chunks.
enum Stage {
    /// One stream: nothing, or a library that has threads itself.
    Streams(Streams),
    /// Chunks that are compressed each for itself, at once.
    Blocks(Blocks),
}

impl<'r> Sink<'r> {
    /// Begins an archive in `output`.
    pub(super) fn new(output: OwnedFd, compressor: Compressor, reporter: &'r Reporter) -> io::Result<Self> {
        let level = compressor.level;
        let (stage, size) = match compressor.algorithm {
            Algorithm::Gzip => (Stage::Blocks(Blocks::start(output, BlockFormat::Gzip { level })?), 256 << 10),
            Algorithm::Bzip2 => (Stage::Blocks(Blocks::start(output, BlockFormat::Bzip2 { level })?), usize::from(level) * 100_000),
            Algorithm::None | Algorithm::Xz | Algorithm::Lzma | Algorithm::Zstd => {
                (Stage::Streams(Streams::start(output, compressor)?), CHUNK)
            }
        };
        Ok(Self { chunk: vec![0; size], filled: 0, taken: 0, stage, reporter })
    }

    /// Takes these bytes.
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.advance(count);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Fills the last block of `length` bytes up.
    pub(super) fn pad(&mut self, length: u64) -> Result<(), Failure> {
        let over = usize::try_from(length % BLOCK as u64).unwrap_or(0);
        if over == 0 { Ok(()) } else { self.put(&[0; BLOCK][over..]) }
    }

    /// Room for at least one more byte; [`Sink::advance`] says how many were put there.
    pub(super) fn room(&mut self) -> Result<&mut [u8], Failure> {
        if self.filled == self.chunk.len() {
            self.pass_on()?;
        }
        Ok(&mut self.chunk[self.filled..])
    }

    /// Counts bytes that were put into the room.
    pub(super) fn advance(&mut self, count: usize) {
        self.filled += count;
        debug_assert!(self.filled <= self.chunk.len());
    }

    /// Ends the archive and waits until all of it is written; answers the bytes before and after compression.
    pub(super) fn finish(mut self) -> Result<(u64, u64), Failure> {
        self.put(&[0; 2 * BLOCK])?;
        self.taken += self.filled as u64;
        let last = std::mem::take(&mut self.chunk);
        let written = match self.stage {
            Stage::Streams(streams) => streams.finish(last, self.filled),
            Stage::Blocks(blocks) => blocks.finish(last, self.filled),
        };
        written.map(|written| (self.taken, written)).map_err(|error| failure(&error))
    }

    fn pass_on(&mut self) -> Result<(), Failure> {
        let size = self.chunk.len();
        let full = std::mem::take(&mut self.chunk);
        let spare = match &mut self.stage {
            Stage::Streams(streams) => streams.take(full),
            Stage::Blocks(blocks) => blocks.take(full),
        };
        self.chunk = spare.map_err(|error| failure(&error))?;
        self.chunk.resize(size, 0);
        self.filled = 0;
        self.taken += size as u64;
        self.reporter.progress(self.taken);
        Ok(())
    }
}

fn failure(error: &io::Error) -> Failure {
    Failure::Write { doing: "writing".into(), member: "the archive".into(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

/// How many threads compress.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(16)
}

/// Where compressed bytes go.
pub(super) struct Output {
    file: OwnedFd,
    pub(super) written: u64,
}

impl Output {
    pub(super) fn new(file: OwnedFd) -> Self {
        Self { file, written: 0 }
    }

    fn file(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.file.as_fd()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(self.file(), bytes))?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
