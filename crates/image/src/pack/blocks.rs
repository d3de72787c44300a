//! Compressing chunks each for itself, several at once, in formats whose pieces may simply follow each other.
//!
//! gzip: one member, whose deflate blocks each begin on a byte and may refer to the 32 KiB before them. bzip2: one stream a chunk,
//! as every reader of the format accepts.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Compression, Crc, FlushCompress};

use super::sink::{Output, threads};

/// How far deflate looks back, in bytes.
const WINDOW: usize = 32 << 10;

/// The format of the pieces.
#[derive(Clone, Copy, Debug)]
pub(super) enum BlockFormat {
    Gzip { level: u8 },
    Bzip2 { level: u8 },
}

/// Threads that compress, and one that writes what they give in order.
pub(super) struct Blocks {
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Done>>,
    spare: Receiver<Vec<u8>>,
    /// The end of the chunk before, which the next may refer to.
    before: Vec<u8>,
    looks_back: bool,
    writer: Option<JoinHandle<io::Result<u64>>>,
}

struct Job {
    chunk: Vec<u8>,
    before: Vec<u8>,
    done: SyncSender<Done>,
}

/// A piece: its bytes, the checksum of what it was made of, and that chunk's memory.
struct Done {
    bytes: io::Result<Vec<u8>>,
    checksum: Crc,
    chunk: Vec<u8>,
}

impl Blocks {
    pub(super) fn start(output: OwnedFd, format: BlockFormat) -> io::Result<Self> {
        let count = threads();
        let (jobs, waiting) = sync_channel::<Job>(count);
        let (order, pieces) = sync_channel(2 * count);
        let (back, spare) = sync_channel(4 * count);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..count {
            let waiting = Arc::clone(&waiting);
            std::thread::Builder::new().name("compress".into()).spawn(move || work(format, &waiting))?;
        }
        let body = move || write(Output::new(output), format, &pieces, &back);
        let writer = std::thread::Builder::new().name("write".into()).spawn(body)?;
        let looks_back = matches!(format, BlockFormat::Gzip { .. });
        Ok(Self { jobs, order, spare, before: Vec::new(), looks_back, writer: Some(writer) })
    }

    /// Takes a full chunk; answers an empty one, perhaps of an earlier one's memory.
    pub(super) fn take(&mut self, chunk: Vec<u8>) -> io::Result<Vec<u8>> {
        if self.give(chunk).is_err() {
            return Err(self.end().err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
        }
        Ok(self.spare.try_recv().unwrap_or_default())
    }

    /// Takes the last chunk, of which `filled` bytes count, and waits; answers how many bytes were written.
    pub(super) fn finish(mut self, mut last: Vec<u8>, filled: usize) -> io::Result<u64> {
        last.truncate(filled);
        // A writer that is gone says why when it is waited for.
        let _ = self.give(last);
        self.end()
    }

    fn give(&mut self, chunk: Vec<u8>) -> Result<(), ()> {
        let (done, piece) = sync_channel(1);
        let after = if self.looks_back { chunk[chunk.len().saturating_sub(WINDOW)..].to_vec() } else { Vec::new() };
        let before = std::mem::replace(&mut self.before, after);
        self.order.send(piece).map_err(drop)?;
        self.jobs.send(Job { chunk, before, done }).map_err(drop)
    }

    fn end(&mut self) -> io::Result<u64> {
        drop(std::mem::replace(&mut self.order, sync_channel(0).0));
        // A panic ends the whole process before this can see it.
        self.writer.take().map_or(Ok(0), |writer| writer.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
    }
}

fn work(format: BlockFormat, waiting: &Mutex<Receiver<Job>>) {
    let level = match format {
        BlockFormat::Gzip { level } | BlockFormat::Bzip2 { level } => u32::from(level),
    };
    let mut deflate = Compress::new(Compression::new(level), false);
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { chunk, before, done }) = job else { return };
        let mut checksum = Crc::new();
        let bytes = match format {
            BlockFormat::Gzip { .. } => {
                checksum.update(&chunk);
                deflated(&mut deflate, &chunk, &before)
            }
            BlockFormat::Bzip2 { .. } => bzipped(&chunk, level),
        };
        // A writer that failed listens no more.
        let _ = done.send(Done { bytes, checksum, chunk });
    }
}

/// Deflates a chunk so that its last block ends on a byte and is not the last of the stream.
fn deflated(deflate: &mut Compress, chunk: &[u8], before: &[u8]) -> io::Result<Vec<u8>> {
    deflate.reset();
    if !before.is_empty() {
        deflate.set_dictionary(before)?;
    }
    let mut bytes = Vec::with_capacity(chunk.len() / 2 + 4096);
    loop {
        let taken = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        deflate.compress_vec(&chunk[taken..], &mut bytes, FlushCompress::Sync)?;
        // With room left, everything is out.
        if bytes.len() < bytes.capacity() {
            return Ok(bytes);
        }
        bytes.reserve(chunk.len() / 4 + 4096);
    }
}

fn bzipped(chunk: &[u8], level: u32) -> io::Result<Vec<u8>> {
    if chunk.is_empty() {
        return Ok(Vec::new());
    }
    let mut encoder = bzip2::write::BzEncoder::new(Vec::with_capacity(chunk.len() / 2), bzip2::Compression::new(level));
    encoder.write_all(chunk)?;
    encoder.finish()
}

fn write(mut output: Output, format: BlockFormat, pieces: &Receiver<Receiver<Done>>, back: &SyncSender<Vec<u8>>) -> io::Result<u64> {
    let mut checksum = Crc::new();
    if let BlockFormat::Gzip { .. } = format {
        // Deflate, no flags, no time, no hint, Unix. Source: RFC 1952.
        output.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])?;
    }
    while let Ok(piece) = pieces.recv() {
        let Ok(done) = piece.recv() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        output.write_all(&done.bytes?)?;
        checksum.combine(&done.checksum);
        // With enough of them in reserve it is dropped.
        let _ = back.try_send(done.chunk);
    }
    if let BlockFormat::Gzip { .. } = format {
        // An empty last block; the checksum; the length modulo 2^32, which is how the library counts.
        output.write_all(&[3, 0])?;
        output.write_all(&checksum.sum().to_le_bytes())?;
        output.write_all(&checksum.amount().to_le_bytes())?;
    }
    Ok(output.written)
}
