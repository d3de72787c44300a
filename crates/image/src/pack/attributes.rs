//! Extended attributes as records: the user's, access lists, capabilities.

use std::os::fd::BorrowedFd;

use coffer_model::IdRange;
use rustix::fs::{fgetxattr, flistxattr};
use rustix::io::Errno;

use crate::unpack::acl;

/// Bytes of the first attempt to read names or a value.
const GUESS: usize = 1024;

/// Bytes that names and a value can have. Source: linux/limits.h, `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const MOST: usize = 65536;

/// A record of an extended header.
pub(super) type Record = (Vec<u8>, Vec<u8>);

/// Reads what a file or directory has beside its owner and mode, as records. `ids` are the host's ids on disk.
///
/// `trusted.*` and the labels of security modules belong to the host, as they do when an archive is unpacked.
pub(super) fn read(file: BorrowedFd<'_>, ids: Option<IdRange>, buffer: &mut Vec<u8>) -> Result<Vec<Record>, Errno> {
    buffer.resize(MOST, 0);
    let length = match flistxattr(file, &mut buffer[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut records = Vec::new();
    for name in buffer[..length].split(|&byte| byte == 0).filter(|name| known(name)) {
        let Some(mut value) = value(file, name)? else { continue };
        let list = name == acl::ACCESS || name == acl::DEFAULT;
        if let Some(ids) = ids {
            match (list, name == b"security.capability") {
                (true, _) => acl::change_ids(&mut value, |id| inside(id, ids)),
                (false, true) => value = capability(value, ids),
                (false, false) => {}
            }
        }
        if list && let Some(text) = acl::text(&value) {
            // For readers that know access lists only in this form.
            let key: &[u8] = if name == acl::ACCESS { b"SCHILY.acl.access" } else { b"SCHILY.acl.default" };
            records.push((key.to_vec(), text.into_bytes()));
        }
        records.push((key(name), value));
    }
    // The kernel lists them in no order that stays.
    records.sort();
    Ok(records)
}

/// An id of the host as the instance knows it; one that is not the instance's stays.
pub(super) fn inside(id: u32, ids: IdRange) -> u32 {
    id.checked_sub(ids.start).filter(|inside| *inside < ids.size).unwrap_or(id)
}

fn known(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability" || name == acl::ACCESS || name == acl::DEFAULT
}

/// A value, or none if the attribute is gone.
fn value(file: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; GUESS];
    loop {
        match fgetxattr(file, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < MOST => value.resize(MOST, 0),
            Err(Errno::NODATA) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

/// The key of an attribute's record. The two bytes that a key cannot hold are written as GNU tar writes them.
fn key(name: &[u8]) -> Vec<u8> {
    let mut key = b"SCHILY.xattr.".to_vec();
    for &byte in name {
        match byte {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            byte => key.push(byte),
        }
    }
    key
}

/// A capability of the instance's root in the short form that names no root.
///
/// Source: linux/capability.h, `struct vfs_ns_cap_data`.
fn capability(value: Vec<u8>, ids: IdRange) -> Vec<u8> {
    const LONG: usize = 24;
    const REVISION: u32 = 0xff00_0000;
    let word = |at: usize| value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    match (value.len(), word(0), word(20)) {
        (LONG, Some(magic), Some(root)) if magic & REVISION == 0x0300_0000 && root == ids.start => {
            let mut short = (magic & !REVISION | 0x0200_0000).to_le_bytes().to_vec();
            short.extend_from_slice(&value[4..20]);
            short
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: IdRange = IdRange { start: 100_000, size: 65536 };

    #[test]
    fn ids_of_the_host_become_the_instances() {
        assert_eq!((inside(100_000, IDS), inside(165_535, IDS), inside(165_536, IDS), inside(7, IDS)), (0, 65535, 165_536, 7));
    }

    #[test]
    fn a_capability_of_the_instances_root_is_written_short() {
        let long = |root: u32| [&[1, 0, 0, 3][..], &[7; 16], &root.to_le_bytes()].concat();
        assert_eq!(capability(long(100_000), IDS), [&[1, 0, 0, 2][..], &[7; 16]].concat());
        assert_eq!(capability(long(5), IDS), long(5));
        assert_eq!(capability(vec![1, 0, 0, 2], IDS), [1, 0, 0, 2]);
    }

    #[test]
    fn a_key_holds_no_equals_sign() {
        assert_eq!(key(b"user.a=b%"), b"SCHILY.xattr.user.a%3Db%25");
    }
}
