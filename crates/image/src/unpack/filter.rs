//! The system calls that are left to the unpacker once it is locked in.

use std::io;

use coffer_sys::seccomp::{Instruction, install};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the unpacker's filter does not know this architecture's number yet: see linux/audit.h");

/// Reading, writing, making names and attributes, memory, threads, time; no sockets but the one held, no programs, no other process.
const ALLOWED: &[libc::c_long] = &[
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
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_fsetxattr,
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

/// Offsets in `struct seccomp_data`, little endian.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT_AT: u32 = 16;

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Leaves this process only these calls. What is not listed answers `ENOSYS`, so that the C library takes its older way
/// (`clone` for `clone3`, whose flags a filter cannot see); another architecture's calls end the process.
pub(super) fn confine() -> io::Result<()> {
    install(&program())
}

fn program() -> Vec<Instruction> {
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let refuse = statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    let kill = statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
    let mut program = vec![statement(LOAD, ARCHITECTURE_AT), branch(IF_EQUAL, ARCHITECTURE, 1, 0), kill, statement(LOAD, NUMBER_AT)];
    // The numbers of the x32 interface, which shares the architecture's number with x86-64.
    program.extend([branch(IF_AT_LEAST, 0x4000_0000, 0, 1), kill]);
    for &number in ALLOWED {
        program.extend([branch(IF_EQUAL, number as u32, 0, 1), allow]);
    }
    // Threads of this process, but no processes.
    program.extend([
        branch(IF_EQUAL, libc::SYS_clone as u32, 0, 3),
        statement(LOAD, FIRST_ARGUMENT_AT),
        branch(IF_ANY_BIT, libc::CLONE_THREAD as u32, 0, 1),
        allow,
        refuse,
    ]);
    program
}

fn statement(code: u16, operand: u32) -> Instruction {
    branch(code, operand, 0, 0)
}

fn branch(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_in_thread_can_neither_run_nor_connect() {
        let thread = std::thread::spawn(|| {
            coffer_sys::cred::set_no_new_privs().unwrap();
            confine().unwrap();
            let inner = std::thread::spawn(|| std::fs::metadata("/").is_ok());
            let thread_runs = inner.join().unwrap();
            let socket = std::os::unix::net::UnixStream::pair().map(|_| ()).map_err(|error| error.raw_os_error());
            let chroot = rustix::process::chroot("/").map_err(rustix::io::Errno::raw_os_error);
            (thread_runs, socket, chroot)
        });
        assert_eq!(thread.join().unwrap(), (true, Err(Some(libc::ENOSYS)), Err(libc::ENOSYS)));
    }
}
