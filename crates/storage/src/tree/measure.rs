//! How much a tree takes on its device.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use super::TreeError;
use super::walk::{Entry, Visit, walk};

/// Adds up what everything below a directory takes, in bytes. Files with several names count once; what is mounted
/// inside does not count; extents that are shared with other files do.
///
/// # Errors
/// The first thing that could not be looked at.
pub fn measure(top: BorrowedFd<'_>) -> Result<u64, TreeError> {
    let mut measure = Measure { blocks: 0, seen: HashSet::new() };
    walk(top, &mut measure)?;
    Ok(measure.blocks * 512)
}

struct Measure {
    blocks: u64,
    seen: HashSet<(u32, u32, u64)>,
}

impl Visit for Measure {
    fn file(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if entry.stat.stx_nlink == 1 || self.seen.insert(entry.identity()) {
            self.blocks += entry.stat.stx_blocks;
        }
        Ok(())
    }

    fn enter(&mut self, _entry: &Entry<'_>) -> io::Result<()> {
        Ok(())
    }

    fn leave(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.blocks += entry.stat.stx_blocks;
        Ok(())
    }

    fn mount_point(&mut self, _entry: &Entry<'_>) -> io::Result<()> {
        Ok(())
    }
}
