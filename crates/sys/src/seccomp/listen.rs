//! Answering system calls in the place of the kernel: filters that hand calls to a listener.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Instruction, MOST_INSTRUCTIONS, Program};

/// What a filter returns to hand a call to its listener. Source: linux/seccomp.h, `SECCOMP_RET_USER_NOTIF`.
pub const ASK: u32 = 0x7fc0_0000;

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names it for the answer.
    pub id: u64,
    /// The thread that made it, in the process namespace of whoever received it; 0 if it is not in there.
    pub caller: u32,
    /// The call's number.
    pub number: u32,
    /// The ABI that it was made by. Source: linux/audit.h, `AUDIT_ARCH_…`.
    pub abi: u32,
    /// Its arguments, as they were in registers: nobody can change them any more, only the memory that they point to.
    pub arguments: [u64; 6],
}

/// What the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call returns this.
    Returns(i64),
    /// The call fails with this error number.
    Fails(i32),
    /// The kernel makes the call with the rights of its caller, as if there were no listener. Memory may be another by then.
    IsMade,
}

/// Source: linux/seccomp.h, `struct seccomp_notif` with its `struct seccomp_data`.
#[derive(Default)]
#[repr(C)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    number: u32,
    abi: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// Source: linux/seccomp.h, `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const NEW_LISTENER: libc::c_ulong = 1 << 3;
const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
const CONTINUE: u32 = 1;

/// Source: linux/seccomp.h, `SECCOMP_IOCTL_NOTIF_…`: `_IOWR('!', 0, struct seccomp_notif)` and its like.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const ID_VALID: libc::c_ulong = 0x4008_2102;

/// Installs a filter for this thread and everything it starts, and returns the listener of the calls that it hands on.
///
/// # Errors
/// Those of [`super::install`]; `EBUSY` if a filter of this thread has a listener already.
///
/// Source: seccomp(2), `SECCOMP_FILTER_FLAG_NEW_LISTENER`; a caller that is asked for is interrupted by deadly signals only
/// where the kernel knows how, Linux 5.19.
pub fn install(filter: &[Instruction]) -> io::Result<OwnedFd> {
    if filter.is_empty() || filter.len() > MOST_INSTRUCTIONS {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let program = Program { length: filter.len() as libc::c_ushort, filter: filter.as_ptr() };
    let attempt = |flags: libc::c_ulong| {
        // SAFETY: the program's pointer and length describe a slice that outlives the call; the kernel copies it.
        let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
    };
    let listener = match attempt(NEW_LISTENER | WAIT_KILLABLE) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => attempt(NEW_LISTENER)?,
        other => other?,
    };
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}

/// Receives a call. Waits if there is none, so ask the descriptor first whether it can be read.
///
/// # Errors
/// `ENOENT` if the caller has been killed meanwhile.
///
/// Source: seccomp_unotify(2).
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Call> {
    // The kernel wants it empty.
    let mut it = Notification::default();
    // SAFETY: the pointer is to a structure of the size that the request's number says, which outlives the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut it) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Call { id: it.id, caller: it.pid, number: it.number, abi: it.abi, arguments: it.arguments })
}

/// Says whether a call still waits: whatever was opened by its caller's number before is its caller's then.
///
/// Source: seccomp_unotify(2), `SECCOMP_IOCTL_NOTIF_ID_VALID`.
#[must_use]
pub fn still_waits(listener: BorrowedFd<'_>, call: u64) -> bool {
    // SAFETY: the pointer is to eight bytes, as the request's number says, which outlive the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID as _, &raw const call) == 0 }
}

/// Answers a call.
///
/// # Errors
/// `ENOENT` if the caller has been killed meanwhile.
///
/// Source: seccomp_unotify(2).
pub fn answer(listener: BorrowedFd<'_>, call: u64, answer: Answer) -> io::Result<()> {
    let mut response = Response { id: call, value: 0, error: 0, flags: 0 };
    match answer {
        Answer::Returns(value) => response.value = value,
        Answer::Fails(errno) => response.error = -errno,
        Answer::IsMade => response.flags = CONTINUE,
    }
    // SAFETY: the pointer is to a structure of the size that the request's number says, which outlives the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw mut response) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const IDLE: Instruction = Instruction { code: 0x20, jump_true: 0, jump_false: 0, operand: 0 };

    /// Hands `getppid` on and lets everything else through.
    fn filter() -> [Instruction; 4] {
        let is_getppid = Instruction { code: 0x15, jump_true: 0, jump_false: 1, operand: libc::SYS_getppid as u32 };
        let ask = Instruction { code: 0x06, jump_true: 0, jump_false: 0, operand: ASK };
        [IDLE, is_getppid, ask, Instruction { operand: libc::SECCOMP_RET_ALLOW, ..ask }]
    }

    fn getppid() -> (i64, Option<i32>) {
        // SAFETY: getppid takes nothing and touches no memory.
        let result = unsafe { libc::syscall(libc::SYS_getppid) };
        (result, io::Error::last_os_error().raw_os_error())
    }

    #[test]
    fn a_listener_answers_in_the_kernels_place() {
        let (hand_over, listener) = std::sync::mpsc::channel();
        let caller = std::thread::spawn(move || {
            hand_over.send(install(&filter()).unwrap()).unwrap();
            [getppid(), getppid(), getppid()]
        });
        let listener: OwnedFd = listener.recv().unwrap();
        for reply in [Answer::Returns(-77_000), Answer::Fails(libc::EXDEV), Answer::IsMade] {
            let call = receive(listener.as_fd()).unwrap();
            assert_eq!(i64::from(call.number), libc::SYS_getppid);
            assert!(call.caller > 0 && still_waits(listener.as_fd(), call.id) && !still_waits(listener.as_fd(), call.id + 1));
            answer(listener.as_fd(), call.id, reply).unwrap();
        }
        let [returned, failed, made] = caller.join().unwrap();
        assert_eq!((returned.0, failed), (-77_000, (-1, Some(libc::EXDEV))));
        assert_eq!(made.0, i64::from(std::os::unix::process::parent_id()));
    }
}
