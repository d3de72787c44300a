//! eBPF programs that judge the use of devices by control group.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction of eBPF. Source: linux/bpf.h, `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u8,
    /// Destination register in the lower, source register in the upper four bits.
    pub registers: u8,
    /// Offset of a jump or of memory.
    pub offset: i16,
    /// Its operand.
    pub immediate: i32,
}

/// Source: linux/bpf.h, the part of `union bpf_attr` for `BPF_PROG_LOAD`.
#[derive(Default)]
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Source: linux/bpf.h, the part of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[derive(Default)]
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// Loads a program that judges the use of devices.
///
/// # Errors
/// `EINVAL` or `EACCES` if the kernel's verifier refuses it, `EPERM` without `CAP_BPF`, `ENOSYS` without eBPF.
///
/// Source: bpf(2); `BPF_PROG_TYPE_CGROUP_DEVICE`, Linux 4.15.
pub fn load_device_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: the attributes are valid for the command and size, and what they point to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just installed this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Lets a loaded program judge the use of devices in a control group of version 2, beside those of the groups above, in
/// place of `replaced` if given. It stays as long as the group.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` or `CAP_BPF`, `ENOENT` if `replaced` is not attached there.
///
/// Source: bpf(2), `BPF_PROG_ATTACH`; replacing Linux 5.6.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, replaced: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replaced: replaced.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    // SAFETY: the attributes are valid for the command and size; all descriptors are open for the whole call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<Attach>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_program_that_allows_everything_is_loaded() {
        let allow = Instruction { code: 0xb7, registers: 0, offset: 0, immediate: 1 };
        let exit = Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 };
        match load_device_program(&[allow, exit]) {
            Ok(program) => assert!(program.as_fd().as_raw_fd() > 2),
            Err(error) => println!("skipped: no eBPF for devices: {error}"),
        }
    }
}
