//! Counting what an image holds against what it may hold.

use super::failure::Failure;
use super::order::Limits;

/// Bytes of names and attributes that are remembered at once. A million directories with names of a hundred bytes take half of
/// it; an archive of the longest names and attributes would otherwise take all memory.
const HELD: u64 = 256 << 20;

/// What remembering one name costs besides its bytes.
const EACH: u64 = 64;

/// What is left of the limits.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    bytes: u64,
    files: u64,
    held: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, files: 0, held: 0 }
    }

    /// Counts bytes of content.
    pub(super) fn bytes(&mut self, count: u64) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(count);
        if self.bytes <= self.limits.bytes { Ok(()) } else { Err(Failure::Limit { limit: self.limits.bytes, unit: "bytes".into() }) }
    }

    /// Counts one name.
    pub(super) fn file(&mut self) -> Result<(), Failure> {
        self.files += 1;
        if self.files <= self.limits.files { Ok(()) } else { Err(Failure::Limit { limit: self.limits.files, unit: "files".into() }) }
    }

    /// Counts a name, with what belongs to it, that is remembered from now on.
    pub(super) fn hold(&mut self, count: usize) -> Result<(), Failure> {
        self.held = self.held.saturating_add(count as u64 + EACH);
        if self.held <= HELD { Ok(()) } else { Err(Failure::Limit { limit: HELD, unit: "bytes of names and attributes".into() }) }
    }

    /// Counts one that is remembered no longer.
    pub(super) fn release(&mut self, count: usize) {
        self.held = self.held.saturating_sub(count as u64 + EACH);
    }

    pub(super) fn counted(&self) -> (u64, u64) {
        (self.files, self.bytes)
    }
}

impl Limits {
    /// How many bytes an archive within these limits may decompress to: each name may take a header, a long name and a few
    /// attributes. Holes take nothing.
    pub(super) fn archive_bytes(self) -> u64 {
        self.bytes.saturating_add(self.files.saturating_mul(4096)).saturating_add(64 << 20)
    }
}
