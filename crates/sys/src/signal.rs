//! Signals taken one by one instead of by handlers: what the first process of a container lives by.

use std::io;
use std::mem::MaybeUninit;

use crate::process::Ended;

/// The number of the signal that tells of a child's end.
pub const CHILD: i32 = libc::SIGCHLD;

/// Blocks all signals for the calling thread: they wait until [`next`] takes them. `SIGKILL` and `SIGSTOP` cannot be blocked.
///
/// # Errors
/// None is known.
///
/// Source: sigprocmask(2).
pub fn block_all() -> io::Result<()> {
    let all = all();
    // SAFETY: the set was filled above; no old set is asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits for the next signal and takes it.
///
/// # Errors
/// `EINTR` if the process was stopped and goes on.
///
/// Source: sigwaitinfo(2).
pub fn next() -> io::Result<i32> {
    let all = all();
    // SAFETY: the set was filled above; no information beside the number is asked for.
    let number = unsafe { libc::sigwaitinfo(&raw const all, std::ptr::null_mut()) };
    if number > 0 { Ok(number) } else { Err(io::Error::last_os_error()) }
}

/// Takes the end of one child, whichever has ended; none if none has ended now, or there is no child.
///
/// # Errors
/// None is known.
///
/// Source: waitpid(2).
pub fn reap() -> io::Result<Option<(u32, Ended)>> {
    let mut status = 0;
    // SAFETY: the pointer is to an integer of ours, which the kernel fills.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match u32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if libc::WIFEXITED(status) => Ok(Some((pid, Ended::Exited(libc::WEXITSTATUS(status) as u8)))),
        Ok(pid) => Ok(Some((pid, Ended::Killed(libc::WTERMSIG(status))))),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error => Err(error),
        },
    }
}

fn all() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the whole set it is given.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: it was just written.
    unsafe { set.assume_init() }
}
