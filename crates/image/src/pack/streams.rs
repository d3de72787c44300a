//! Archives that are compressed as one stream, or not at all: one thread takes chunks and writes; libraries add their own.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use liblzma::stream::{Check, LzmaOptions, MtStreamBuilder, Stream};
use liblzma::write::XzEncoder;

use super::compressor::{Algorithm, Compressor};
use super::sink::{Output, threads};

/// Chunks under way at once.
const UNDER_WAY: usize = 4;

/// What xz's threads may take in all, in bytes.
const MEMORY: u64 = 1 << 30;

/// A thread that compresses and writes.
pub(super) struct Streams {
    chunks: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<u64>>,
}

/// The library that compresses.
enum Encoder {
    None(Output),
    Xz(XzEncoder<Output>),
    Zstd(zstd::stream::write::Encoder<'static, Output>),
}

impl Streams {
    pub(super) fn start(output: OwnedFd, compressor: Compressor) -> io::Result<Self> {
        let encoder = Encoder::new(Output::new(output), compressor)?;
        let (chunks, full) = sync_channel::<Vec<u8>>(UNDER_WAY);
        let (back, spare) = channel();
        let body = move || compress(encoder, &full, &back);
        let thread = std::thread::Builder::new().name("compress".into()).spawn(body)?;
        Ok(Self { chunks, spare, thread })
    }

    /// Takes a full chunk; answers an empty one, perhaps of an earlier one's memory.
    pub(super) fn take(&mut self, chunk: Vec<u8>) -> io::Result<Vec<u8>> {
        // A thread that is gone says why when it is waited for.
        let _ = self.chunks.send(chunk);
        if self.thread.is_finished() {
            return Err(self.end().err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
        }
        Ok(self.spare.try_recv().unwrap_or_default())
    }

    /// Takes the last chunk, of which `filled` bytes count, and waits; answers how many bytes were written.
    pub(super) fn finish(mut self, mut last: Vec<u8>, filled: usize) -> io::Result<u64> {
        last.truncate(filled);
        let _ = self.chunks.send(last);
        self.end()
    }

    fn end(&mut self) -> io::Result<u64> {
        drop(std::mem::replace(&mut self.chunks, sync_channel(0).0));
        let thread = std::mem::replace(&mut self.thread, std::thread::spawn(|| Ok(0)));
        // A panic ends the whole process before this can see it.
        thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }
}

fn compress(mut encoder: Encoder, full: &Receiver<Vec<u8>>, back: &Sender<Vec<u8>>) -> io::Result<u64> {
    while let Ok(chunk) = full.recv() {
        encoder.write(&chunk)?;
        // After the last chunk nobody wants it.
        let _ = back.send(chunk);
    }
    encoder.finish()
}

impl Encoder {
    fn new(output: Output, compressor: Compressor) -> io::Result<Self> {
        let preset = u32::from(compressor.level);
        Ok(match compressor.algorithm {
            Algorithm::Xz => Self::Xz(XzEncoder::new_stream(output, xz(preset)?)),
            Algorithm::Lzma => Self::Xz(XzEncoder::new_stream(output, Stream::new_lzma_encoder(&LzmaOptions::new_preset(preset)?)?)),
            Algorithm::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(output, i32::from(compressor.level))?;
                encoder.include_checksum(true)?;
                encoder.multithread(u32::try_from(threads()).unwrap_or(1))?;
                Self::Zstd(encoder)
            }
            Algorithm::None | Algorithm::Gzip | Algorithm::Bzip2 => Self::None(output),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::None(output) => output.write_all(bytes),
            Self::Xz(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<u64> {
        let output = match self {
            Self::None(output) => output,
            Self::Xz(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        Ok(output.written)
    }
}

/// An encoder with as many threads as there is memory for.
fn xz(preset: u32) -> io::Result<Stream> {
    let mut builder = MtStreamBuilder::new();
    builder.preset(preset).check(Check::Crc64);
    let mut count = u32::try_from(threads()).unwrap_or(1);
    while count > 1 && builder.threads(count).memusage() > MEMORY {
        count -= 1;
    }
    Ok(builder.threads(count).encoder()?)
}
