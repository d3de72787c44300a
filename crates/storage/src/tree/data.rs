//! The content of one file into another: shared where the file system can, holes kept, else copied in the kernel.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use super::reuse::fill;

/// Files up to this many bytes are read and written: that is quicker than asking the kernel to copy so little.
const SMALL: usize = 128 << 10;

/// The least that file systems share.
const BLOCK: usize = 4096;

/// A file system that tells neither where holes are nor how much room a file takes.
///
/// Source: Linux, `include/linux/ceph/ceph_fs.h`: `CEPH_SUPER_MAGIC`.
const CEPH: i64 = 0x00c3_6400;

/// Copies contents, remembering what the two file systems can do.
pub(super) struct Copier {
    share: bool,
    in_kernel: bool,
    /// Whether the source's file system hides where holes are, once that was looked at.
    hides_holes: Option<bool>,
    buffer: Vec<u8>,
}

impl Copier {
    pub(super) fn new() -> Self {
        Self { share: true, in_kernel: true, hides_holes: None, buffer: vec![0; SMALL] }
    }

    /// Copies all of `source`, which has about `size` bytes of which `allocated` are on the device, into an empty file.
    pub(super) fn copy(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, size: u64, allocated: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        if self.share {
            match rustix::fs::ioctl_ficlone(target, source) {
                Ok(()) => return Ok(()),
                Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => self.share = false,
                // This one file cannot be shared (a swap file, another block size, not copied on write).
                Err(Errno::INVAL | Errno::TXTBSY | Errno::PERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if allocated < size {
            return self.sparse(source, target, size);
        }
        if size <= SMALL as u64 {
            return self.by_hand(source, target, 0, u64::MAX);
        }
        self.range(source, target, 0, u64::MAX)
    }

    /// Makes an empty file what `source` is, which has about `size` bytes, out of the blocks of `old`, of which only those are
    /// written that differ. Where blocks cannot be shared it is a copy like any other.
    pub(super) fn copy_onto(&mut self, source: BorrowedFd<'_>, old: BorrowedFd<'_>, target: BorrowedFd<'_>, size: u64) -> io::Result<()> {
        if rustix::fs::ioctl_ficlone(target, old).is_err() {
            return self.sparse(source, target, size);
        }
        rustix::fs::ftruncate(target, size)?;
        let mut at = 0;
        while at < size {
            let data = match rustix::fs::seek(source, SeekFrom::Data(at)) {
                Ok(data) => data.min(size),
                Err(Errno::NXIO) => size,
                Err(errno) => return Err(errno.into()),
            };
            if data > at {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(target, hole, at, data - at)?;
            }
            if data == size {
                return Ok(());
            }
            at = rustix::fs::seek(source, SeekFrom::Hole(data))?.min(size);
            self.differing(source, target, data, at)?;
        }
        Ok(())
    }

    /// Writes what differs between two places of two files, block by block.
    fn differing(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, start: u64, end: u64) -> io::Result<()> {
        let mut there = vec![0; SMALL];
        let mut at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(SMALL).min(SMALL);
            let count = fill(source, &mut self.buffer[..wanted], at)?;
            let present = fill(target, &mut there[..count], at)?;
            for block in (0..count).step_by(BLOCK) {
                let to = (block + BLOCK).min(count);
                if to <= present && self.buffer[block..to] == there[block..to] {
                    continue;
                }
                let mut written = block;
                while written < to {
                    let rest = &self.buffer[written..to];
                    written += rustix::io::retry_on_intr(|| rustix::io::pwrite(target, rest, at + written as u64))?;
                }
            }
            if count < wanted {
                return Ok(());
            }
            at += count as u64;
        }
        Ok(())
    }

    /// Copies what lies between holes.
    fn sparse(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, size: u64) -> io::Result<()> {
        let mut at = 0;
        while at < size {
            let data = match rustix::fs::seek(source, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(Errno::NXIO) => break,
                // The file system cannot tell holes from data.
                Err(Errno::INVAL) => return self.range(source, target, 0, u64::MAX),
                Err(errno) => return Err(errno.into()),
            };
            let hole = rustix::fs::seek(source, SeekFrom::Hole(data))?;
            self.range(source, target, data, hole - data)?;
            at = hole;
        }
        // A hole at the end is made by the size alone.
        let written = rustix::fs::fstat(target)?.st_size as u64;
        if written < size {
            rustix::fs::ftruncate(target, size)?;
        }
        Ok(())
    }

    /// Copies up to `length` bytes from `start`, to the same place; stops at the end of the file.
    fn range(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, start: u64, length: u64) -> io::Result<()> {
        if length > SMALL as u64 && self.hides_holes(source)? {
            return self.without_zeros(source, target, start, length);
        }
        let (mut from, mut to, mut left) = (start, start, length);
        while self.in_kernel && left > 0 {
            let wanted = usize::try_from(left.min(1 << 30)).unwrap_or(1 << 30);
            match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), wanted) {
                Ok(0) => return Ok(()),
                Ok(count) => left -= count as u64,
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => self.in_kernel = false,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if left == 0 { Ok(()) } else { self.by_hand(source, target, from, left) }
    }

    fn hides_holes(&mut self, source: BorrowedFd<'_>) -> io::Result<bool> {
        if let Some(hides) = self.hides_holes {
            return Ok(hides);
        }
        let hides = rustix::fs::fstatfs(source)?.f_type == CEPH;
        self.hides_holes = Some(hides);
        Ok(hides)
    }

    /// Copies like [`Copier::range`] what is not zero, block by block: where nothing is written there is a hole.
    fn without_zeros(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, start: u64, length: u64) -> io::Result<()> {
        let end = start.saturating_add(length);
        let mut at = start;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(SMALL).min(SMALL);
            let count = fill(source, &mut self.buffer[..wanted], at)?;
            for block in (0..count).step_by(BLOCK) {
                let to = (block + BLOCK).min(count);
                let mut written = if self.buffer[block..to].iter().all(|byte| *byte == 0) { to } else { block };
                while written < to {
                    let rest = &self.buffer[written..to];
                    written += rustix::io::retry_on_intr(|| rustix::io::pwrite(target, rest, at + written as u64))?;
                }
            }
            at += count as u64;
            if count < wanted {
                break;
            }
        }
        // A hole at the end is made by the size alone.
        if (rustix::fs::fstat(target)?.st_size as u64) < at {
            rustix::fs::ftruncate(target, at)?;
        }
        Ok(())
    }

    fn by_hand(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, start: u64, length: u64) -> io::Result<()> {
        let (mut at, mut left) = (start, length);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(SMALL).min(SMALL);
            let count = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut self.buffer[..wanted], at))?;
            if count == 0 {
                return Ok(());
            }
            let mut written = 0;
            while written < count {
                let rest = &self.buffer[written..count];
                written += rustix::io::retry_on_intr(|| rustix::io::pwrite(target, rest, at + written as u64))?;
            }
            if count < wanted {
                // Regular files give less than asked for only at their end.
                return Ok(());
            }
            at += count as u64;
            left -= count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn what_is_zero_becomes_a_hole() {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut content = vec![0; (3 << 20) + 17];
        content[1 << 20..(1 << 20) + 5].copy_from_slice(b"words");
        source.write_all_at(&content, 0).unwrap();
        Copier::new().without_zeros(source.as_fd(), target.as_fd(), 0, u64::MAX).unwrap();
        let mut copied = vec![1; content.len()];
        target.read_exact_at(&mut copied, 0).unwrap();
        let found = target.metadata().unwrap();
        assert!(copied == content && found.len() == content.len() as u64);
        assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    }
}
