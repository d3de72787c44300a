//! System calls that are made in the place of a caller inside, each in a child of the monitor that answers it and ends.
//!
//! A call comes here only with arguments that its filter asks about. What stands in registers cannot change any more; memory is
//! read once, and what was read is what is done. Where the caller has no right to what only we can do for it, the call goes back
//! to the kernel, which makes it with the caller's own rights: that gives nothing, whatever its memory says by then.
//!
//! Never: an object reached with rights that the caller lacks, a path followed outside its root, a link of `/proc` followed for it.

mod caller;
mod mount;
mod node;
mod place;
mod scheduling;
mod xattr;

mod sysinfo;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use coffer_runtime_spec::Spec;
use coffer_sys::seccomp::listen::{self, Answer, Call};
use rustix::io::Errno;

use crate::attach::Door;
use crate::cgroup::Group;
use crate::seccomp;
use caller::Caller;

/// What there is to know of an instance to answer for it.
pub(crate) struct Setting<'a> {
    /// All that was said of it.
    pub(crate) spec: &'a Spec,
    /// Its user namespace.
    pub(crate) userns: &'a OwnedFd,
    /// Its control groups.
    pub(crate) group: &'a Group,
    /// What it takes to join it, once it is set up.
    pub(crate) door: Option<&'a Door>,
    /// Seconds for which it runs.
    pub(crate) uptime: u64,
    /// This process may wait for a program to be done. Few may at a time, and none of those that what a program calls waits for.
    pub(crate) starts_programs: bool,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was answered.
    Answered,
    /// It takes a program, which another process is to start.
    PutOff,
}

/// A call that is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Mknod,
    Mknodat,
    Setxattr,
    Lsetxattr,
    Fsetxattr,
    Sysinfo,
    SchedSetscheduler,
    Mount,
}

const KNOWN: [(&str, Known); 8] = [
    ("mknod", Known::Mknod),
    ("mknodat", Known::Mknodat),
    ("setxattr", Known::Setxattr),
    ("lsetxattr", Known::Lsetxattr),
    ("fsetxattr", Known::Fsetxattr),
    ("sysinfo", Known::Sysinfo),
    ("sched_setscheduler", Known::SchedSetscheduler),
    ("mount", Known::Mount),
];

/// Answers a call. The process is of no other use afterwards: it walks in its caller's place.
pub(crate) fn answer(setting: &Setting<'_>, listener: BorrowedFd<'_>, call: &Call) -> Outcome {
    let answer = match decide(setting, listener, call) {
        Ok(Some(answer)) => answer,
        Ok(None) => return Outcome::PutOff,
        Err(error) => Answer::Fails(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())),
    };
    // Who has been killed meanwhile waits for no answer.
    let _ = listen::answer(listener, call.id, answer);
    Outcome::Answered
}

/// Finds the answer; `None` where it takes a program and this process starts none.
fn decide(setting: &Setting<'_>, listener: BorrowedFd<'_>, call: &Call) -> io::Result<Option<Answer>> {
    let known = KNOWN.into_iter().find(|(name, _)| seccomp::native_number(name) == Some(call.number));
    let Some((_, known)) = known.filter(|_| call.abi == seccomp::native_abi()) else { return Ok(Some(Answer::IsMade)) };
    let caller = Caller::open(call.caller)?;
    // It waited after its directory was opened, so that is its own and not of somebody who got its number.
    if !listen::still_waits(listener, call.id) {
        return Err(Errno::SRCH.into());
    }
    let [first, second, third, fourth, ..] = call.arguments;
    let answer = match known {
        Known::Mknod => node::make(setting, &caller, None, first, second, third),
        Known::Mknodat => node::make(setting, &caller, place::directory(first), second, third, fourth),
        Known::Setxattr => xattr::set(setting, &caller, &xattr::File::Path { address: first, follow: true }, &call.arguments),
        Known::Lsetxattr => xattr::set(setting, &caller, &xattr::File::Path { address: first, follow: false }, &call.arguments),
        Known::Fsetxattr => xattr::set(setting, &caller, &xattr::File::Open(first), &call.arguments),
        Known::Sysinfo => sysinfo::tell(setting, &caller, first),
        Known::SchedSetscheduler => scheduling::set(setting, &caller, first, second, third),
        Known::Mount => return mount::make(setting, &caller, &call.arguments, || listen::still_waits(listener, call.id)),
    };
    answer.map(Some)
}
