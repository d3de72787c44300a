//! `mknod`: nodes of harmless character devices.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

use coffer_sys::cred;
use coffer_sys::seccomp::listen::Answer;
use rustix::fs::{FileType, Mode, OFlags, makedev, mknodat};
use rustix::io::Errno;

use super::caller::{Caller, bit};
use super::{Setting, place};
use crate::seccomp::HARMLESS;

/// Source: linux/capability.h.
const MKNOD: u8 = 27;

/// Source: stat.h.
const FILE_KIND: u32 = 0o170_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Makes a node at a path that begins at `directory`.
pub(super) fn make(
    setting: &Setting<'_>,
    caller: &Caller,
    directory: Option<i32>,
    path: u64,
    mode: u64,
    device: u64,
) -> io::Result<Answer> {
    let (mode, device) = (mode as u32, device as u32);
    let harmless = HARMLESS.into_iter().find(|(major, minor)| device == major << 8 | minor);
    let rights = caller.rights(setting.userns)?;
    let Some((major, minor)) = harmless.filter(|_| mode & FILE_KIND == CHARACTER_DEVICE && rights.can(MKNOD)) else {
        return Ok(Answer::IsMade);
    };
    let path = caller.path(path)?;
    let (above, name) = split(&path)?;
    // A descriptor is of no account where the path begins at the root.
    let directory = directory.filter(|_| !path.as_bytes().starts_with(b"/"));
    place::enter(caller, &rights, directory)?;
    let parent = place::open(above, OFlags::PATH | OFlags::DIRECTORY)?;
    let over = rights.can(place::DAC_OVERRIDE) && place::belongs(&setting.spec.idmap, &rustix::fs::fstat(&parent)?);
    cred::put_in_force(bit(MKNOD) | if over { bit(place::DAC_OVERRIDE) } else { 0 })?;
    mknodat(&parent, name, FileType::CharacterDevice, Mode::from_raw_mode(mode & 0o7777), makedev(major, minor))?;
    Ok(Answer::Returns(0))
}

/// Splits a path into the directory and the name in it.
fn split(path: &CStr) -> io::Result<(&OsStr, CString)> {
    let bytes = path.to_bytes();
    let (above, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
        // The slash stays: it may be the root.
        Some(at) => bytes.split_at(at + 1),
        None => (&b"."[..], bytes),
    };
    match name {
        // Nothing, or a directory that would have to be there already.
        b"" => Err(Errno::NOENT.into()),
        b"." | b".." => Err(Errno::EXIST.into()),
        _ => Ok((OsStr::from_bytes(above), CString::new(name).map_err(|_| Errno::INVAL)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_their_last_name() {
        let check = |path: &CStr| {
            split(path).map(|(above, name)| format!("{} {}", above.display(), name.to_string_lossy())).map_err(|error| error.raw_os_error())
        };
        assert_eq!(check(c"null"), Ok(". null".into()));
        assert_eq!(check(c"/null"), Ok("/ null".into()));
        assert_eq!(check(c"../a//null"), Ok("../a// null".into()));
        for (path, errno) in [(c"", Errno::NOENT), (c"a/", Errno::NOENT), (c"a/..", Errno::EXIST), (c".", Errno::EXIST)] {
            assert_eq!(check(path), Err(Some(errno.raw_os_error())), "{path:?}");
        }
    }
}
