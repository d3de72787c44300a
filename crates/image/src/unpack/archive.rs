//! Tar archives: v7, ustar, GNU and PAX, member by member.
//!
//! Only the fields of a header block are parsed by the `tar` crate; names, extended headers and holes are read here, because every
//! length in them is a claim that must be bounded before it is believed.

use tar::Header;

use super::entry::{Content, Entry, Kind, MAX_PATH, Numbers, Piece, Time, Visit, clean, link_text};
use super::failure::Failure;
use super::pax::Extended;
use super::sparse::{self, Segment};
use super::stream::Stream;

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;

/// The largest extended header, in bytes: a member may carry several attributes of 64 KiB.
const MAX_EXTENDED: u64 = 1 << 20;

/// Headers that may follow each other before the member they describe.
const MAX_PRELUDE: usize = 64;

/// Visits every member until the end of the archive or until the visitor has seen enough.
pub(super) fn read(stream: &mut Stream<'_>, visit: Visit<'_>) -> Result<(), Failure> {
    let mut globals = Extended::default();
    while let Some(member) = next_member(stream, &mut globals)? {
        let (entry, mut content) = member.into_parts(stream)?;
        let flow = visit(entry, &mut content)?;
        content.finish()?;
        if flow.is_break() {
            return Ok(());
        }
    }
    stream.drain()
}

/// A member's header and what the headers before it said.
struct Member {
    header: Box<Header>,
    extended: Extended,
    name: Vec<u8>,
    link: Vec<u8>,
}

/// Reads headers up to and including the next member's; none at the archive's end.
fn next_member(stream: &mut Stream<'_>, globals: &mut Extended) -> Result<Option<Member>, Failure> {
    let mut extended = globals.clone();
    let (mut long_name, mut long_link) = (None, None);
    let mut within_member = false;
    for _ in 0..MAX_PRELUDE {
        let Some(header) = next_header(stream, within_member)? else { return Ok(None) };
        let kind = header.entry_type().as_byte();
        within_member |= matches!(kind, b'x' | b'L' | b'K');
        match kind {
            b'x' => extended.apply(stream.part(), &payload(stream, &header, MAX_EXTENDED)?)?,
            b'g' => {
                globals.apply(stream.part(), &payload(stream, &header, MAX_EXTENDED)?)?;
                extended = globals.clone();
            }
            b'L' => long_name = Some(text(payload(stream, &header, MAX_PATH as u64 + 1)?)),
            b'K' => long_link = Some(text(payload(stream, &header, MAX_PATH as u64 + 1)?)),
            // A volume's label, and a directory's listing in an incremental archive's own kind of member.
            b'V' => drop(payload(stream, &header, MAX_EXTENDED)?),
            _ => {
                let name = extended.path.take().or(long_name).unwrap_or_else(|| header.path_bytes().into_owned());
                let link = extended.link.take().or(long_link);
                let link = link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
                return Ok(Some(Member { header, extended, name, link }));
            }
        }
    }
    Err(Failure::damaged(stream.part(), "one member has too many headers"))
}

/// The next header block; none at the end, which is a block of zeros. The end of the file without one is damage.
fn next_header(stream: &mut Stream<'_>, within_member: bool) -> Result<Option<Box<Header>>, Failure> {
    let start = stream.position();
    let mut header = Box::new(Header::new_old());
    if !stream.exact(header.as_mut_bytes())? {
        return Err(stream.truncated());
    }
    if header.as_bytes().iter().all(|&byte| byte == 0) {
        return if within_member { Err(Failure::damaged(stream.part(), "it ends after an extended header")) } else { Ok(None) };
    }
    let sum = header.as_bytes().iter().enumerate().filter(|(at, _)| !(148..156).contains(at)).map(|(_, &byte)| u32::from(byte));
    if header.cksum().ok() != Some(sum.sum::<u32>() + 8 * u32::from(b' ')) {
        return Err(Failure::damaged(stream.part(), format!("there is no tar header at byte {start}")));
    }
    Ok(Some(header))
}

/// Reads the data of an extended header.
fn payload(stream: &mut Stream<'_>, header: &Header, limit: u64) -> Result<Vec<u8>, Failure> {
    let size = number(stream.part(), "size", &header.as_old().size, header.entry_size())?;
    if size > limit {
        return Err(Failure::damaged(stream.part(), format!("an extended header claims {size} bytes; at most {limit} are read")));
    }
    let mut data = vec![0; usize::try_from(size).expect("the limit fits")];
    if !data.is_empty() && !stream.exact(&mut data)? {
        return Err(stream.truncated());
    }
    stream.skip(padding(size))?;
    Ok(data)
}

/// A GNU long name ends at its first zero byte.
fn text(mut data: Vec<u8>) -> Vec<u8> {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    data.truncate(end);
    data
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// Believes a parsed field. One that holds nothing at all is 0: some writers leave out what they think nobody needs.
fn number<T: Default>(part: &str, field: &str, raw: &[u8], value: std::io::Result<T>) -> Result<T, Failure> {
    if raw.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Ok(T::default());
    }
    value.map_err(|_| Failure::damaged(part, format!("a header's {field} is no number")))
}

