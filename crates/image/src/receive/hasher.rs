//! The hash of files that are still being written, by a thread of its own.
//!
//! It reads the bytes back out of the files, where they are still in memory: what is hashed is what is stored, writing does not
//! wait for it, and nothing is kept between the two however far one is behind.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};

/// Bytes read back at a time: they stay in the processor's cache.
const PIECE: usize = 256 << 10;

/// Hashes one file after another, as far as they are said to be written.
///
/// Dropping it ends its thread.
#[derive(Debug)]
pub(super) struct Hasher {
    news: Sender<News>,
    thread: JoinHandle<io::Result<Sha256>>,
}

/// What the thread hears.
#[derive(Debug)]
enum News {
    /// The file has so many bytes.
    Length(u64),
    /// The bytes of another file follow.
    Next(OwnedFd),
}

impl Hasher {
    /// Begins with a file that is still empty.
    ///
    /// # Errors
    /// If there is no descriptor or thread left.
    pub(super) fn start(file: BorrowedFd<'_>) -> io::Result<Self> {
        let file = file.try_clone_to_owned()?;
        let (news, heard) = channel();
        let thread = std::thread::Builder::new().name("hash".into()).spawn(move || follow(file, &heard))?;
        Ok(Self { news, thread })
    }

    /// Says how many bytes the file has now. One that stopped reading says why in the end.
    pub(super) fn written(&self, length: u64) {
        let _ = self.news.send(News::Length(length));
    }

    /// Goes on with another file; the length of the one before must have been said.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub(super) fn next(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let _ = self.news.send(News::Next(file.try_clone_to_owned()?));
        Ok(())
    }

    /// Waits for the rest and returns the hash in hexadecimal digits.
    ///
    /// # Errors
    /// If a file could not be read back.
    pub(super) fn finish(self) -> io::Result<String> {
        drop(self.news);
        let hash = self.thread.join().map_err(|_| io::Error::other("the thread that hashes has panicked"))??;
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn follow(mut file: OwnedFd, heard: &Receiver<News>) -> io::Result<Sha256> {
    let (mut hash, mut at, mut buffer) = (Sha256::new(), 0, vec![0; PIECE]);
    for news in heard {
        match news {
            News::Next(next) => (file, at) = (next, 0),
            News::Length(length) => {
                while at < length {
                    let wanted = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
                    match rustix::io::pread(&file, &mut buffer[..wanted], at) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(count) => {
                            hash.update(&buffer[..count]);
                            at += count as u64;
                        }
                        Err(rustix::io::Errno::INTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
            }
        }
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn file(text: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    #[test]
    fn files_are_hashed_one_after_another_as_far_as_they_are_said_to_be() {
        let (first, second) = (file(b"ab, and what comes later"), file(b"c"));
        let hasher = Hasher::start(first.as_fd()).unwrap();
        for length in [1, 1, 2] {
            hasher.written(length);
        }
        hasher.next(second.as_fd()).unwrap();
        hasher.written(1);
        assert_eq!(hasher.finish().unwrap(), ABC);
    }

    #[test]
    fn more_than_a_piece_is_read_in_order() {
        let text: Vec<u8> = (0..PIECE as u32).flat_map(u32::to_le_bytes).collect();
        let (long, rest) = (file(&text), text.len() as u64);
        let hasher = Hasher::start(long.as_fd()).unwrap();
        hasher.written(5);
        hasher.written(rest);
        let whole: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hasher.finish().unwrap(), whole);
    }

    #[test]
    fn what_is_not_there_is_no_hash() {
        let hasher = Hasher::start(file(b"abc").as_fd()).unwrap();
        hasher.written(4);
        assert_eq!(hasher.finish().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
