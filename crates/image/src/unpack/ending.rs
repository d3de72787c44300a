//! Whether a file's end is there, told without decompressing what lies before it.
//!
//! A compressed archive of some hundred megabytes takes seconds to read to its end; that it was cut short, which is by far the
//! most frequent damage, shows in its last bytes (xz) or in the chain of its blocks' sizes (Zstandard).

use std::os::fd::BorrowedFd;

use super::failure::Failure;
use crate::format::{Compression, Format};
use crate::receive::size_of;

/// What the last bytes of an xz stream are.
///
/// Source: "The .xz File Format" 1.2.1, section 2.1.2.
const XZ_FOOTER: usize = 12;

/// Bytes that are read at once where only a few are wanted.
const PEEK: usize = 512;

/// Says whether [`require`] finds out that files of this format are cut short; others must be read to their ends.
pub(super) fn shows(format: Format) -> bool {
    match format {
        // A squashfs says how long it is in its first bytes, which are read anyway.
        Format::Squashfs | Format::Tar(Compression::Xz | Compression::Zstd) => true,
        Format::Qcow2 | Format::Tar(Compression::None | Compression::Gzip | Compression::Bzip2 | Compression::Lzma) => false,
    }
}

/// Refuses a file whose end is missing.
pub(super) fn require(part: &'static str, file: BorrowedFd<'_>, format: Format) -> Result<(), Failure> {
    let size = size_of(file).map_err(|error| unreadable(part, &error))?;
    let mut peek = Peek { part, file, size, at: 0, bytes: Vec::new() };
    let whole = match format {
        Format::Tar(Compression::Xz) => ends_in_a_footer(&mut peek)?,
        Format::Tar(Compression::Zstd) => ends_behind_a_frame(&mut peek)?,
        Format::Squashfs | Format::Qcow2 => true,
        Format::Tar(Compression::None | Compression::Gzip | Compression::Bzip2 | Compression::Lzma) => true,
    };
    if whole { Ok(()) } else { Err(Failure::damaged(part, format!("it ends after {size} bytes, in the middle of its compressed data"))) }
}

/// Says whether an xz file's last stream has its footer. Behind that there may be zeros, four by four.
fn ends_in_a_footer(peek: &mut Peek<'_>) -> Result<bool, Failure> {
    let mut end = peek.size;
    while end >= 4 && peek.get(end - 4)? == Some([0; 4]) {
        end -= 4;
    }
    let Some(start) = end.checked_sub(XZ_FOOTER as u64) else { return Ok(false) };
    let Some(footer) = peek.get::<XZ_FOOTER>(start)? else { return Ok(false) };
    let mut sum = flate2::Crc::new();
    sum.update(&footer[4..10]);
    Ok(footer.ends_with(b"YZ") && footer[..4] == sum.sum().to_le_bytes())
}

/// Says whether a Zstandard file ends where a frame does.
///
/// Source: RFC 8878, sections 3.1.1 and 3.1.2.
fn ends_behind_a_frame(peek: &mut Peek<'_>) -> Result<bool, Failure> {
    let mut at = 0;
    while at < peek.size {
        let Some(magic) = peek.get(at)?.map(u32::from_le_bytes) else { return Ok(false) };
        let next = match magic {
            0xfd2f_b528 => behind_frame(peek, at + 4)?,
            // A frame that says nothing, and how long it is.
            0x184d_2a50..=0x184d_2a5f => peek.get(at + 4)?.map(|length| at + 8 + u64::from(u32::from_le_bytes(length))),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(false),
        }
    }
    Ok(at == peek.size)
}

/// Where the frame ends whose header begins at `at`.
fn behind_frame(peek: &mut Peek<'_>, mut at: u64) -> Result<Option<u64>, Failure> {
    let Some([descriptor]) = peek.get(at)? else { return Ok(None) };
    let single_segment = descriptor & 0x20 != 0;
    let window = u64::from(!single_segment);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = [u64::from(single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
    at += 1 + window + dictionary + content_size;
    loop {
        let Some([low, middle, high]) = peek.get(at)? else { return Ok(None) };
        let block = u32::from_le_bytes([low, middle, high, 0]);
        at += 3;
        at += match block >> 1 & 3 {
            // One byte that is repeated.
            1 => 1,
            3 => return Ok(None),
            _ => u64::from(block >> 3),
        };
        if block & 1 != 0 {
            let checksum = if descriptor & 4 != 0 { 4 } else { 0 };
            return Ok(Some(at + checksum));
        }
    }
}

/// A file of which a few bytes are wanted here and there.
struct Peek<'f> {
    part: &'static str,
    file: BorrowedFd<'f>,
    size: u64,
    /// Where `bytes` stand.
    at: u64,
    bytes: Vec<u8>,
}

impl Peek<'_> {
    /// The bytes from `at` on; none if the file ends before.
    fn get<const N: usize>(&mut self, at: u64) -> Result<Option<[u8; N]>, Failure> {
        if at.saturating_add(N as u64) > self.size {
            return Ok(None);
        }
        if at < self.at || at + N as u64 > self.at + self.bytes.len() as u64 {
            self.bytes.resize(PEEK, 0);
            let count = rustix::io::pread(self.file, &mut self.bytes, at).map_err(|errno| unreadable(self.part, &errno.into()))?;
            self.bytes.truncate(count);
            self.at = at;
        }
        let offset = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        Ok(self.bytes.get(offset..).and_then(<[u8]>::first_chunk).copied())
    }
}

fn unreadable(part: &str, error: &std::io::Error) -> Failure {
    Failure::Read { part: part.to_owned(), errno: error.raw_os_error().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    /// Writes a file, checks that it is whole, and that none of its beginnings is.
    #[track_caller]
    fn check(compression: Compression, bytes: &[u8]) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        require("rootfs", file.as_fd(), Format::Tar(compression)).unwrap();
        for length in (0..bytes.len()).rev() {
            file.set_len(length as u64).unwrap();
            // Without a byte it is no file of this format, which is found out before.
            let cut = require("rootfs", file.as_fd(), Format::Tar(compression));
            assert!(length == 0 || cut.is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    fn text() -> Vec<u8> {
        (0..3000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    fn xz() -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(b"some text").unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn xz_ends_in_a_footer() {
        check(Compression::Xz, &xz());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[xz(), vec![0; 8], xz(), vec![0; 400]].concat()).unwrap();
        require("rootfs", file.as_fd(), Format::Tar(Compression::Xz)).unwrap();
    }

    #[test]
    fn zstd_ends_behind_a_frame() {
        let packed = |checksum, size| {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(checksum).unwrap();
            if size {
                encoder.set_pledged_src_size(Some(text().len() as u64)).unwrap();
            }
            encoder.write_all(&text()).unwrap();
            encoder.finish().unwrap()
        };
        check(Compression::Zstd, &packed(false, false));
        check(Compression::Zstd, &packed(true, true));
        check(Compression::Zstd, &zstd::bulk::compress(&[7; 3000], 1).unwrap());
        // Its beginning that ends behind the first frame is one of its own.
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let frames = [skippable.as_slice(), &packed(false, false), &packed(true, false)].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&frames).unwrap();
        require("rootfs", file.as_fd(), Format::Tar(Compression::Zstd)).unwrap();
        file.write_all(b"tail").unwrap();
        let error = require("rootfs", file.as_fd(), Format::Tar(Compression::Zstd)).unwrap_err();
        assert!(error.to_string().contains("the rootfs file is damaged: it ends after"), "{error}");
    }
}