impl Member {
    /// Makes the entry and what reads its content.
    fn into_parts<'s, 'r>(self, stream: &'s mut Stream<'r>) -> Result<(Entry, TarContent<'s, 'r>), Failure> {
        let part = stream.part();
        let Self { header, mut extended, name, link } = self;
        let raw = header.as_old();
        let mut stored = match extended.size {
            Some(size) => size,
            None => number(part, "size", &raw.size, header.entry_size())?,
        };
        let kind_byte = header.entry_type().as_byte();
        if !matches!(kind_byte, 0 | b'0' | b'7' | b'S' | b'D') {
            // Links and directories (but for listings) have no data, whatever their size field says; other tools agree.
            stored = 0;
        }
        // As many bytes of name as follow may be a file's own; checked here so that nothing after it can overflow.
        if stored > 1 << 62 {
            return Err(Failure::damaged(part, format!("{} claims {stored} bytes", super::failure::printable(&name))));
        }
        let mut unread = stored;
        let holes = match kind_byte {
            b'S' => Some(sparse::old_gnu(stream, &header)?),
            0 | b'0' | b'7' => sparse::pax(stream, &mut extended, &mut unread)?,
            _ => None,
        };
        let real_name = extended.sparse.name.take().unwrap_or(name);
        let mut content = TarContent { stream, unread, padding: padding(stored), pending: 0, segments: Vec::new(), at: 0, size: unread };
        if let Some(map) = holes {
            sparse::validate(part, &real_name, &map, unread)?;
            content.size = map.size;
            content.segments = map.segments;
            content.segments.reverse();
        } else {
            content.segments.push(Segment { offset: 0, length: unread });
        }
        let kind = kind(part, &header, &real_name, &link, content.size)?;
        let entry = Entry {
            path: clean(&real_name)?,
            kind,
            mode: number(part, "mode", &raw.mode, header.mode())? & 0o7777,
            uid: owner(&real_name, extended.uid.map_or_else(|| number(part, "uid", &raw.uid, header.uid()), Ok)?)?,
            gid: owner(&real_name, extended.gid.map_or_else(|| number(part, "gid", &raw.gid, header.gid()), Ok)?)?,
            mtime: match extended.mtime {
                Some(time) => time,
                None => Time { seconds: i64::try_from(number(part, "mtime", &raw.mtime, header.mtime())?).unwrap_or(0), nanoseconds: 0 },
            },
            xattrs: std::mem::take(&mut extended.xattrs),
        };
        Ok((entry, content))
    }
}

fn kind(part: &str, header: &Header, name: &[u8], link: &[u8], size: u64) -> Result<Kind, Failure> {
    Ok(match header.entry_type().as_byte() {
        // Before tar knew directories they were files whose name ends in a slash.
        0 | b'0' if name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File(size),
        b'1' => Kind::Hardlink(clean(link)?),
        b'2' => Kind::Symlink(link_text(name, link)?),
        byte @ (b'3' | b'4') => Kind::Device(numbers(part, header, byte == b'3')?),
        b'5' | b'D' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(Failure::refused(name, format!("it is of the unknown kind {:?}", char::from(other)))),
    })
}

/// A device's numbers; the oldest headers have no place for them, and some writers leave it empty.
fn numbers(part: &str, header: &Header, character: bool) -> Result<Option<Numbers>, Failure> {
    if header.as_bytes()[329..345].iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let field = |value: std::io::Result<Option<u32>>| value.map_err(|_| Failure::damaged(part, "a header's device number is no number"));
    let (major, minor) = (field(header.device_major())?, field(header.device_minor())?);
    Ok(major.zip(minor).map(|(major, minor)| Numbers { character, major, minor }))
}

fn owner(name: &[u8], id: u64) -> Result<u32, Failure> {
    u32::try_from(id).map_err(|_| Failure::refused(name, format!("its owner or group {id} is no user id")))
}

/// A member's content in the archive.
struct TarContent<'s, 'r> {
    stream: &'s mut Stream<'r>,
    /// Bytes of it still in the archive.
    unread: u64,
    padding: u64,
    /// Bytes that were handed out and not yet taken from the stream.
    pending: usize,
    /// Where its stored bytes belong, last first.
    segments: Vec<Segment>,
    /// How far its pieces have come.
    at: u64,
    size: u64,
}

impl Content for TarContent<'_, '_> {
    fn piece(&mut self) -> Result<Option<Piece<'_>>, Failure> {
        self.stream.consume(std::mem::take(&mut self.pending));
        while self.segments.last().is_some_and(|segment| segment.length == 0) {
            self.segments.pop();
        }
        let Some(segment) = self.segments.last_mut() else {
            let hole = self.size - self.at;
            self.at = self.size;
            return Ok((hole > 0).then_some(Piece::Hole(hole)));
        };
        if segment.offset > self.at {
            let hole = segment.offset - self.at;
            self.at = segment.offset;
            return Ok(Some(Piece::Hole(hole)));
        }
        if self.stream.fill()?.is_empty() {
            return Err(self.stream.truncated());
        }
        let ready = self.stream.fill()?;
        let count = ready.len().min(usize::try_from(segment.length).unwrap_or(usize::MAX));
        segment.offset += count as u64;
        segment.length -= count as u64;
        self.at += count as u64;
        self.unread -= count as u64;
        self.pending = count;
        Ok(Some(Piece::Bytes(&ready[..count])))
    }
}

impl TarContent<'_, '_> {
    /// Passes over what was not read.
    fn finish(self) -> Result<(), Failure> {
        self.stream.consume(self.pending);
        self.stream.skip(self.unread + self.padding)
    }
}
