//! Installing seccomp filters.

use std::io;

/// One instruction of classic BPF. Source: linux/filter.h, `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are skipped if a jump's condition holds.
    pub jump_true: u8,
    /// How many instructions are skipped if it does not.
    pub jump_false: u8,
    /// Its operand.
    pub operand: u32,
}

/// Most instructions of a filter. Source: linux/bpf_common.h, `BPF_MAXINSNS`.
pub const MOST_INSTRUCTIONS: usize = 4096;

/// Source: linux/filter.h, `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    filter: *const Instruction,
}

/// Installs a filter for this thread and everything it starts. It cannot be taken back.
///
/// # Errors
/// `EINVAL` if the filter is empty, too long or wrong; `EACCES` without `CAP_SYS_ADMIN` and without `no_new_privs`.
///
/// Source: seccomp(2), `SECCOMP_SET_MODE_FILTER`.
pub fn install(filter: &[Instruction]) -> io::Result<()> {
    if filter.is_empty() || filter.len() > MOST_INSTRUCTIONS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let program = Program { length: filter.len() as libc::c_ushort, filter: filter.as_ptr() };
    // SAFETY: the program's pointer and length describe a slice that outlives the call; the kernel copies it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_rules_the_thread_that_installed_it() {
        let thread = std::thread::spawn(|| {
            let load_number = Instruction { code: 0x20, jump_true: 0, jump_false: 0, operand: 0 };
            let is_getppid = Instruction { code: 0x15, jump_true: 0, jump_false: 1, operand: libc::SYS_getppid as u32 };
            let refuse = Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand: libc::SECCOMP_RET_ERRNO | 77 };
            let allow = Instruction { operand: libc::SECCOMP_RET_ALLOW, ..refuse };
            install(&[load_number, is_getppid, refuse, allow]).unwrap();
            // SAFETY: getppid takes nothing and touches no memory.
            let result = unsafe { libc::syscall(libc::SYS_getppid) };
            assert_eq!((result, io::Error::last_os_error().raw_os_error()), (-1, Some(77)));
        });
        thread.join().unwrap();
        assert_ne!(std::os::unix::process::parent_id(), 0);
    }

    #[test]
    fn wrong_filters_are_refused() {
        assert_eq!(install(&[]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
