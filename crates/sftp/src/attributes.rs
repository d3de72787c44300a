//! What is known of a file.

use crate::fields::{Fields, Malformed, put_u32, put_u64};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// The bits of a mode that say what kind of file it is. Source: inode(7).
const KIND: u32 = 0o170_000;

/// What is known of a file, or is to be set; what is absent is not known, or stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its size in bytes.
    pub size: Option<u64>,
    /// The ids of its user and group.
    pub owner: Option<(u32, u32)>,
    /// Its mode: permissions, and what kind of file it is in those that a server gives.
    pub mode: Option<u32>,
    /// When it was last read and last written, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a named pipe or a socket.
    Special,
}

impl Attributes {
    /// What kind of file it is, by its mode; one that says nothing is a regular one.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.mode.unwrap_or(0) & KIND {
            0 | 0o100_000 => Kind::File,
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Symlink,
            _ => Kind::Special,
        }
    }

    /// Its permission bits, set-id bits and the sticky one among them.
    #[must_use]
    pub fn permissions(&self) -> Option<u32> {
        self.mode.map(|mode| mode & 0o7777)
    }

    /// Reads what stands at the end of an extension's own fields.
    ///
    /// # Errors
    /// If it ends too early.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read(&mut Fields(bytes))
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let flags = fields.u32()?;
        let size = if flags & SIZE != 0 { Some(fields.u64()?) } else { None };
        let owner = if flags & OWNER != 0 { Some((fields.u32()?, fields.u32()?)) } else { None };
        let mode = if flags & PERMISSIONS != 0 { Some(fields.u32()?) } else { None };
        let times = if flags & TIMES != 0 { Some((fields.u32()?, fields.u32()?)) } else { None };
        if flags & EXTENDED != 0 {
            for _ in 0..fields.u32()? {
                fields.string()?;
                fields.string()?;
            }
        }
        Ok(Self { size, owner, mode, times })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let flag = |there, flag| if there { flag } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.mode.is_some(), PERMISSIONS)
            | flag(self.times.is_some(), TIMES);
        put_u32(out, flags);
        if let Some(size) = self.size {
            put_u64(out, size);
        }
        if let Some((uid, gid)) = self.owner {
            put_u32(out, uid);
            put_u32(out, gid);
        }
        if let Some(mode) = self.mode {
            put_u32(out, mode);
        }
        if let Some((read, written)) = self.times {
            put_u32(out, read);
            put_u32(out, written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attributes: Attributes) {
        let mut out = Vec::new();
        attributes.write(&mut out);
        let mut fields = Fields(&out);
        assert_eq!(Attributes::read(&mut fields), Ok(attributes));
        assert!(fields.is_empty());
    }

    #[test]
    fn what_is_written_is_read() {
        check(Attributes::default());
        check(Attributes { mode: Some(0o100_644), ..Attributes::default() });
        check(Attributes { size: Some(1 << 40), owner: Some((1, 2)), mode: Some(0o755), times: Some((3, 4)) });
        check(Attributes { times: Some((3, 4)), owner: Some((0, 0)), ..Attributes::default() });
    }

    #[test]
    fn extended_ones_are_passed_over() {
        let bytes = [0x80, 0, 0, 4, 0, 0, 1, 0xa4, 0, 0, 0, 1, 0, 0, 0, 1, b'a', 0, 0, 0, 0];
        assert_eq!(Attributes::read(&mut Fields(&bytes)), Ok(Attributes { mode: Some(0o644), ..Attributes::default() }));
        assert!(Attributes::read(&mut Fields(&bytes[..15])).is_err());
    }

    #[test]
    fn modes_say_the_kind() {
        let kind = |mode| Attributes { mode: Some(mode), ..Attributes::default() }.kind();
        assert_eq!(
            [kind(0o100_644), kind(0o040_755), kind(0o120_777), kind(0o010_600), kind(0o644)],
            [Kind::File, Kind::Directory, Kind::Symlink, Kind::Special, Kind::File]
        );
    }
}
