//! Rewriting the owners of a tree into an id map or out of it, for file systems that cannot map ids in a mount.
//!
//! Every step is made on a handle that was checked, so that no file is touched because its name means something else by
//! now. It may be interrupted and begun anew: what is in the target range already is left alone.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use coffer_model::IdMap;
use rustix::fs::{AtFlags, FileType, Gid, Uid, XattrFlags};

use super::TreeError;
use super::attributes;
use super::walk::{Entry, Visit, link, walk};

const CAPABILITY: &std::ffi::CStr = c"security.capability";
const ACLS: [&std::ffi::CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

/// Which way ids are rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// From the ids inside to those on the host.
    In(IdMap),
    /// From the ids on the host to those inside.
    Out(IdMap),
}

/// Rewrites the owners, ACLs and capabilities of everything below a directory, and of the directory itself.
///
/// # Errors
/// The first thing that could not be rewritten: one whose owner the map does not hold, for instance.
pub fn shift(top: BorrowedFd<'_>, shift: Shift) -> Result<(), TreeError> {
    walk(top, &mut Shifter { shift, seen: HashSet::new() })
}

impl Shift {
    /// What an id becomes; nothing if the map does not hold it.
    fn id(self, id: u32) -> Option<u32> {
        let (Self::In(map) | Self::Out(map)) = self;
        let inside = id < map.host.size;
        let on_host = id.checked_sub(map.host.start).filter(|offset| *offset < map.host.size);
        match self {
            Self::In(_) if on_host.is_some() => Some(id),
            Self::In(_) => inside.then(|| map.host.start + id),
            Self::Out(_) => on_host.or(inside.then_some(id)),
        }
    }
}

struct Shifter {
    shift: Shift,
    seen: HashSet<(u32, u32, u64)>,
}

impl Visit for Shifter {
    fn file(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if entry.stat.stx_nlink > 1 && !self.seen.insert(entry.identity()) {
            return Ok(());
        }
        self.one(entry)
    }

    fn enter(&mut self, _entry: &Entry<'_>) -> io::Result<()> {
        Ok(())
    }

    fn leave(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.one(entry)
    }

    fn mount_point(&mut self, _entry: &Entry<'_>) -> io::Result<()> {
        Ok(())
    }
}

impl Shifter {
    fn one(&self, entry: &Entry<'_>) -> io::Result<()> {
        let path = link(entry.handle);
        let (uid, gid) = (self.mapped(entry.stat.stx_uid)?, self.mapped(entry.stat.stx_gid)?);
        let mut capability = attributes::value(entry.handle, CAPABILITY).or_else(no_attributes)?;
        if (uid, gid) != (entry.stat.stx_uid, entry.stat.stx_gid) {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(entry.handle, c"", uid, gid, AtFlags::EMPTY_PATH)?;
            // A change of owner clears the set-id bits.
            if entry.file_type() != FileType::Symlink && entry.stat.stx_mode & 0o6000 != 0 {
                rustix::fs::chmod(path.as_str(), attributes::mode(entry.stat))?;
            }
        }
        if let Some(value) = &mut capability {
            let value = capability_for(value, self.shift);
            rustix::fs::setxattr(path.as_str(), CAPABILITY, &value, XattrFlags::empty())?;
        }
        if entry.file_type() == FileType::Symlink {
            return Ok(());
        }
        for name in ACLS {
            let Some(mut acl) = attributes::value(entry.handle, name).or_else(no_attributes)? else { continue };
            if shift_acl(&mut acl, self.shift)? {
                rustix::fs::setxattr(path.as_str(), name, &acl, XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    fn mapped(&self, id: u32) -> io::Result<u32> {
        self.shift.id(id).ok_or_else(|| outside(id))
    }
}

/// A file system without extended attributes has none to rewrite.
fn no_attributes(error: io::Error) -> io::Result<Option<Vec<u8>>> {
    if error.kind() == io::ErrorKind::Unsupported { Ok(None) } else { Err(error) }
}

fn outside(id: u32) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("id {id} is not in the id map"))
}

/// A file capability that counts in the user namespace whose root is the map's first id, or on the host.
///
/// Source: linux/capability.h, struct vfs_ns_cap_data: magic and flags, two pairs of words, and in revision 3 the root's id.
fn capability_for(value: &[u8], shift: Shift) -> Vec<u8> {
    const REVISION_2: u32 = 0x0200_0000;
    const REVISION_3: u32 = 0x0300_0000;
    let Some(magic) = value.get(..4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes"))) else { return value.to_vec() };
    let flags = magic & 0x00ff_ffff;
    let words = |revision: u32| [&(revision | flags).to_le_bytes()[..], value.get(4..20).unwrap_or_default()].concat();
    match (shift, magic & 0xff00_0000) {
        (Shift::In(map), REVISION_2) => [words(REVISION_3), map.host.start.to_le_bytes().to_vec()].concat(),
        (Shift::Out(map), REVISION_3) if value.get(20..24) == Some(&map.host.start.to_le_bytes()) => words(REVISION_2),
        _ => value.to_vec(),
    }
}

/// Rewrites the ids in an access control list; says whether there were some.
///
/// Source: linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id.
fn shift_acl(acl: &mut [u8], shift: Shift) -> io::Result<bool> {
    const USER: u16 = 0x02;
    const GROUP: u16 = 0x08;
    let mut changed = false;
    for entry in acl.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
        if matches!(u16::from_le_bytes([entry[0], entry[1]]), USER | GROUP) {
            let id = u32::from_le_bytes(entry[4..8].try_into().expect("four bytes"));
            entry[4..8].copy_from_slice(&shift.id(id).ok_or_else(|| outside(id))?.to_le_bytes());
            changed = true;
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_model::IdRange;

    fn map() -> IdMap {
        IdMap { host: IdRange { start: 1_000_000, size: 65536 } }
    }

    #[track_caller]
    fn check(shift: Shift, id: u32, expect: Option<u32>) {
        assert_eq!(shift.id(id), expect);
    }

    #[test]
    fn ids_go_in_and_out_and_may_be_shifted_twice() {
        check(Shift::In(map()), 0, Some(1_000_000));
        check(Shift::In(map()), 65535, Some(1_065_535));
        check(Shift::In(map()), 65536, None);
        check(Shift::In(map()), 1_000_007, Some(1_000_007));
        check(Shift::Out(map()), 1_000_007, Some(7));
        check(Shift::Out(map()), 7, Some(7));
        check(Shift::Out(map()), 999_999, None);
    }

    #[test]
    fn capabilities_name_the_namespaces_root() {
        let plain = [&0x0200_0001u32.to_le_bytes()[..], &[1; 16]].concat();
        let inside = capability_for(&plain, Shift::In(map()));
        assert_eq!(inside[..4], 0x0300_0001u32.to_le_bytes());
        assert_eq!(inside[20..], 1_000_000u32.to_le_bytes());
        assert_eq!(capability_for(&inside, Shift::Out(map())), plain);
    }
}
