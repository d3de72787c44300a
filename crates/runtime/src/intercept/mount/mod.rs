//! `mount`: file systems of the kernel on devices that the instance was given.
//!
//! ```text
//! arguments, once ─▶ is it ours? ─▶ target and device, found by a process that walks as the caller
//!       │ no                            │
//!       ▼                               ▼
//!  the kernel makes it      made detached, device nodes without effect for good
//!  with its own rights                  │ does the caller still wait?
//!                                       ▼
//!                           attached in the caller's mount namespace
//! ```
//!
//! The device is found by its number among those of the instance, and the kernel is given a node that we have made: nothing is
//! looked up by a path of the instance's with the host's rights.

mod device;
mod flags;
mod options;
mod walk;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::Filesystem;
use coffer_sys::mount::{self, Change};
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::seccomp::listen::Answer;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Setting;
use super::caller::{Caller, same_file};
use crate::failed::Failed;
use crate::parent;
use flags::Flags;
use walk::Wanted;

/// Source: linux/capability.h.
const SYS_ADMIN: u8 = 21;

/// Bytes that the kernel takes for a file system's type, and for its options. Source: mount(2): a page.
const PAGE: u64 = 4096;

/// Mounts what is asked for, if it may be. The arguments are source, target, type, flags, options.
pub(super) fn make(setting: &Setting<'_>, caller: &Caller, arguments: &[u64; 6], still_waits: impl Fn() -> bool) -> io::Result<Answer> {
    let [source, target, kind, flags, data, _] = *arguments;
    let Some(flags) = Flags::of_new_mount(flags) else { return Ok(Answer::IsMade) };
    // What cannot be read the kernel has its own words for.
    let Ok(kind) = caller.text(kind, PAGE, Errno::INVAL) else { return Ok(Answer::IsMade) };
    let allowed = |filesystem: &Filesystem| setting.mounting.allowed.contains(filesystem);
    let Some(filesystem) = kind.to_str().ok().and_then(Filesystem::named).filter(allowed) else { return Ok(Answer::IsMade) };
    let rights = caller.rights(setting.userns)?;
    let namespace = caller.file("ns/mnt", OFlags::RDONLY)?;
    // Root of the instance, among mounts that are the instance's: anybody else has to make do with the kernel.
    if !rights.can(SYS_ADMIN) || !same_file(ns::owner(namespace.as_fd())?, setting.userns)? {
        return Ok(Answer::IsMade);
    }
    let options = options::parse(filesystem, &caller.up_to(data, PAGE)?, setting.idmap, &rights)?;
    let device = if filesystem.has_device() { Some(caller.path(source)?) } else { None };
    let wanted = Wanted { target: caller.path(target)?, device, writable: !flags.restrict.readonly };
    if !still_waits() {
        return Err(Errno::SRCH.into());
    }
    // What is on no device has ids by its options.
    let shift = setting.mounting.shift && filesystem.has_device();
    let found = walk::find(setting, caller, &rights, &wanted)?;
    let made = device::make(filesystem, found.device, &options, flags, shift)?;
    let made = settle(&made, setting.userns, shift, flags)?;
    // Nobody gets a mount that he has given up on.
    if !still_waits() {
        return Err(Errno::SRCH.into());
    }
    ns::join(namespace.as_fd(), Namespaces::MOUNT)?;
    mount::attach(made.as_fd(), found.target.as_fd())?;
    Ok(Answer::Returns(0))
}

/// Has ids be what they are to be, makes what we forbid final, and then forbids what the caller wants forbidden, which it may take back.
fn settle(made: &OwnedFd, userns: &OwnedFd, shift: bool, flags: Flags) -> io::Result<OwnedFd> {
    let idmap = shift.then(|| userns.as_fd());
    // When times of access are kept is final too, as it is of every mount that comes from outside.
    let (access_times, no_directory_times) = (Some(flags.access_times), flags.no_directory_times);
    mount::change(made.as_fd(), Change { idmap, access_times, no_directory_times, ..Change::default() })?;
    let failed = |failed: Failed| failed.errno.map_or_else(|| Errno::IO.into(), io::Error::from_raw_os_error);
    let locked = parent::lock_restrictions(&[made], userns).map_err(failed)?.pop().ok_or(Errno::IO)?;
    let theirs = Change { restrict: flags.restrict, no_symlinks: flags.no_symlinks, ..Change::default() };
    mount::change(locked.as_fd(), theirs)?;
    Ok(locked)
}
