//! `mount`: file systems of the kernel on devices that the instance was given, and those that a FUSE program inside mounts.
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
//! looked up by a path of the instance's with the host's rights. What a program mounts is [`program`]'s.

mod device;
mod flags;
mod options;
mod program;
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
use super::caller::{Caller, Rights, same_file};
use crate::failed::Failed;
use crate::parent;
use flags::Flags;
use walk::Wanted;

/// Source: linux/capability.h.
const SYS_ADMIN: u8 = 21;

/// Bytes that the kernel takes for a file system's type, and for its options. Source: mount(2): a page.
const PAGE: u64 = 4096;

/// Mounts what is asked for, if it may be; `None` where that takes a program and this process starts none. The arguments are source,
/// target, type, flags, options.
pub(super) fn make(
    setting: &Setting<'_>,
    caller: &Caller,
    arguments: &[u64; 6],
    still_waits: impl Fn() -> bool,
) -> io::Result<Option<Answer>> {
    let [source, target, kind, flags, data, _] = *arguments;
    let Some(flags) = Flags::of_new_mount(flags) else { return Ok(Some(Answer::IsMade)) };
    // What cannot be read the kernel has its own words for.
    let Ok(kind) = caller.text(kind, PAGE, Errno::INVAL) else { return Ok(Some(Answer::IsMade)) };
    let mounting = &setting.spec.security.mounting;
    let kind = kind.to_str().unwrap_or_default();
    let filesystem = Filesystem::named(kind).filter(|filesystem| mounting.allowed.contains(filesystem));
    let program = mounting.programs.get(kind);
    if filesystem.is_none() && program.is_none() {
        return Ok(Some(Answer::IsMade));
    }
    let rights = caller.rights(setting.userns)?;
    let namespace = caller.file("ns/mnt", OFlags::RDONLY)?;
    // Root of the instance, among mounts that are the instance's: anybody else has to make do with the kernel.
    if !rights.can(SYS_ADMIN) || !same_file(ns::owner(namespace.as_fd())?, setting.userns)? {
        return Ok(Some(Answer::IsMade));
    }
    if let Some(filesystem) = filesystem {
        let call = Asked { source, target, data, flags };
        return by_kernel(setting, caller, &rights, &namespace, filesystem, &call, still_waits).map(Some);
    }
    match program {
        Some(program) if program::may_start(setting, &rights)? => {
            if !setting.starts_programs {
                return Ok(None);
            }
            let text = |address: u64| -> io::Result<String> { Ok(caller.path(address)?.into_string().map_err(|_| Errno::INVAL)?) };
            let options = program::options(&flags, &caller.up_to(data, PAGE)?)?;
            let wanted = program::Wanted { source: text(source)?, target: text(target)?, options };
            program::run(setting, caller, &rights, program, wanted, still_waits).map(Some)
        }
        _ => Ok(Some(Answer::IsMade)),
    }
}

/// What a call says: addresses in its caller's memory, and flags.
struct Asked {
    source: u64,
    target: u64,
    data: u64,
    flags: Flags,
}

/// Has the kernel mount a file system that is on a device of the instance, or on none.
fn by_kernel(
    setting: &Setting<'_>,
    caller: &Caller,
    rights: &Rights,
    namespace: &OwnedFd,
    filesystem: Filesystem,
    asked: &Asked,
    still_waits: impl Fn() -> bool,
) -> io::Result<Answer> {
    let Asked { source, target, data, flags } = *asked;
    let options = options::parse(filesystem, &caller.up_to(data, PAGE)?, &setting.spec.idmap, rights)?;
    let device = if filesystem.has_device() { Some(caller.path(source)?) } else { None };
    let wanted = Wanted { target: caller.path(target)?, device, writable: !flags.restrict.readonly };
    if !still_waits() {
        return Err(Errno::SRCH.into());
    }
    // What is on no device has ids by its options.
    let shift = setting.spec.security.mounting.shift && filesystem.has_device();
    let found = walk::find(setting, caller, rights, &wanted)?;
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
