//! clone3 and pidfds, executing, memory files.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::ns::Namespaces;

/// How a child is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneOptions<'a> {
    /// New namespaces for it.
    pub namespaces: Namespaces,
    /// The v2 control group it starts in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether it is a child of this process's parent instead.
    pub sibling: bool,
}

/// A child of this process.
#[derive(Debug)]
pub struct Child {
    /// Its number in our process namespace. It cannot be recycled before the child was waited for.
    pub pid: u32,
    /// A handle that stays true for ever.
    pub pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

/// Makes a child that runs `child` and ends with the status that it returns. The child has its own copy of all memory.
///
/// # Errors
/// `EINVAL` if this process has more than one thread (the child would have their locks, but not them), else what the
/// kernel says: `EPERM`, `EAGAIN`, `ENOSPC` for too many namespaces, `EBUSY` for a control group that may hold none,
/// `ENOMEM` in a process namespace whose init has ended.
///
/// Source: clone3(2); `CLONE_INTO_CGROUP` Linux 5.7.
pub fn clone(options: CloneOptions<'_>, child: impl FnOnce() -> u8) -> io::Result<Child> {
    if thread_count()? != 1 {
        return Err(Errno::INVAL.into());
    }
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: libc::CLONE_PIDFD as u64 | u64::from(options.namespaces.bits()),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if options.sibling {
        // The kernel wants no signal then: the parent gets the one that it gets for this process.
        args.flags |= libc::CLONE_PARENT as u64;
        args.exit_signal = 0;
    }
    if let Some(cgroup) = options.cgroup {
        const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the given size and outlives the call; without CLONE_VM and a stack the child
    // goes on here with a copy of our memory, as after fork; this process has one thread, so the copy is consistent.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let bomb = ExitOnUnwind;
            let status = child();
            std::mem::forget(bomb);
            exit_now(status)
        }
        pid => {
            // SAFETY: the kernel has just stored a new descriptor here that nobody else knows.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: pid as u32, pidfd })
        }
    }
}

/// Source: linux/sched.h, `struct clone_args`, version 2.
#[derive(Default)]
#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Ends the child when its closure panics: it must never go on as if it were the parent.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit_now(101);
    }
}

/// Ends this process at once, without running anything that was registered for its end.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: _exit takes any status and has no other demands.
    unsafe { libc::_exit(status.into()) }
}

/// Counts this process's threads.
fn thread_count() -> io::Result<u64> {
    // A task directory has two links and one for each thread.
    let stat = rustix::fs::stat("/proc/self/task")?;
    Ok((stat.st_nlink as u64).saturating_sub(2))
}

/// Opens a handle to process `pid` that stays true after the number is recycled.
///
/// # Errors
/// `ESRCH` if the process is gone, `EMFILE` if we hold too many descriptors.
///
/// Source: pidfd_open(2); Linux 5.3.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends signal `number` to the process behind a pidfd.
///
/// # Errors
/// `ESRCH` if it has ended, `EINVAL` if there is no such signal.
///
/// Source: pidfd_send_signal(2); Linux 5.1.
pub fn signal(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    // SAFETY: no information is passed, so the null pointer is allowed; the descriptor is open for the whole call.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, std::ptr::null::<u8>(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the status of a child that has ended; `None` if it runs.
///
/// # Errors
/// `ECHILD` if it is no child of ours or was waited for already.
///
/// Source: waitid(2); by pidfd Linux 5.4.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Waits until a child has ended and takes its status.
///
/// # Errors
/// `ECHILD` if it is no child of ours or was waited for already.
///
/// Source: waitid(2); by pidfd Linux 5.4.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    loop {
        if let Some(ended) = wait_with(pidfd, WaitIdOptions::EXITED)? {
            return Ok(ended);
        }
    }
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> io::Result<Option<Ended>> {
    let status = loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    Ok(status.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(Ended::Exited(code as u8)),
        (None, Some(signal)) => Some(Ended::Killed(signal)),
        (None, None) => None,
    }))
}

/// Null-terminated strings for an argument vector or an environment.
#[derive(Debug)]
pub struct Strings {
    /// Owns what the pointers point to.
    _texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    /// Takes over these texts.
    #[must_use]
    pub fn new(texts: Vec<CString>) -> Self {
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _texts: texts, pointers }
    }
}

