//! Files with holes in tar archives: GNU tar's old header and its three PAX forms.

use tar::{GnuExtSparseHeader, Header};

use super::archive::BLOCK;
use super::failure::Failure;
use super::pax::{Extended, decimal};
use super::stream::Stream;

/// Segments that one member may have; more is no real file.
const MAX_SEGMENTS: usize = 1 << 20;

/// Where a stored piece of a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The stored pieces of a file and its size with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) segments: Vec<Segment>,
    pub(super) size: u64,
}

/// Reads the map of an old GNU sparse member: four segments in the header, 21 in each block that follows.
pub(super) fn old_gnu(stream: &mut Stream<'_>, header: &Header) -> Result<Map, Failure> {
    let part = stream.part();
    let bad = || Failure::damaged(part, "a sparse member's map is malformed");
    let gnu = header.as_gnu().ok_or_else(bad)?;
    let mut segments = Vec::new();
    let mut take = |field: &tar::GnuSparseHeader| -> Result<(), Failure> {
        if !field.is_empty() {
            segments.push(Segment { offset: field.offset().map_err(|_| bad())?, length: field.length().map_err(|_| bad())? });
        }
        if segments.len() > MAX_SEGMENTS { Err(bad()) } else { Ok(()) }
    };
    gnu.sparse.iter().try_for_each(&mut take)?;
    let mut extended = gnu.is_extended();
    while extended {
        let mut more = Box::new(GnuExtSparseHeader::new());
        if !stream.exact(more.as_mut_bytes())? {
            return Err(stream.truncated());
        }
        more.sparse().iter().try_for_each(&mut take)?;
        extended = more.is_extended();
    }
    Ok(Map { segments, size: gnu.real_size().map_err(|_| bad())? })
}

/// Finds the map of a PAX sparse member; version 1.0 keeps it at the front of the data, which is then read from `unread`.
pub(super) fn pax(stream: &mut Stream<'_>, extended: &mut Extended, unread: &mut u64) -> Result<Option<Map>, Failure> {
    let part = stream.part();
    let bad = || Failure::damaged(part, "a sparse member's map is malformed");
    let records = &mut extended.sparse;
    let numbers = match (records.major, records.minor) {
        (Some(1), Some(0)) => numbers_in_front(stream, unread)?,
        (None, None) | (Some(0), _) if records.map.is_empty() => return Ok(None),
        (None, None) | (Some(0), _) => std::mem::take(&mut records.map),
        (major, minor) => {
            let version = format!("{}.{}", major.unwrap_or(0), minor.unwrap_or(0));
            return Err(Failure::damaged(part, format!("a sparse member is of the unknown version {version}")));
        }
    };
    let size = records.real_size.ok_or_else(bad)?;
    let (pairs, odd) = numbers.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(bad());
    }
    Ok(Some(Map { segments: pairs.iter().map(|&[offset, length]| Segment { offset, length }).collect(), size }))
}

/// Reads a count and as many pairs, one number a line, filled up to whole blocks.
fn numbers_in_front(stream: &mut Stream<'_>, unread: &mut u64) -> Result<Vec<u64>, Failure> {
    let part = stream.part();
    let bad = || Failure::damaged(part, "a sparse member's map is malformed");
    let (mut numbers, mut line, mut wanted) = (Vec::new(), Vec::new(), None);
    let mut block = [0; BLOCK];
    while wanted != Some(numbers.len()) {
        *unread = unread.checked_sub(BLOCK as u64).ok_or_else(bad)?;
        if !stream.exact(&mut block)? {
            return Err(stream.truncated());
        }
        for byte in block {
            if wanted == Some(numbers.len()) {
                break;
            }
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let number = decimal(&line).ok_or_else(bad)?;
            line.clear();
            match wanted {
                Some(_) => numbers.push(number),
                None => {
                    let pairs = usize::try_from(number).ok().filter(|pairs| *pairs <= MAX_SEGMENTS);
                    wanted = Some(pairs.ok_or_else(bad)? * 2);
                }
            }
        }
        if line.len() > 20 {
            return Err(bad());
        }
    }
    Ok(numbers)
}

/// Checks that segments ascend, end within the file and hold exactly what is stored.
pub(super) fn validate(part: &str, name: &[u8], map: &Map, stored: u64) -> Result<(), Failure> {
    let (mut end, mut held) = (0_u64, 0_u64);
    for segment in &map.segments {
        let next = segment.offset.checked_add(segment.length).filter(|next| segment.offset >= end && *next <= map.size);
        end = next.ok_or_else(|| lies(part, name))?;
        held += segment.length;
    }
    if held == stored && map.size < 1 << 62 { Ok(()) } else { Err(lies(part, name)) }
}

fn lies(part: &str, name: &[u8]) -> Failure {
    Failure::damaged(part, format!("the map of the sparse file {} does not fit its size", super::failure::printable(name)))
}
