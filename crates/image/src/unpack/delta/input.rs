//! Reading a delta's bytes, numbers and compressed sections.

use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;

use liblzma::stream::{Action, Stream};

use super::super::failure::Failure;
use super::super::stream::{FileReader, MEMORY};
use super::{PART, damaged};

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// A delta that is read from its beginning to its end.
pub(super) struct Input {
    reader: BufReader<FileReader>,
    position: u64,
}

impl Input {
    pub(super) fn of(file: OwnedFd) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, FileReader::of(file)), position: 0 }
    }

    /// Bytes that were read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next byte; none at the end.
    pub(super) fn byte_or_end(&mut self) -> Result<Option<u8>, Failure> {
        let mut byte = [0];
        loop {
            match self.reader.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => {
                    self.position += 1;
                    return Ok(Some(byte[0]));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Read { part: PART.into(), errno: error.raw_os_error().unwrap_or(0) }),
            }
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Failure> {
        self.byte_or_end()?.ok_or_else(cut)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut array = [0; N];
        for byte in &mut array {
            *byte = self.byte()?;
        }
        Ok(array)
    }

    pub(super) fn number(&mut self) -> Result<u64, Failure> {
        number(|| self.byte())
    }

    /// The next `length` bytes, of which there may be `limit`.
    pub(super) fn section(&mut self, length: u64, limit: u64) -> Result<Vec<u8>, Failure> {
        if length > limit {
            return Err(damaged("a part of it is larger than xdelta3 makes any"));
        }
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(length).read_to_end(&mut bytes);
        let read = read.map_err(|error| Failure::Read { part: PART.into(), errno: error.raw_os_error().unwrap_or(0) })?;
        self.position += read as u64;
        if read as u64 == length { Ok(bytes) } else { Err(cut()) }
    }
}

/// Bytes of a section that are taken one after another.
pub(super) struct Bytes<'b>(pub(super) &'b [u8]);

impl<'b> Bytes<'b> {
    pub(super) fn byte(&mut self) -> Result<u8, Failure> {
        let (first, rest) = self.0.split_first().ok_or_else(short)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Failure> {
        number(|| self.byte())
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'b [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// A number: seven bits a byte, the most significant first, with a bit that says whether more follow.
fn number(mut byte: impl FnMut() -> Result<u8, Failure>) -> Result<u64, Failure> {
    let mut value = 0_u64;
    loop {
        let next = byte()?;
        if value >> (64 - 7) != 0 {
            return Err(damaged("a number in it is too large"));
        }
        value = value << 7 | u64::from(next & 0x7f);
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
}

/// What compresses sections of windows: one xz stream for all windows' data, one for their instructions, one for their addresses.
pub(super) struct Secondary([Option<Stream>; 3]);

impl Secondary {
    /// Knows a compressor by its number.
    pub(super) fn of(id: u8) -> Result<Self, Failure> {
        let name = match id {
            2 => return Ok(Self([None, None, None])),
            1 => "djw".to_owned(),
            16 => "fgk".to_owned(),
            other => format!("method {other}"),
        };
        Err(Failure::Unsupported {
            what: format!("a delta compressed by {name}"),
            instead: "make it with xdelta3 -S lzma or -S none".into(),
        })
    }

    /// Unpacks those sections that `which` has a bit for.
    pub(super) fn unpack(&mut self, which: u8, sections: &mut [Vec<u8>], limit: u64) -> Result<(), Failure> {
        for (number, (section, stream)) in sections.iter_mut().zip(&mut self.0).enumerate() {
            if which >> number & 1 == 0 {
                continue;
            }
            let stream = match stream {
                Some(stream) => stream,
                none => none.insert(Stream::new_stream_decoder(MEMORY, 0).map_err(|error| damaged(&error.to_string()))?),
            };
            *section = unpacked(stream, section, limit)?;
        }
        Ok(())
    }
}

/// Unpacks a section, which begins with the number of its bytes.
fn unpacked(stream: &mut Stream, section: &[u8], limit: u64) -> Result<Vec<u8>, Failure> {
    let mut packed = Bytes(section);
    let size = packed.number()?;
    if size > limit {
        return Err(damaged("a part of it is larger than xdelta3 makes any"));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut out = Vec::new();
    while out.len() < size {
        out.reserve_exact((size - out.len()).min(1 << 20));
        let (read, written) = (stream.total_in(), out.len());
        stream.process_vec(packed.0, &mut out, Action::Run).map_err(|error| damaged(&error.to_string()))?;
        let read = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
        packed.take(read)?;
        if read == 0 && out.len() == written {
            return Err(damaged("a compressed part of it is not whole"));
        }
    }
    // What ends a section brings no bytes any more, but the next window's section begins behind it.
    while !packed.0.is_empty() {
        let read = stream.total_in();
        let mut more = Vec::with_capacity(1);
        stream.process_vec(packed.0, &mut more, Action::Run).map_err(|error| damaged(&error.to_string()))?;
        let read = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
        if read == 0 || !more.is_empty() {
            return Err(damaged("a compressed part of it is larger than it says"));
        }
        packed.take(read)?;
    }
    if out.len() == size { Ok(out) } else { Err(damaged("a compressed part of it is larger than it says")) }
}

fn cut() -> Failure {
    damaged("it is cut short")
}

fn short() -> Failure {
    damaged("a window's part is shorter than another one says")
}