/// Becomes another program. Returns only if that failed.
///
/// Source: execve(2).
#[must_use]
pub fn execve(path: &CStr, argv: &Strings, env: &Strings) -> io::Error {
    // SAFETY: all pointers are valid null-terminated strings, and both arrays end with a null pointer, by construction.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// The most memory, in bytes, that one of the processes used which the caller has waited for, or one of those that they waited for.
///
/// # Errors
/// None is known.
///
/// Source: getrusage(2); `ru_maxrss` is in KiB.
pub fn peak_memory_of_children() -> io::Result<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage`, which the kernel fills.
    let result = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes were zero, which is a valid `rusage`, before the kernel wrote it.
    let usage = unsafe { usage.assume_init() };
    Ok(u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10)
}

/// Marks all descriptors from `first` on close-on-exec.
///
/// # Errors
/// `EINVAL` before Linux 5.11.
///
/// Source: close_range(2).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: no pointers are passed; nothing is closed before an exec that ends every user of the descriptors.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes all descriptors from `first` on. Only for the first moment of a program, when all of them are somebody else's
/// leftovers.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
///
/// Source: close_range(2).
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: no pointers are passed; the caller has opened nothing yet, so nobody relies on what is closed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes all descriptors but these. Only in a child that goes on without an exec and whose copies of its parent's
/// descriptors nothing uses any more.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
///
/// Source: close_range(2).
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: no pointers are passed; the caller says that nothing uses what is closed.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Makes standard input, output and error be copies of these three, not close-on-exec.
///
/// # Errors
/// `EMFILE`.
///
/// Source: dup2(2).
pub fn set_standard_streams(streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    // Copied above the three first: one of the sources may itself be a standard stream.
    let copies = streams.map(|stream| rustix::io::fcntl_dupfd_cloexec(stream, 3));
    let [input, output, error] = copies;
    rustix::stdio::dup2_stdin(input?)?;
    rustix::stdio::dup2_stdout(output?)?;
    rustix::stdio::dup2_stderr(error?)?;
    Ok(())
}

/// Takes descriptor 0, 1 or 2 away from wherever it is and leaves `/dev/null` there.
///
/// # Errors
/// `EBADF` if there is none.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty())?;
    rustix::stdio::dup2_stdin(null)?;
    Ok(taken)
}

/// Gives every signal its default action and lets none wait: what a new program expects.
///
/// # Errors
/// None in practice.
///
/// Source: sigaction(2), sigprocmask(2).
pub fn reset_signals() -> io::Result<()> {
    for number in 1..=64 {
        // Those that cannot be changed or belong to the C library answer with an error; they are never ignored.
        // SAFETY: SIG_DFL is a valid action for every number, and a wrong number only fails.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is valid for a signal set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was initialised above, and the old one is not asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Chooses whether others of the same user may trace this process and open its files in `/proc`.
///
/// # Errors
/// None in practice.
///
/// Source: prctl(2), `PR_SET_DUMPABLE`.
pub fn set_dumpable(dumpable: bool) -> io::Result<()> {
    use rustix::process::DumpableBehavior;
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    Ok(rustix::process::set_dumpable_behavior(behavior)?)
}

/// Sets this process's name as `ps` shows it, at most 15 bytes.
///
/// # Errors
/// None in practice.
///
/// Source: prctl(2), `PR_SET_NAME`.
pub fn set_name(name: &CStr) -> io::Result<()> {
    Ok(rustix::thread::set_name(name)?)
}

/// Lets this process be killed when its parent thread ends.
///
/// # Errors
/// None in practice.
///
/// Source: prctl(2), `PR_SET_PDEATHSIG`.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Makes an empty file in memory that can be sealed, close-on-exec and executable.
///
/// # Errors
/// `EMFILE`, `ENOMEM`.
///
/// Source: memfd_create(2).
pub fn memory_file(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Where the administrator chose that memory files are not executable unless asked (`vm.memfd_noexec`), ask.
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => Ok(rustix::fs::memfd_create(name, flags)?),
        other => Ok(other?),
    }
}

/// Seals a memory file: nobody can change it any more.
///
/// # Errors
/// `EBUSY` if it is mapped writable somewhere.
///
/// Source: fcntl(2), `F_ADD_SEALS`.
pub fn seal(file: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?)
}

/// Says whether a descriptor is a memory file that nobody can change.
#[must_use]
pub fn is_sealed(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK))
}

/// The number of the call that waits for signals, as `/proc/PID/syscall` shows it.
///
/// Source: rt_sigtimedwait(2), proc_pid_syscall(5).
pub const WAITING_FOR_SIGNALS: i64 = libc::SYS_rt_sigtimedwait;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_process_with_threads_makes_no_child() {
        // The test harness runs this test on a thread of its own.
        let error = clone(CloneOptions::default(), || 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    #[allow(clippy::zombie_processes, reason = "waited for by its pidfd")]
    fn pidfds_wait_and_signal() {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pidfd = pidfd_open(child.id()).unwrap();
        assert_eq!(try_wait(pidfd.as_fd()).unwrap(), None);
        signal(pidfd.as_fd(), libc::SIGTERM).unwrap();
        assert_eq!(wait(pidfd.as_fd()).unwrap(), Ended::Killed(libc::SIGTERM));
        assert_eq!(signal(pidfd.as_fd(), 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn sealed_files_cannot_be_changed() {
        let file = memory_file("x").unwrap();
        assert!(!is_sealed(file.as_fd()));
        seal(file.as_fd()).unwrap();
        assert!(is_sealed(file.as_fd()));
        assert_eq!(rustix::io::write(&file, b"x").unwrap_err(), Errno::PERM);
    }
}
