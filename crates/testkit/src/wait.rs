//! Waiting for events with a deadline.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// So many seconds, or as many times that as a slow machine is given: an emulated one takes its time.
///
/// The bed sets `COFFER_TEST_PATIENCE` to the factor.
pub fn patience(seconds: u64) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = || std::env::var("COFFER_TEST_PATIENCE").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    Duration::from_secs(seconds) * *FACTOR.get_or_init(factor)
}

/// Waits until `fd` can be read, or the time is up; true if it can be read.
pub fn readable(fd: impl AsFd, time: Duration) -> bool {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("polling: {error}"),
        }
    }
}

/// Opens a handle to a process, or none if it is gone.
pub fn handle(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(pid.cast_signed())?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Waits until the process has ended, or the time is up; true if it has ended.
pub fn ended(pid: u32, time: Duration) -> bool {
    handle(pid).is_none_or(|handle| readable(handle, time))
}

/// Asks `question` again and again until it answers true, the process `alive` dies or the time is up.
///
/// For what gives no event that a test could wait for: other processes' network links, mounts and files.
pub fn until(alive: u32, time: Duration, mut question: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + time;
    let handle = handle(alive);
    loop {
        if question() {
            return true;
        }
        let dead = handle.as_ref().is_none_or(|handle| readable(handle, Duration::from_millis(10)));
        if dead || Instant::now() > deadline {
            return question();
        }
    }
}
