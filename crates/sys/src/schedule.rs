//! Scheduling classes of processes.

use std::io;

/// Gives a thread a scheduling class and priority; 0 is the calling one. The number is one of the caller's process namespace.
///
/// # Errors
/// `ESRCH` if there is no such thread, `EINVAL` for a class or priority that the kernel does not know, `EPERM` without
/// `CAP_SYS_NICE`, or where the thread's control group has no time for it.
///
/// Source: sched_setscheduler(2).
pub fn set(thread: u32, class: i32, priority: i32) -> io::Result<()> {
    // SAFETY: all of it is plain numbers; zero is a value of each.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the pointer is to a structure that outlives the call; the kernel copies it. The C library of some systems refuses
    // this call itself, so it is made directly.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, thread as libc::pid_t, class, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_made_one_that_waits_for_idle_processors() {
        std::thread::spawn(|| set(0, libc::SCHED_IDLE, 0).unwrap()).join().unwrap();
        assert_eq!(set(0, 77, 0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
