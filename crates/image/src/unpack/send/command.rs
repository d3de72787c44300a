//! The commands of a stream, each checked before it is believed.

use super::super::entry::{Content, MAX_PATH, Numbers, Piece, Time, clean, link_text};
use super::super::failure::Failure;

/// What every stream begins with, and the version that is read.
const MAGIC: &[u8; 13] = b"btrfs-stream\0";
const VERSION: u32 = 1;

/// The longest command of this version, in bytes. Source: BTRFS_SEND_BUF_SIZE_V1.
const LONGEST: usize = 64 << 10;

/// Length, number and checksum of a command.
const HEAD: usize = 10;

/// A subvolume's UUID.
pub(super) type SubvolumeId = [u8; 16];

/// Something a stream asks for. Paths are cleaned; the empty one is the subvolume's top.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Subvolume { id: SubvolumeId },
    Snapshot { id: SubvolumeId, base: SubvolumeId },
    MakeFile { path: Vec<u8> },
    MakeDirectory { path: Vec<u8> },
    MakeNode { path: Vec<u8>, numbers: Numbers },
    MakeFifo { path: Vec<u8> },
    MakeSocket { path: Vec<u8> },
    Symlink { path: Vec<u8>, text: Vec<u8> },
    Rename { path: Vec<u8>, to: Vec<u8> },
    Link { path: Vec<u8>, existing: Vec<u8> },
    Unlink { path: Vec<u8> },
    RemoveDirectory { path: Vec<u8> },
    SetXattr { path: Vec<u8>, name: Vec<u8>, value: Vec<u8> },
    RemoveXattr { path: Vec<u8>, name: Vec<u8> },
    Write { path: Vec<u8>, at: u64, data: Vec<u8> },
    Clone { path: Vec<u8>, at: u64, length: u64, source: SubvolumeId, from: Vec<u8>, from_at: u64 },
    Truncate { path: Vec<u8>, size: u64 },
    Mode { path: Vec<u8>, mode: u32 },
    Owner { path: Vec<u8>, uid: u32, gid: u32 },
    Times { path: Vec<u8>, accessed: Time, modified: Time },
    End,
}

/// Reads the commands of one stream.
pub(super) struct Reader<'c> {
    content: &'c mut dyn Content,
    name: &'c [u8],
    piece: Vec<u8>,
    at: usize,
}

