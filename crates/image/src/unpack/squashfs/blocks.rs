//! Decompressing data blocks on several threads, in any order, for a writer that wants them in one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::super::failure::Failure;
use super::superblock::{Image, damaged};

/// A size field's bit that says the block is stored as it is.
const STORED: u32 = 1 << 24;

/// A block that is or will be decompressed.
#[derive(Debug, Default)]
pub(super) struct Block(OnceLock<Result<Vec<u8>, Failure>>);

impl Block {
    /// The bytes, once they are there.
    pub(super) fn wait(&self) -> Result<&[u8], Failure> {
        self.0.wait().as_deref().map_err(Clone::clone)
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
        Ok(Self { jobs })
    }

    /// Asks for the block at byte `at` of the file, whose size field is `size`.
    pub(super) fn fetch(&self, at: u64, size: u32) -> Result<Arc<Block>, Failure> {
        let block = Arc::new(Block::default());
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
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let bytes = fetch(image, &job);
        done.fetch_add(stored_size(job.size), Ordering::Relaxed);
        // Each block is one job, so nobody else has set it.
        let _ = job.block.0.set(bytes);
    }
}

fn fetch(image: &Image, job: &Job) -> Result<Vec<u8>, Failure> {
    let limit = image.superblock.block_size;
    let size = usize::try_from(stored_size(job.size)).unwrap_or(usize::MAX);
    if size > limit || job.size >= STORED << 1 {
        return Err(damaged("a block's size is impossible"));
    }
    let mut data = vec![0; size];
    image.read(&mut data, job.at)?;
    if job.size & STORED == 0 { image.decompress(&data, limit) } else { Ok(data) }
}
