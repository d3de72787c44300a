//! `sched_setscheduler`: real-time classes, up to a priority below that of the host's own threads.

use std::io;
use std::os::fd::OwnedFd;

use coffer_runtime_spec::Intercept;
use coffer_sys::schedule;
use coffer_sys::seccomp::listen::Answer;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::Setting;
use super::caller::{Caller, Rights, same_file};

/// Source: linux/capability.h.
const SYS_NICE: u8 = 23;

/// Gives a thread of the instance a class and the priority that stands in the caller's memory.
pub(super) fn set(setting: &Setting<'_>, caller: &Caller, thread: u64, class: u64, parameters: u64) -> io::Result<Answer> {
    let (thread, class) = (thread as i32, class as i32);
    let rights = caller.rights(setting.userns)?;
    if !rights.can(SYS_NICE) {
        return Ok(Answer::IsMade);
    }
    let priority = i32::from_ne_bytes(caller.bytes(parameters)?);
    if priority > Intercept::HIGHEST_PRIORITY {
        return Err(Errno::PERM.into());
    }
    let thread = match u32::try_from(thread) {
        Err(_) => return Err(Errno::INVAL.into()),
        Ok(0) => own_number(&rights)?,
        Ok(thread) => of_instance(setting, caller, thread)?,
    };
    schedule::set(thread, class, priority)?;
    Ok(Answer::Returns(0))
}

/// The caller's number in our process namespace.
fn own_number(rights: &Rights) -> io::Result<u32> {
    let depth = Rights::own()?.numbers.len();
    rights.numbers.get(depth - 1).copied().ok_or_else(|| Errno::SRCH.into())
}

/// A number that means the same to us as to the caller, of a thread that is of the instance.
fn of_instance(setting: &Setting<'_>, caller: &Caller, thread: u32) -> io::Result<u32> {
    let here = rustix::fs::open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if !same_file(caller.file("ns/pid", OFlags::RDONLY)?, here)? {
        return Err(Errno::PERM.into());
    }
    let proc = &setting.door.ok_or(Errno::PERM)?.proc;
    let theirs: OwnedFd = openat(proc, format!("{thread}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| if errno == Errno::NOENT { Errno::SRCH } else { errno })?;
    // What we have in there ourselves is not theirs.
    if same_file(theirs, setting.userns)? { Ok(thread) } else { Err(Errno::PERM.into()) }
}
