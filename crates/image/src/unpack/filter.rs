//! The system calls that are left to the worker once it is locked in.

use std::io;

use coffer_sys::seccomp::allow;

/// Lists of system calls that are left.
pub(crate) type Calls = &'static [&'static [libc::c_long]];

/// What unpacking takes.
pub(crate) const WRITING: Calls = &[COMMON, WRITES];

/// What packing takes.
pub(crate) const READING: Calls = &[COMMON, READS];

/// Reading and writing what is open, opening, memory, threads, time; no sockets but the one held, no programs, no other process.
const COMMON: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_sendmsg,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_prlimit64,
    libc::SYS_prctl,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Making names and attributes.
const WRITES: &[libc::c_long] = &[
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_fsetxattr,
    // A stream of btrfs send gives files their names last.
    libc::SYS_renameat2,
    libc::SYS_fremovexattr,
    // A layer takes away directories of the layers below it.
    libc::SYS_getdents64,
];

/// Reading names and attributes.
const READS: &[libc::c_long] = &[libc::SYS_getdents64, libc::SYS_readlinkat, libc::SYS_flistxattr, libc::SYS_fgetxattr];

/// Leaves this process only these calls.
pub(crate) fn confine(calls: Calls) -> io::Result<()> {
    allow::only(&calls.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_in_thread_can_neither_run_nor_connect() {
        let thread = std::thread::spawn(|| {
            coffer_sys::cred::set_no_new_privs().unwrap();
            confine(WRITING).unwrap();
            let inner = std::thread::spawn(|| std::fs::metadata("/").is_ok());
            let thread_runs = inner.join().unwrap();
            let socket = std::os::unix::net::UnixStream::pair().map(|_| ()).map_err(|error| error.raw_os_error());
            let chroot = rustix::process::chroot("/").map_err(rustix::io::Errno::raw_os_error);
            (thread_runs, socket, chroot)
        });
        assert_eq!(thread.join().unwrap(), (true, Err(Some(libc::ENOSYS)), Err(libc::ENOSYS)));
    }
}