impl<'c> Reader<'c> {
    /// Reads a stream's beginning; `name` is what messages call it.
    pub(super) fn begin(content: &'c mut dyn Content, name: &'c [u8]) -> Result<Self, Failure> {
        let mut reader = Self { content, name, piece: Vec::new(), at: 0 };
        let head = reader.take(MAGIC.len() + 4)?;
        let (magic, version) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(reader.unsupported("a volume in another driver's format than btrfs'"));
        }
        match version.try_into().map(u32::from_le_bytes) {
            Ok(VERSION) => Ok(reader),
            _ => Err(reader.unsupported("a newer version of the format of btrfs send")),
        }
    }

    /// Reads the next command.
    pub(super) fn next(&mut self) -> Result<Command, Failure> {
        let mut whole = self.take(HEAD)?;
        let length = number::<4>(&whole[..4]) as usize;
        let kind = number::<2>(&whole[4..6]);
        let sum = number::<4>(&whole[6..10]) as u32;
        if length + HEAD > LONGEST {
            return Err(self.damaged("a command is longer than possible"));
        }
        whole[6..10].fill(0);
        let body = self.take(length)?;
        if checksum(checksum(0, &whole), &body) != sum {
            return Err(self.damaged("a checksum does not fit"));
        }
        self.command(kind, &Attributes::parse(&body).ok_or_else(|| self.damaged("a command has no such attributes"))?)
    }

    /// Expects the end of the file.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        if self.at < self.piece.len() || self.more()? { Err(self.damaged("something comes after its end")) } else { Ok(()) }
    }

    fn command(&self, kind: u64, attributes: &Attributes<'_>) -> Result<Command, Failure> {
        let text = |which| attributes.get(which).ok_or_else(|| self.damaged("a command lacks an attribute"));
        let path_of = |which| text(which).and_then(clean);
        let value = |which| attributes.number(which).ok_or_else(|| self.damaged("a command lacks a number"));
        let small = |which| value(which).and_then(|value| u32::try_from(value).map_err(|_| self.damaged("a number is too large")));
        let id = |which| text(which).and_then(|id| id.try_into().map_err(|_| self.damaged("an identity is malformed")));
        let time = |which| text(which).and_then(|time| time_of(time).ok_or_else(|| self.damaged("a time is malformed")));
        let path = || path_of(PATH);
        Ok(match kind {
            1 => Command::Subvolume { id: id(UUID)? },
            2 => Command::Snapshot { id: id(UUID)?, base: id(CLONE_UUID)? },
            3 => Command::MakeFile { path: path()? },
            4 => Command::MakeDirectory { path: path()? },
            5 => Command::MakeNode { path: path()?, numbers: numbers(small(MODE)?, small(DEVICE)?) },
            6 => Command::MakeFifo { path: path()? },
            7 => Command::MakeSocket { path: path()? },
            8 => Command::Symlink { path: path()?, text: link_text(self.name, text(PATH_LINK)?)? },
            9 => Command::Rename { path: path()?, to: path_of(PATH_TO)? },
            10 => Command::Link { path: path()?, existing: path_of(PATH_LINK)? },
            11 => Command::Unlink { path: path()? },
            12 => Command::RemoveDirectory { path: path()? },
            13 => Command::SetXattr { path: path()?, name: self.attribute(text(XATTR_NAME)?)?, value: text(XATTR_DATA)?.to_vec() },
            14 => Command::RemoveXattr { path: path()?, name: self.attribute(text(XATTR_NAME)?)? },
            15 => Command::Write { path: path()?, at: value(FILE_OFFSET)?, data: text(DATA)?.to_vec() },
            16 => Command::Clone {
                path: path()?,
                at: value(FILE_OFFSET)?,
                length: value(CLONE_LENGTH)?,
                source: id(CLONE_UUID)?,
                from: path_of(CLONE_PATH)?,
                from_at: value(CLONE_OFFSET)?,
            },
            17 => Command::Truncate { path: path()?, size: value(SIZE)? },
            18 => Command::Mode { path: path()?, mode: small(MODE)? & 0o7777 },
            19 => Command::Owner { path: path()?, uid: small(UID)?, gid: small(GID)? },
            20 => Command::Times { path: path()?, accessed: time(ATIME)?, modified: time(MTIME)? },
            21 => Command::End,
            // Extents without their content are sent when nobody wants to receive them.
            _ => return Err(self.unsupported("a command of btrfs send that this version does not know")),
        })
    }

    fn attribute(&self, name: &[u8]) -> Result<Vec<u8>, Failure> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(self.damaged("the name of an extended attribute is malformed"));
        }
        Ok(name.to_vec())
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            if self.at == self.piece.len() && !self.more()? {
                return Err(self.damaged("it ends too early"));
            }
            let rest = &self.piece[self.at..];
            let part = &rest[..rest.len().min(count - taken.len())];
            taken.extend_from_slice(part);
            self.at += part.len();
        }
        Ok(taken)
    }

    /// Reads on; false at the end.
    fn more(&mut self) -> Result<bool, Failure> {
        self.piece.clear();
        self.at = 0;
        // A piece may be empty without being the last.
        while self.piece.is_empty() {
            match self.content.piece()? {
                Some(Piece::Bytes(bytes)) => self.piece.extend_from_slice(bytes),
                Some(Piece::Hole(_)) => return Err(self.damaged("it has holes")),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn damaged(&self, why: &str) -> Failure {
        Failure::refused(self.name, format!("the stream is damaged: {why}"))
    }

    fn unsupported(&self, what: &str) -> Failure {
        let what = format!("{} holds {what}, which", super::super::failure::printable(self.name));
        Failure::Unsupported { what, instead: "export it without --optimized-storage".into() }
    }
}

const UUID: u16 = 1;
const SIZE: u16 = 4;
const MODE: u16 = 5;
const UID: u16 = 6;
const GID: u16 = 7;
const DEVICE: u16 = 8;
const MTIME: u16 = 10;
const ATIME: u16 = 11;
const XATTR_NAME: u16 = 13;
const XATTR_DATA: u16 = 14;
const PATH: u16 = 15;
const PATH_TO: u16 = 16;
const PATH_LINK: u16 = 17;
const FILE_OFFSET: u16 = 18;
const DATA: u16 = 19;
const CLONE_UUID: u16 = 20;
const CLONE_PATH: u16 = 22;
const CLONE_OFFSET: u16 = 23;
const CLONE_LENGTH: u16 = 24;

/// The attributes of one command.
struct Attributes<'b>(Vec<(u16, &'b [u8])>);

impl<'b> Attributes<'b> {
    fn parse(mut body: &'b [u8]) -> Option<Self> {
        let mut all = Vec::new();
        while !body.is_empty() {
            let (head, rest) = body.split_at_checked(4)?;
            let (value, rest) = rest.split_at_checked(number::<2>(&head[2..]) as usize)?;
            all.push((number::<2>(&head[..2]) as u16, value));
            body = rest;
        }
        Some(Self(all))
    }

    fn get(&self, which: u16) -> Option<&'b [u8]> {
        let found = self.0.iter().find(|(kind, _)| *kind == which).map(|(_, value)| *value)?;
        (which == DATA || which == XATTR_DATA || found.len() <= MAX_PATH).then_some(found)
    }

    fn number(&self, which: u16) -> Option<u64> {
        self.get(which)?.try_into().ok().map(u64::from_le_bytes)
    }
}

/// A number of up to eight bytes, the lowest first.
fn number<const SIZE: usize>(bytes: &[u8]) -> u64 {
    bytes.iter().take(SIZE).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn time_of(bytes: &[u8]) -> Option<Time> {
    let (seconds, nanoseconds) = bytes.split_at_checked(8)?;
    let nanoseconds = u32::from_le_bytes(nanoseconds.try_into().ok()?);
    (nanoseconds < 1_000_000_000).then_some(())?;
    Some(Time { seconds: i64::from_le_bytes(seconds.try_into().ok()?), nanoseconds })
}

/// A device's numbers as the kernel writes them. Source: `new_encode_dev` in linux/kdev_t.h.
fn numbers(mode: u32, device: u32) -> Numbers {
    let character = mode & libc::S_IFMT == libc::S_IFCHR;
    Numbers { character, major: device >> 8 & 0xfff, minor: device & 0xff | device >> 12 & 0xf_ff00 }
}

/// The checksum of commands: CRC-32C, neither begun nor ended with an inversion.
pub(super) fn checksum(start: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    bytes.iter().fold(start, |sum, byte| TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ sum >> 8)
}

const fn table() -> [u32; 256] {
    /// Castagnoli's polynomial, its bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let (mut sum, mut bit) = (index as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
}
