//! What OpenSSH's server does beyond version 3, and what sshfs and `sftp` make use of.

use coffer_sftp::{Attributes, MOST_DATA, MOST_PACKET, Status, extension, take_string};
use coffer_sys::path::Root;
use rustix::fs::{StatVfs, StatVfsMountFlags};

use super::connection::{Denied, Result};
use super::handles::{Handles, MOST_OPEN};
use super::tree;

/// Does what an extension is asked for; the answer is empty if that it was done is all there is to say.
pub(super) fn answer(root: &Root, handles: &Handles, name: &[u8], mut rest: &[u8]) -> Result<Option<Vec<u8>>> {
    let known = std::str::from_utf8(name).unwrap_or_default();
    match known {
        extension::POSIX_RENAME => {
            let (from, to) = (take_string(&mut rest)?, take_string(&mut rest)?);
            root.rename(tree::path(from), tree::path(to))?;
        }
        extension::HARD_LINK => {
            let (from, to) = (take_string(&mut rest)?, take_string(&mut rest)?);
            root.hard_link(tree::path(from), tree::path(to))?;
        }
        extension::SYNC => handles.file(take_string(&mut rest)?)?.sync_all()?,
        extension::SET_LINK => {
            let path = take_string(&mut rest)?;
            tree::set(root, tree::path(path), &Attributes::parse(rest)?, false)?;
        }
        extension::STATVFS => {
            let handle = root.handle_followed(tree::path(take_string(&mut rest)?))?;
            return Ok(Some(numbers(&room(&rustix::fs::fstatvfs(&handle)?))));
        }
        extension::FSTATVFS => {
            let file = handles.any(take_string(&mut rest)?)?;
            return Ok(Some(numbers(&room(&rustix::fs::fstatvfs(file)?))));
        }
        extension::LIMITS => {
            return Ok(Some(numbers(&[MOST_PACKET as u64, MOST_DATA as u64, MOST_DATA as u64, MOST_OPEN as u64])));
        }
        _ => return Err(Denied::new(Status::Unsupported, "there is no such extension")),
    }
    Ok(None)
}

fn room(stat: &StatVfs) -> [u64; 11] {
    let flag = |there: bool, flag: u64| if there { flag } else { 0 };
    let flags = flag(stat.f_flag.contains(StatVfsMountFlags::RDONLY), 1) | flag(stat.f_flag.contains(StatVfsMountFlags::NOSUID), 2);
    [
        stat.f_bsize,
        stat.f_frsize,
        stat.f_blocks,
        stat.f_bfree,
        stat.f_bavail,
        stat.f_files,
        stat.f_ffree,
        stat.f_favail,
        stat.f_fsid,
        flags,
        stat.f_namemax,
    ]
}

fn numbers(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}
