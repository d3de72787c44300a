//! Filters that leave a process a list of calls.

use std::io;

use super::{Instruction, install};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the filter does not know this architecture's number yet: see linux/audit.h");

/// Offsets in `struct seccomp_data`, little endian.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT_AT: u32 = 16;

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Leaves this process only these calls, and `clone` for threads. What is not listed answers `ENOSYS`, so that the C library
/// takes its older way (`clone` for `clone3`, whose flags a filter cannot see); another architecture's calls end the process.
///
/// # Errors
/// As [`install`].
pub fn only(calls: &[libc::c_long]) -> io::Result<()> {
    install(&program(calls))
}

fn program(calls: &[libc::c_long]) -> Vec<Instruction> {
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let refuse = statement(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    let kill = statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
    let mut program = vec![statement(LOAD, ARCHITECTURE_AT), branch(IF_EQUAL, ARCHITECTURE, 1, 0), kill, statement(LOAD, NUMBER_AT)];
    // The numbers of the x32 interface, which shares the architecture's number with x86-64.
    program.extend([branch(IF_AT_LEAST, 0x4000_0000, 0, 1), kill]);
    for &number in calls {
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
