//! Making a file out of another one and a delta: VCDIFF as `xdelta3` writes it.
//!
//! What a delta says is bounded before it is believed: a window is made in memory and then written, no window, section or file
//! is larger than it may be, and each step reads a byte of the delta or makes one of the file.
//!
//! Source: RFC 3284; that xdelta3 has a header of its own, checksums of windows, and LZMA as "secondary compressor" 2 shows in
//! the files that it writes.

mod code;
mod input;
mod window;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::confine::Sight;
use super::failure::Failure;
use super::order::{Confinement, Line};
use super::report::Reporter;
use super::worker::Job;
use crate::receive::size_of;
use input::{Input, Secondary};
use window::{Segment, Sources, Window};

/// The file's name in errors.
const PART: &str = "delta";

/// The largest window of the new file, and the largest section of a window, in bytes: xdelta3 makes no larger ones.
const WINDOW: u64 = 64 << 20;

/// The largest header for programs, in bytes.
const HEADER: u64 = 64 << 10;

/// A file to be made of another one.
pub(super) struct DeltaJob {
    base: OwnedFd,
    delta: OwnedFd,
    target: OwnedFd,
    limit: u64,
}

impl DeltaJob {
    /// Takes the old file, the delta, and the empty file that becomes the new one.
    pub(super) fn new(limit: u64, mut files: std::vec::IntoIter<OwnedFd>) -> Option<Self> {
        Some(Self { base: files.next()?, delta: files.next()?, target: files.next()?, limit })
    }
}

impl Job for DeltaJob {
    fn sight(&self) -> Sight<'_> {
        Sight::default()
    }

    fn files(&self) -> Vec<BorrowedFd<'_>> {
        [&self.base, &self.delta, &self.target].into_iter().map(AsFd::as_fd).collect()
    }

    fn work(&self, reporter: &Reporter, _: Confinement, _: Vec<OwnedFd>) -> Result<Line, Failure> {
        let delta = self.delta.try_clone().map_err(|error| Failure::confine("copying a descriptor", error))?;
        let progress = &mut |bytes| reporter.progress(bytes);
        apply(self.base.as_fd(), delta, self.target.as_fd(), self.limit, progress).map(|bytes| Line::Patched { bytes })
    }
}

/// Writes the new file; answers its bytes, of which there are at most `limit`.
fn apply(base: BorrowedFd<'_>, delta: OwnedFd, target: BorrowedFd<'_>, limit: u64, progress: &mut dyn FnMut(u64)) -> Result<u64, Failure> {
    let mut input = Input::of(delta);
    let mut secondary = header(&mut input)?;
    let base_size = size_of(base).map_err(|error| Failure::Read { part: "base".into(), errno: error.raw_os_error().unwrap_or(0) })?;
    let mut sources = Sources { base, base_size, target, written: 0 };
    while let Some(indicator) = input.byte_or_end()? {
        let window = read_window(&mut input, indicator, secondary.as_mut(), &sources, limit)?;
        let bytes = window.make(&sources)?;
        write_at(target, &bytes, sources.written)?;
        sources.written += bytes.len() as u64;
        progress(sources.written);
    }
    Ok(sources.written)
}

/// Reads what stands before the windows.
fn header(input: &mut Input) -> Result<Option<Secondary>, Failure> {
    const SECONDARY: u8 = 1;
    const CODE_TABLE: u8 = 2;
    const PROGRAM: u8 = 4;
    if input.array()? != [0xd6, 0xc3, 0xc4, 0] {
        return Err(damaged("it does not begin as VCDIFF files do"));
    }
    let indicator = input.byte()?;
    if indicator & !(SECONDARY | CODE_TABLE | PROGRAM) != 0 {
        return Err(damaged("its header has bits that mean nothing"));
    }
    let secondary = match indicator & SECONDARY {
        0 => None,
        _ => Some(Secondary::of(input.byte()?)?),
    };
    if indicator & CODE_TABLE != 0 {
        return Err(Failure::Unsupported {
            what: "a delta with codes of its own".into(),
            instead: "make it without a table of codes".into(),
        });
    }
    if indicator & PROGRAM != 0 {
        let length = input.number()?;
        input.section(length, HEADER)?;
    }
    Ok(secondary)
}

/// Reads one window of the new file.
fn read_window(
    input: &mut Input,
    indicator: u8,
    secondary: Option<&mut Secondary>,
    sources: &Sources<'_>,
    limit: u64,
) -> Result<Window, Failure> {
    const CHECKSUM: u8 = 4;
    let segment = match indicator & !CHECKSUM {
        0 => Segment::default(),
        from @ (1 | 2) => {
            let (length, position) = (input.number()?, input.number()?);
            let in_target = from == 2;
            let available = if in_target { sources.written } else { sources.base_size };
            if position.checked_add(length).is_none_or(|end| end > available) {
                return Err(damaged("it copies from behind the end of what there is: it was made for another image"));
            }
            Segment { in_target, position, length }
        }
        _ => return Err(damaged("a window has bits that mean nothing")),
    };
    let length = input.number()?;
    let start = input.position();
    let size = input.number()?;
    if sources.written.saturating_add(size) > limit {
        return Err(Failure::Limit { limit, unit: "bytes".into() });
    }
    if size > WINDOW {
        return Err(damaged("a window is larger than those of xdelta3"));
    }
    let compressed = input.byte()?;
    let lengths = [input.number()?, input.number()?, input.number()?];
    let checksum = if indicator & CHECKSUM == 0 { None } else { Some(u32::from_be_bytes(input.array()?)) };
    let mut sections = Vec::with_capacity(lengths.len());
    for length in lengths {
        sections.push(input.section(length, WINDOW)?);
    }
    if input.position() - start != length {
        return Err(damaged("a window's parts do not fill it"));
    }
    match (compressed, secondary) {
        (0, _) => {}
        (1..=7, Some(secondary)) => secondary.unpack(compressed, &mut sections, WINDOW)?,
        _ => return Err(damaged("a window is compressed by nothing that its header names")),
    }
    let mut sections = sections.into_iter();
    let mut next = || sections.next().unwrap_or_default();
    Ok(Window { segment, size, checksum, data: next(), instructions: next(), addresses: next() })
}

fn write_at(file: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(file, bytes, at).map_err(|errno| Failure::write("writing", b"the patched file", errno))?;
        bytes = &bytes[written..];
        at += written as u64;
    }
    Ok(())
}

fn damaged(why: &str) -> Failure {
    Failure::damaged(PART, why)
}

#[cfg(test)]
mod tests;
