//! Decompressing data blocks on several threads, in any order, for a writer that wants them in one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::super::failure::Failure;
use super::superblock::{Decompressor, Image, damaged};

/// A size field's bit that says the block is stored as it is.
const STORED: u32 = 1 << 24;

/// A block that is or will be decompressed.
#[derive(Debug)]
pub(super) struct Block {
    bytes: OnceLock<Result<Vec<u8>, Failure>>,
    spare: Arc<Spare>,
}

impl Block {
    /// The bytes, once they are there.
    pub(super) fn wait(&self) -> Result<&[u8], Failure> {
        self.bytes.wait().as_deref().map_err(Clone::clone)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(Ok(bytes)) = self.bytes.take() {
            self.spare.lock().push(bytes);
        }
    }
}

/// Buffers to be used again: asking the kernel for fresh memory for each block costs more than decompressing it.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a block lies in the file.
struct Job {
    block: Arc<Block>,
    at: u64,
    size: u32,
}

/// Threads that decompress.
pub(super) struct Pool {
    jobs: SyncSender<Job>,
    spare: Arc<Spare>,
}

impl Pool {
    /// Starts one thread for each processor, at most eight.
    pub(super) fn start(image: &Arc<Image>, done: &Arc<AtomicU64>) -> Result<Self, Failure> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
        let (jobs, waiting) = sync_channel(2 * count);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..count {
            let (waiting, image, done) = (Arc::clone(&waiting), Arc::clone(image), Arc::clone(done));
            let body = move || work(&waiting, &image, &done);
            let thread = std::thread::Builder::new().name("decompress".into()).spawn(body);
            thread.map_err(|error| Failure::confine("starting the decompressor's threads", error))?;
        }
        Ok(Self { jobs, spare: Arc::default() })
    }

    /// Asks for the block at byte `at` of the file, whose size field is `size`.
    pub(super) fn fetch(&self, at: u64, size: u32) -> Result<Arc<Block>, Failure> {
        let block = Arc::new(Block { bytes: OnceLock::new(), spare: Arc::clone(&self.spare) });
        let job = Job { block: Arc::clone(&block), at, size };
        self.jobs.send(job).map_err(|_| damaged("a decompressor's thread has ended"))?;
        Ok(block)
    }
}

/// Bytes that a block takes in the file.
pub(super) fn stored_size(size: u32) -> u64 {
    u64::from(size & (STORED - 1))
}

fn work(waiting: &Mutex<Receiver<Job>>, image: &Image, done: &AtomicU64) {
    let mut decompressor = Decompressor::new(image);
    let mut data = Vec::new();
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let mut out = job.block.spare.lock().pop().unwrap_or_default();
        let fetched = fetch(image, &job, &mut decompressor, &mut data, &mut out);
        done.fetch_add(stored_size(job.size), Ordering::Relaxed);
        // Each block is one job, so nobody else has set it.
        let _ = job.block.bytes.set(fetched.map(|()| out));
    }
}

fn fetch(image: &Image, job: &Job, decompressor: &mut Decompressor, data: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Failure> {
    let limit = image.superblock.block_size;
    let size = usize::try_from(stored_size(job.size)).unwrap_or(usize::MAX);
    if size > limit || job.size >= STORED << 1 {
        return Err(damaged("a block's size is impossible"));
    }
    let compressed = job.size & STORED == 0;
    let buffer = if compressed { &mut *data } else { &mut *out };
    buffer.resize(size, 0);
    image.read(buffer, job.at)?;
    if compressed { decompressor.run(data, limit, out) } else { Ok(()) }
}
