//! One member of an archive, whatever the archive is.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// One member, its name cleaned: no leading slash, no empty, `.` or `..` part. An empty path is the archive's top.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<Xattr>,
}

/// A time in seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// An extended attribute: its name and its value.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    /// A file of this many bytes, holes included.
    File(u64),
    /// A symbolic link with its text.
    Symlink(Vec<u8>),
    /// Another name of an earlier member, whose cleaned path this is.
    Hardlink(Vec<u8>),
    Fifo,
    /// A character or block device, perhaps without its numbers.
    Device(Option<Numbers>),
    Socket,
}

/// What a device node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbers {
    /// A character device; otherwise a block device.
    pub(crate) character: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Numbers {
    /// The node by which overlayfs says that a name is gone; it opens nothing.
    pub(crate) const WHITEOUT: Self = Self { character: true, major: 0, minor: 0 };
}

/// A piece of a file's content.
pub(super) enum Piece<'a> {
    Bytes(&'a [u8]),
    /// So many bytes of zeros that need no room on disk.
    Hole(u64),
}

/// Where a file's content comes from.
pub(super) trait Content {
    /// The next piece, or none after the last.
    fn piece(&mut self) -> Result<Option<Piece<'_>>, Failure>;
}

/// What is done with each member; it may leave the content unread, and may say that it has seen enough.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Entry, &mut dyn Content) -> Result<ControlFlow<()>, Failure>;

/// The longest name and link text, in bytes: what the kernel takes as a path.
pub(crate) const MAX_PATH: usize = 4095;

/// Cleans a member's name: strips `/` and `./` from its front and drops empty and `.` parts.
///
/// A name with `..` is refused rather than resolved: nothing that makes images writes one.
pub(super) fn clean(name: &[u8]) -> Result<Vec<u8>, Failure> {
    if name.len() > MAX_PATH {
        return Err(Failure::refused(name, format!("its name has {} bytes; at most {MAX_PATH} are possible", name.len())));
    }
    if name.contains(&0) {
        return Err(Failure::refused(name, "its name holds a zero byte"));
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return Err(Failure::refused(name, "its name leaves the archive by \"..\"")),
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// Checks a symbolic link's text; where it leads is the business of whoever follows it inside the instance.
pub(super) fn link_text(name: &[u8], text: &[u8]) -> Result<Vec<u8>, Failure> {
    if text.is_empty() || text.len() > MAX_PATH || text.contains(&0) {
        return Err(Failure::refused(name, "its link text is empty, too long or holds a zero byte"));
    }
    Ok(text.to_vec())
}

/// Splits a path into its parent, empty at the top, and its last part.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expect: &str) {
        let got = clean(name.as_bytes()).map_or_else(|failure| failure.to_string(), |path| String::from_utf8(path).unwrap());
        assert_eq!(got, expect);
    }

    #[test]
    fn names_are_cleaned() {
        check("./rootfs//etc/./hosts", "rootfs/etc/hosts");
        check("/rootfs/etc/", "rootfs/etc");
        check("./", "");
        check("a/..b/...", "a/..b/...");
        check("a/../b", "the archive's member a/../b: its name leaves the archive by \"..\"");
        check("..", "the archive's member ..: its name leaves the archive by \"..\"");
        check("a\0b", "the archive's member a\\0b: its name holds a zero byte");
        assert!(clean(&[b'a'; 5000]).is_err());
    }
}
