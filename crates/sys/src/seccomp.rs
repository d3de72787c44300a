//! Installing seccomp filters.

pub mod allow;
pub mod listen;

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

/// The ABI by which [`probe`] calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAbi {
    /// The machine's own.
    Native,
    /// 32-bit x86 on a 64-bit one: `int 0x80`.
    #[cfg(target_arch = "x86_64")]
    I386,
}

/// Makes the call of this number with arguments that no call can use, and returns what the kernel answers: the negative
/// error number for a call that fails. It shows what a filter does; a call that is let through fails for its arguments.
#[must_use]
pub fn probe(abi: ProbeAbi, number: u32) -> i64 {
    match abi {
        ProbeAbi::Native => {
            // SAFETY: every argument is minus one, which is no valid pointer, descriptor or length, so memory is neither
            // read nor written on our behalf.
            let result = unsafe { libc::syscall(libc::c_long::from(number), -1, -1, -1, -1, -1, -1) };
            if result == -1 { -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { result }
        }
        #[cfg(target_arch = "x86_64")]
        ProbeAbi::I386 => {
            let mut result = u64::from(number);
            // SAFETY: as above; `rbx`, which the compiler keeps for itself, is put back, and `int 0x80` may change r8 to
            // r11, which are named.
            unsafe {
                std::arch::asm!(
                    "xchg rbx, {argument}", "int 0x80", "xchg rbx, {argument}",
                    argument = inout(reg) u64::MAX => _,
                    inout("rax") result,
                    in("rcx") u64::MAX, in("rdx") u64::MAX, in("rsi") u64::MAX, in("rdi") u64::MAX,
                    out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                );
            }
            i64::from(result as i32)
        }
    }
}

/// The native number of a few calls, from the C library, to hold tables against.
#[must_use]
pub fn call_number(name: &str) -> Option<u32> {
    let number = match name {
        "read" => libc::SYS_read,
        "ioctl" => libc::SYS_ioctl,
        "kexec_load" => libc::SYS_kexec_load,
        "io_uring_setup" => libc::SYS_io_uring_setup,
        _ => return None,
    };
    u32::try_from(number).ok()
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
