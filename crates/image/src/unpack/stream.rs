//! An archive's bytes, decompressed by a thread of its own while the main thread writes what they hold.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::failure::Failure;
use super::report::Reporter;
use super::xz::XzReader;
use crate::format::Compression;

/// Bytes in one chunk: large enough that handing it over costs nothing, small enough that it stays in the cache.
const CHUNK: usize = 256 << 10;

/// Bytes in the first chunk; each next is twice as large. Who only wants to know what an archive is need not wait for more.
const FIRST_CHUNK: usize = 16 << 10;

/// Chunks under way at once.
const CHUNKS: usize = 8;

/// What decompressors may keep in memory, in bytes: enough for `xz -9` and `zstd --ultra -22`, not for a hostile dictionary.
pub(super) const MEMORY: u64 = 256 << 20;

/// The largest window of a Zstandard archive, as a power of two: what the `zstd` program accepts without being asked.
const ZSTD_WINDOW_LOG: u32 = 27;

/// An archive's decompressed bytes.
pub(super) struct Stream<'r> {
    part: &'static str,
    chunks: Receiver<io::Result<Vec<u8>>>,
    spare: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    read: u64,
    limit: u64,
    source: Arc<AtomicU64>,
    reporter: &'r Reporter,
}

impl<'r> Stream<'r> {
    /// Begins to read `file`; more than `limit` decompressed bytes are a failure.
    pub(super) fn open(
        part: &'static str,
        file: OwnedFd,
        compression: Compression,
        limit: u64,
        reporter: &'r Reporter,
    ) -> Result<Self, Failure> {
        let source = Arc::new(AtomicU64::new(0));
        let reader = FileReader { file, at: Arc::clone(&source) };
        let (full, chunks) = sync_channel(CHUNKS);
        let (spare, empty) = channel();
        let body = move || match decoder(reader, compression) {
            Ok(decoder) => pump(decoder, &full, &empty),
            Err(error) => drop(full.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("decompress".into()).spawn(body);
        thread.map_err(|error| Failure::confine("starting the decompressor's thread", error))?;
        Ok(Self { part, chunks, spare, chunk: Vec::new(), at: 0, read: 0, limit, source, reporter })
    }

    /// The name of the image's part this is.
    pub(super) fn part(&self) -> &'static str {
        self.part
    }

    /// How many bytes were consumed so far.
    pub(super) fn position(&self) -> u64 {
        self.read - (self.chunk.len() - self.at) as u64
    }

    /// The bytes at hand, at least one; none at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8], Failure> {
        if self.at == self.chunk.len() {
            self.next_chunk()?;
        }
        Ok(&self.chunk[self.at..])
    }

    /// Takes `count` of the bytes that [`Stream::fill`] gave.
    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
        debug_assert!(self.at <= self.chunk.len());
    }

    /// Fills the buffer whole; false if the stream was at its end before the first byte.
    pub(super) fn exact(&mut self, mut buffer: &mut [u8]) -> Result<bool, Failure> {
        let wanted = buffer.len();
        while !buffer.is_empty() {
            let ready = self.fill()?;
            if ready.is_empty() {
                return if buffer.len() == wanted { Ok(false) } else { Err(self.truncated()) };
            }
            let count = ready.len().min(buffer.len());
            buffer[..count].copy_from_slice(&ready[..count]);
            self.consume(count);
            buffer = &mut buffer[count..];
        }
        Ok(true)
    }

    /// Passes over `count` bytes.
    pub(super) fn skip(&mut self, mut count: u64) -> Result<(), Failure> {
        while count > 0 {
            let ready = self.fill()?.len();
            if ready == 0 {
                return Err(self.truncated());
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(ready);
            self.consume(step);
            count -= step as u64;
        }
        Ok(())
    }

    /// Reads to the end, so that a damaged or cut tail of the compressed file shows.
    pub(super) fn drain(&mut self) -> Result<(), Failure> {
        loop {
            let ready = self.fill()?.len();
            if ready == 0 {
                return Ok(());
            }
            self.consume(ready);
        }
    }

    /// The failure of an archive that ends in the middle of something.
    pub(super) fn truncated(&self) -> Failure {
        Failure::damaged(self.part, format!("it ends after {} bytes, in the middle of a member", self.position()))
    }

    fn next_chunk(&mut self) -> Result<(), Failure> {
        let used = std::mem::take(&mut self.chunk);
        self.at = 0;
        // The thread is gone after the last chunk; then nobody wants the buffer back.
        let _ = self.spare.send(used);
        match self.chunks.recv() {
            Ok(Ok(chunk)) => self.chunk = chunk,
            Ok(Err(error)) => return Err(self.unreadable(&error)),
            Err(_) => return Ok(()),
        }
        self.read += self.chunk.len() as u64;
        self.reporter.progress(self.source.load(Ordering::Relaxed));
        if self.read > self.limit {
            return Err(Failure::Limit { limit: self.limit, unit: "bytes".into() });
        }
        Ok(())
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        match error.raw_os_error() {
            Some(errno) => Failure::Read { part: self.part.to_owned(), errno },
            None => Failure::damaged(self.part, error.to_string()),
        }
    }
}

fn pump(mut decoder: Box<dyn Read>, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    let mut size = FIRST_CHUNK;
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(size, 0);
        let outcome = read_full(&mut *decoder, &mut chunk);
        let (count, error) = outcome;
        chunk.truncate(count);
        if count > 0 && full.send(Ok(chunk)).is_err() {
            return;
        }
        match error {
            Some(error) => return drop(full.send(Err(error))),
            None if count < size => return,
            None => size = CHUNK.min(2 * size),
        }
    }
}

/// Reads until the buffer is full, the end or an error; the bytes before an error count.
fn read_full(decoder: &mut dyn Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match decoder.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

fn decoder(file: FileReader, compression: Compression) -> io::Result<Box<dyn Read>> {
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(file))),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(file))),
        Compression::Xz => Box::new(XzReader::new(buffered(file))?),
        Compression::Lzma => {
            let lzma = liblzma::stream::Stream::new_lzma_decoder(MEMORY).map_err(io::Error::from)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(buffered(file), lzma))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(file))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

fn buffered(file: FileReader) -> io::BufReader<FileReader> {
    io::BufReader::with_capacity(CHUNK, file)
}

/// Reads a file by position: the descriptor's own offset is shared with whoever handed it to us.
pub(super) struct FileReader {
    file: OwnedFd,
    at: Arc<AtomicU64>,
}

impl FileReader {
    /// Reads a file from its beginning.
    pub(super) fn of(file: OwnedFd) -> Self {
        Self { file, at: Arc::default() }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = rustix::io::pread(self.file.as_fd(), buffer, self.at.load(Ordering::Relaxed))?;
        self.at.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
