//! Making one window of the new file.

use std::os::fd::BorrowedFd;

use super::super::failure::Failure;
use super::code::{Addresses, Step, codes};
use super::damaged;
use super::input::Bytes;

/// Where windows copy from.
pub(super) struct Sources<'f> {
    pub(super) base: BorrowedFd<'f>,
    pub(super) base_size: u64,
    /// The new file, as far as it is written.
    pub(super) target: BorrowedFd<'f>,
    pub(super) written: u64,
}

/// The stretch of a file that a window copies from.
#[derive(Default)]
pub(super) struct Segment {
    pub(super) in_target: bool,
    pub(super) position: u64,
    pub(super) length: u64,
}

/// A window of the new file, as the delta describes it.
pub(super) struct Window {
    pub(super) segment: Segment,
    /// Bytes that it has in the new file.
    pub(super) size: u64,
    /// The Adler-32 sum of those, where it is told.
    pub(super) checksum: Option<u32>,
    pub(super) data: Vec<u8>,
    pub(super) instructions: Vec<u8>,
    pub(super) addresses: Vec<u8>,
}

impl Window {
    /// Makes the window's bytes.
    pub(super) fn make(&self, sources: &Sources<'_>) -> Result<Vec<u8>, Failure> {
        let codes = codes();
        let (mut data, mut instructions, mut told) = (Bytes(&self.data), Bytes(&self.instructions), Bytes(&self.addresses));
        let mut addresses = Addresses::new();
        let mut made = Vec::new();
        while !instructions.0.is_empty() {
            for step in codes[usize::from(instructions.byte()?)] {
                match step {
                    Step::Nothing => {}
                    Step::Add(size) => {
                        let size = self.size_of_step(size, &mut instructions, &made)?;
                        made.extend_from_slice(data.take(size)?);
                    }
                    Step::Run => {
                        let size = self.size_of_step(0, &mut instructions, &made)?;
                        made.resize(made.len() + size, data.byte()?);
                    }
                    Step::Copy(size, mode) => {
                        let size = self.size_of_step(size, &mut instructions, &made)?;
                        let here = self.segment.length + made.len() as u64;
                        let address = addresses.read(mode, here, &mut told)?;
                        self.copy(sources, address, size, &mut made)?;
                    }
                }
            }
        }
        if made.len() as u64 != self.size || !data.0.is_empty() || !told.0.is_empty() {
            return Err(damaged("a window's parts do not belong together"));
        }
        match self.checksum {
            Some(sum) if sum != adler32(&made) => Err(damaged("a window has another checksum than it says: it was made for another image")),
            _ => Ok(made),
        }
    }

    /// The bytes that a step makes; the window must have room for them.
    fn size_of_step(&self, size: u8, instructions: &mut Bytes<'_>, made: &[u8]) -> Result<usize, Failure> {
        let size = if size == 0 { instructions.number()? } else { size.into() };
        if size > self.size - made.len() as u64 {
            return Err(damaged("a window has more bytes than it says"));
        }
        usize::try_from(size).map_err(|_| damaged("a window has more bytes than there is memory"))
    }

    /// Copies from the segment, from the window itself, or from the end of the one into the beginning of the other.
    fn copy(&self, sources: &Sources<'_>, address: u64, size: usize, made: &mut Vec<u8>) -> Result<(), Failure> {
        let from_segment = self.segment.length.saturating_sub(address).min(size as u64);
        if from_segment > 0 {
            let start = made.len();
            made.resize(start + usize::try_from(from_segment).unwrap_or(size), 0);
            self.segment.read(sources, address, &mut made[start..])?;
        }
        let mut left = size - usize::try_from(from_segment).unwrap_or(size);
        let mut at = usize::try_from((address + from_segment).saturating_sub(self.segment.length)).unwrap_or(usize::MAX);
        while left > 0 {
            // It may copy what it makes by copying.
            let count = left.min(made.len() - at);
            made.extend_from_within(at..at + count);
            at += count;
            left -= count;
        }
        Ok(())
    }
}

impl Segment {
    /// Fills the buffer from byte `at` of the segment on.
    fn read(&self, sources: &Sources<'_>, at: u64, mut buffer: &mut [u8]) -> Result<(), Failure> {
        let (part, file) = if self.in_target { ("patched", sources.target) } else { ("base", sources.base) };
        let mut at = self.position + at;
        while !buffer.is_empty() {
            let count = rustix::io::pread(file, &mut *buffer, at);
            let count = count.map_err(|errno| Failure::Read { part: part.into(), errno: errno.raw_os_error() })?;
            if count == 0 {
                return Err(Failure::damaged(part, "it became shorter while it was read"));
            }
            buffer = &mut buffer[count..];
            at += count as u64;
        }
        Ok(())
    }
}

/// The sum that xdelta3 takes of windows. Source: RFC 1950, section 8.2.
fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    let (mut low, mut high) = (1_u32, 0_u32);
    // So many bytes do not overflow before the remainder is taken.
    for chunk in bytes.chunks(5552) {
        for byte in chunk {
            low += u32::from(*byte);
            high += low;
        }
        low %= MODULUS;
        high %= MODULUS;
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&vec![0xff; 1 << 20]), 0x8e88_ef11);
    }
}
