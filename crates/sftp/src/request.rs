//! What a client asks.

use crate::Attributes;
use crate::fields::{Fields, Malformed, packet, put_string, put_u32, put_u64};

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// Reading.
    pub const READ: Self = Self(1);
    /// Writing.
    pub const WRITE: Self = Self(2);
    /// All that is written goes behind the end.
    pub const APPEND: Self = Self(4);
    /// It is made if it is not there.
    pub const CREATE: Self = Self(8);
    /// What is in it goes.
    pub const TRUNCATE: Self = Self(16);
    /// It must not be there.
    pub const EXCLUSIVE: Self = Self(32);

    /// Says whether all of `other` are set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The names of extensions.
pub mod extension {
    /// Renames over what is there.
    pub const POSIX_RENAME: &str = "posix-rename@openssh.com";
    /// Says how full a path's file system is.
    pub const STATVFS: &str = "statvfs@openssh.com";
    /// Says how full an open file's file system is.
    pub const FSTATVFS: &str = "fstatvfs@openssh.com";
    /// Gives a file a second name.
    pub const HARD_LINK: &str = "hardlink@openssh.com";
    /// Writes an open file to its disk.
    pub const SYNC: &str = "fsync@openssh.com";
    /// Sets attributes, of a link itself.
    pub const SET_LINK: &str = "lsetstat@openssh.com";
    /// Says how large packets may be.
    pub const LIMITS: &str = "limits@openssh.com";
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named after what they are")]
pub enum Request<'a> {
    /// Begins: the version, and whether more codes of failures are understood than it has.
    Begin { version: u32, more_codes: bool },
    /// Opens a file; the attributes are for one that is made.
    Open { path: &'a [u8], flags: Flags, attributes: Attributes },
    /// Closes a file or directory.
    Close { handle: &'a [u8] },
    /// Reads.
    Read { handle: &'a [u8], offset: u64, length: u32 },
    /// Writes.
    Write { handle: &'a [u8], offset: u64, data: &'a [u8] },
    /// Says what is at a path, of a link itself.
    LookAtLink { path: &'a [u8] },
    /// Says what is open.
    LookAtOpen { handle: &'a [u8] },
    /// Sets attributes.
    Set { path: &'a [u8], attributes: Attributes },
    /// Sets attributes of what is open.
    SetOpen { handle: &'a [u8], attributes: Attributes },
    /// Opens a directory.
    OpenDirectory { path: &'a [u8] },
    /// Reads on in a directory.
    ReadDirectory { handle: &'a [u8] },
    /// Removes a file.
    Remove { path: &'a [u8] },
    /// Makes a directory.
    MakeDirectory { path: &'a [u8], attributes: Attributes },
    /// Removes an empty directory.
    RemoveDirectory { path: &'a [u8] },
    /// Says which path is meant.
    RealPath { path: &'a [u8] },
    /// Says what is at a path, links followed.
    Look { path: &'a [u8] },
    /// Renames, not over something.
    Rename { from: &'a [u8], to: &'a [u8] },
    /// Reads a symbolic link.
    ReadLink { path: &'a [u8] },
    /// Makes a symbolic link.
    Link { target: &'a [u8], path: &'a [u8] },
    /// Asks an extension.
    Extended { name: &'a [u8], rest: &'a [u8] },
}

impl<'a> Request<'a> {
    /// Reads a packet, with its number. [`None`] as request is one of a type that nobody knows.
    ///
    /// # Errors
    /// If it is malformed; without a number nobody can be answered.
    pub fn read(packet: &'a [u8]) -> Result<(u32, Result<Option<Self>, Malformed>), Malformed> {
        let mut fields = Fields(packet);
        let kind = fields.byte()?;
        if kind == BEGIN {
            return Ok((0, begin(&mut fields).map(Some)));
        }
        let id = fields.u32()?;
        Ok((id, Self::body(kind, &mut fields)))
    }

    fn body(kind: u8, fields: &mut Fields<'a>) -> Result<Option<Self>, Malformed> {
        Ok(Some(match kind {
            OPEN => {
                let (path, flags) = (fields.string()?, Flags(fields.u32()?));
                Self::Open { path, flags, attributes: Attributes::read(fields)? }
            }
            CLOSE => Self::Close { handle: fields.string()? },
            READ => Self::Read { handle: fields.string()?, offset: fields.u64()?, length: fields.u32()? },
            WRITE => Self::Write { handle: fields.string()?, offset: fields.u64()?, data: fields.string()? },
            LOOK_AT_LINK => Self::LookAtLink { path: fields.string()? },
            LOOK_AT_OPEN => Self::LookAtOpen { handle: fields.string()? },
            SET => Self::Set { path: fields.string()?, attributes: Attributes::read(fields)? },
            SET_OPEN => Self::SetOpen { handle: fields.string()?, attributes: Attributes::read(fields)? },
            OPEN_DIRECTORY => Self::OpenDirectory { path: fields.string()? },
            READ_DIRECTORY => Self::ReadDirectory { handle: fields.string()? },
            REMOVE => Self::Remove { path: fields.string()? },
            MAKE_DIRECTORY => Self::MakeDirectory { path: fields.string()?, attributes: Attributes::read(fields)? },
            REMOVE_DIRECTORY => Self::RemoveDirectory { path: fields.string()? },
            REAL_PATH => Self::RealPath { path: fields.string()? },
            LOOK => Self::Look { path: fields.string()? },
            RENAME => Self::Rename { from: fields.string()?, to: fields.string()? },
            READ_LINK => Self::ReadLink { path: fields.string()? },
            LINK => Self::Link { target: fields.string()?, path: fields.string()? },
            EXTENDED => Self::Extended { name: fields.string()?, rest: fields.0 },
            _ => return Ok(None),
        }))
    }

    /// Writes a packet.
    pub fn write(&self, id: u32, out: &mut Vec<u8>) {
        packet(out, self.kind(), |out| {
            if let Self::Begin { version, more_codes } = self {
                put_u32(out, *version);
                if *more_codes {
                    put_string(out, crate::MORE_CODES.as_bytes());
                    put_string(out, b"1");
                }
                return;
            }
            put_u32(out, id);
            self.fields(out);
        });
    }

    fn fields(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Begin { .. } => {}
            Self::Open { path, flags, attributes } => {
                put_string(out, path);
                put_u32(out, flags.0);
                attributes.write(out);
            }
            Self::Read { handle, offset, length } => {
                put_string(out, handle);
                put_u64(out, offset);
                put_u32(out, length);
            }
            Self::Write { handle, offset, data } => {
                put_string(out, handle);
                put_u64(out, offset);
                put_string(out, data);
            }
            Self::Set { path: subject, attributes }
            | Self::SetOpen { handle: subject, attributes }
            | Self::MakeDirectory { path: subject, attributes } => {
                put_string(out, subject);
                attributes.write(out);
            }
            Self::Rename { from: first, to: second } | Self::Link { target: first, path: second } => {
                put_string(out, first);
                put_string(out, second);
            }
            Self::Extended { name, rest } => {
                put_string(out, name);
                out.extend_from_slice(rest);
            }
            Self::Close { handle: subject }
            | Self::LookAtOpen { handle: subject }
            | Self::ReadDirectory { handle: subject }
            | Self::LookAtLink { path: subject }
            | Self::OpenDirectory { path: subject }
            | Self::Remove { path: subject }
            | Self::RemoveDirectory { path: subject }
            | Self::RealPath { path: subject }
            | Self::Look { path: subject }
            | Self::ReadLink { path: subject } => put_string(out, subject),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Begin { .. } => BEGIN,
            Self::Open { .. } => OPEN,
            Self::Close { .. } => CLOSE,
            Self::Read { .. } => READ,
            Self::Write { .. } => WRITE,
            Self::LookAtLink { .. } => LOOK_AT_LINK,
            Self::LookAtOpen { .. } => LOOK_AT_OPEN,
            Self::Set { .. } => SET,
            Self::SetOpen { .. } => SET_OPEN,
            Self::OpenDirectory { .. } => OPEN_DIRECTORY,
            Self::ReadDirectory { .. } => READ_DIRECTORY,
            Self::Remove { .. } => REMOVE,
            Self::MakeDirectory { .. } => MAKE_DIRECTORY,
            Self::RemoveDirectory { .. } => REMOVE_DIRECTORY,
            Self::RealPath { .. } => REAL_PATH,
            Self::Look { .. } => LOOK,
            Self::Rename { .. } => RENAME,
            Self::ReadLink { .. } => READ_LINK,
            Self::Link { .. } => LINK,
            Self::Extended { .. } => EXTENDED,
        }
    }
}

/// Takes a string, a path for one, off an extension's own fields.
///
/// # Errors
/// If there is none.
pub fn take_string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let mut fields = Fields(rest);
    let string = fields.string()?;
    *rest = fields.0;
    Ok(string)
}

fn begin<'a>(fields: &mut Fields<'_>) -> Result<Request<'a>, Malformed> {
    let version = fields.u32()?;
    let mut more_codes = false;
    while !fields.is_empty() {
        more_codes |= fields.string()? == crate::MORE_CODES.as_bytes();
        fields.string()?;
    }
    Ok(Request::Begin { version, more_codes })
}

const BEGIN: u8 = 1;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LOOK_AT_LINK: u8 = 7;
const LOOK_AT_OPEN: u8 = 8;
const SET: u8 = 9;
const SET_OPEN: u8 = 10;
const OPEN_DIRECTORY: u8 = 11;
const READ_DIRECTORY: u8 = 12;
const REMOVE: u8 = 13;
const MAKE_DIRECTORY: u8 = 14;
const REMOVE_DIRECTORY: u8 = 15;
const REAL_PATH: u8 = 16;
const LOOK: u8 = 17;
const RENAME: u8 = 18;
const READ_LINK: u8 = 19;
const LINK: u8 = 20;
const EXTENDED: u8 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: Request<'_>) {
        let mut out = Vec::new();
        request.write(9, &mut out);
        assert_eq!(u32::from_be_bytes([out[0], out[1], out[2], out[3]]) as usize, out.len() - 4);
        let id = if matches!(request, Request::Begin { .. }) { 0 } else { 9 };
        assert_eq!(Request::read(&out[4..]), Ok((id, Ok(Some(request)))));
        for end in 9..out.len() {
            // Cut anywhere it is malformed, never a panic; an extension's own fields are its own business.
            let cut = Request::read(&out[4..end]);
            assert!(matches!(cut, Ok((_, Err(_)))) || matches!(request, Request::Extended { .. } | Request::Begin { .. }), "{cut:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let attributes = Attributes { owner: Some((1, 2)), mode: Some(0o640), ..Attributes::default() };
        let (handle, path) = (b"\0\0\0\x02".as_slice(), b"/etc/hosts".as_slice());
        check(Request::Begin { version: 3, more_codes: true });
        check(Request::Begin { version: 3, more_codes: false });
        check(Request::Open { path, flags: Flags::WRITE | Flags::CREATE, attributes });
        check(Request::Close { handle });
        check(Request::Read { handle, offset: 1 << 33, length: 7 });
        check(Request::Write { handle, offset: 3, data: b"abc" });
        check(Request::LookAtLink { path });
        check(Request::LookAtOpen { handle });
        check(Request::Set { path, attributes });
        check(Request::SetOpen { handle, attributes });
        check(Request::OpenDirectory { path });
        check(Request::ReadDirectory { handle });
        check(Request::Remove { path });
        check(Request::MakeDirectory { path, attributes });
        check(Request::RemoveDirectory { path });
        check(Request::RealPath { path });
        check(Request::Look { path });
        check(Request::Rename { from: path, to: b"/b" });
        check(Request::ReadLink { path });
        check(Request::Link { target: b"..", path });
        check(Request::Extended { name: b"a@b", rest: b"xyz" });
    }

    #[test]
    fn unknown_types_are_named_by_their_number() {
        assert_eq!(Request::read(&[99, 0, 0, 0, 5, 1, 2]), Ok((5, Ok(None))));
        assert!(Request::read(&[99, 0, 0]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0u8.., 0..200), kind in 0u8..21) {
            let _ = Request::read(&bytes);
            let _ = crate::Reply::read(&bytes);
            let mut typed = vec![kind];
            typed.extend(&bytes);
            let _ = Request::read(&typed);
        }
    }
}
