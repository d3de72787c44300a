//! `setxattr`: marking a directory of an overlay as opaque, which container engines inside do.

use std::io;
use std::os::fd::OwnedFd;

use coffer_sys::seccomp::listen::Answer;
use coffer_sys::{cred, xattr};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::caller::{Caller, Rights, bit};
use super::{Setting, place};

/// The one attribute that is set, and its one value.
const OPAQUE: &std::ffi::CStr = c"trusted.overlay.opaque";
const YES: [u8; 1] = *b"y";

/// Source: linux/limits.h, `XATTR_NAME_MAX` and the zero.
const LONGEST_NAME: u64 = 256;

/// Source: linux/capability.h.
const SYS_ADMIN: u8 = 21;

/// The file that is meant.
pub(super) enum File {
    /// By a path in the caller's memory.
    Path { address: u64, follow: bool },
    /// By one of its descriptors.
    Open(u64),
}

/// Sets the attribute, if it is that one. The arguments are those of `setxattr`: file, name, value, size, flags.
pub(super) fn set(setting: &Setting<'_>, caller: &Caller, file: &File, arguments: &[u64; 6]) -> io::Result<Answer> {
    let [_, name, value, size, flags, _] = *arguments;
    let name = caller.text(name, LONGEST_NAME, Errno::RANGE)?;
    let rights = caller.rights(setting.userns)?;
    // With flags it would have to be new or there; nobody asks that of this one.
    if name.as_c_str() != OPAQUE || !rights.can(SYS_ADMIN) || size != YES.len() as u64 || flags as u32 != 0 {
        return Ok(Answer::IsMade);
    }
    if caller.bytes::<1>(value)? != YES {
        return Err(Errno::PERM.into());
    }
    let directory = open(setting, caller, &rights, file)?;
    if !place::belongs(&setting.spec.idmap, &rustix::fs::fstat(&directory)?) {
        return Err(Errno::PERM.into());
    }
    cred::put_in_force(bit(SYS_ADMIN))?;
    xattr::set(std::os::fd::AsFd::as_fd(&directory), OPAQUE, &YES)?;
    Ok(Answer::Returns(0))
}

/// Opens the directory that is meant, as the caller could.
fn open(setting: &Setting<'_>, caller: &Caller, rights: &Rights, file: &File) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let handle = match file {
        File::Open(number) => {
            let handle = place::open_file(caller, *number as i32, flags)?;
            place::enter(caller, rights, None)?;
            handle
        }
        File::Path { address, follow } => {
            let path = caller.path(*address)?;
            place::enter(caller, rights, None)?;
            place::open(path.as_c_str(), if *follow { flags } else { flags | OFlags::NOFOLLOW })?
        }
    };
    if rights.can(place::DAC_READ_SEARCH) && place::belongs(&setting.spec.idmap, &rustix::fs::fstat(&handle)?) {
        cred::put_in_force(bit(place::DAC_READ_SEARCH))?;
    }
    Ok(openat(&handle, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
