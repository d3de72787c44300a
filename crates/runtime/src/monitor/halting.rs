//! Asking init to halt.
//!
//! The kernel drops a signal to an init that has no handler for it, and an init that has just been executed has none yet. It is
//! sent once more when init takes it; nothing tells when that is, so it is looked up now and then.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use coffer_runtime_spec::{Answer, Refusal, RefusalKind, Signal, State};
use coffer_sys::process;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::poll::{Interest, Token};
use super::{Monitor, failed, refusal};

/// How long passes between two looks.
const PERIOD: Duration = Duration::from_millis(50);

/// An init that does not take the signal after so many looks never will.
const LOOKS: u32 = 600;

/// A signal that init did not take.
#[derive(Debug)]
pub(super) struct Halting {
    timer: OwnedFd,
    signal: Signal,
    looks: u32,
}

impl Monitor {
    /// Asks init to halt, and again as soon as it can be asked.
    pub(super) fn stop(&mut self) -> Result<Answer, Refusal> {
        if self.state() == State::Frozen {
            return Err(refusal(RefusalKind::State, "the instance is frozen; thaw it first, or kill it"));
        }
        let instance = self.running()?;
        let (signal, pid) = (instance.halt_signal, instance.init.pid);
        let taken = takes(pid, signal);
        self.signal_init(signal)?;
        if taken {
            self.halting = None;
        } else if self.halting.is_none() {
            let timer = every(PERIOD).map_err(|error| failed("making a timer", &error.into()))?;
            self.poll.add(&timer, Token::Halting, Interest::Read).map_err(|error| failed("waiting", &error))?;
            self.halting = Some(Halting { timer, signal, looks: 0 });
        }
        Ok(Answer::Done)
    }

    /// Time has passed: looks whether init takes the signal by now.
    pub(super) fn halting_ready(&mut self) {
        let (Some(halting), Some(instance)) = (&mut self.halting, &self.instance) else { return self.halting = None };
        // How often it has fired does not matter.
        let _ = rustix::io::read(&halting.timer, &mut [0; 8]);
        halting.looks += 1;
        let (signal, taken) = (halting.signal, takes(instance.init.pid, halting.signal));
        if taken || halting.looks == LOOKS {
            self.halting = None;
        }
        if taken && let Err(refusal) = self.signal_init(signal) {
            self.warn(format!("asking init to halt: {refusal}"));
        }
    }
}

fn every(period: Duration) -> rustix::io::Result<OwnedFd> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    let period = Timespec { tv_sec: 0, tv_nsec: period.subsec_nanos().into() };
    rustix::time::timerfd_settime(timer.as_fd(), TimerfdTimerFlags::empty(), &Itimerspec { it_interval: period, it_value: period })?;
    Ok(timer)
}

/// Says whether a process has a handler for a signal, keeps it for later, or waits for signals. One whose state cannot be read
/// takes it: the signal itself will say what is wrong.
fn takes(pid: u32, signal: Signal) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    read("status").map_or(true, |status| listed(&status, signal)) || read("syscall").is_ok_and(|call| waits(&call))
}

/// Says whether a process waits for signals: those are in no mask meanwhile.
///
/// Source: proc_pid_syscall(5): the number of the call comes first.
fn waits(call: &str) -> bool {
    call.split_whitespace().next() == Some(&process::WAITING_FOR_SIGNALS.to_string())
}

/// Source: proc_pid_status(5): `SigBlk` and `SigCgt` are masks in hexadecimal, the lowest bit for signal 1.
fn listed(status: &str, signal: Signal) -> bool {
    let masks = ["SigBlk:", "SigCgt:"].into_iter().filter_map(|name| status.lines().find_map(|line| line.strip_prefix(name)));
    let bit = 1_u64 << (signal.number() - 1);
    masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).any(|mask| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(blocked: &str, ignored: &str, caught: &str, expect: bool) {
        let status = format!("Name:\tinit\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\nSigCgt:\t{caught}\n");
        assert_eq!(listed(&status, Signal::TERM), expect, "{status}");
    }

    #[test]
    fn an_init_that_waits_for_signals_takes_them() {
        assert!(waits(&format!("{} 0x7ffd 0x0 0x0 0x8 0x0 0x0 0x7ffd 0x45f\n", process::WAITING_FOR_SIGNALS)));
        assert!(!waits("61 0xffffffff 0x7ffd\n"));
        assert!(!waits("running\n"));
    }

    #[test]
    fn a_signal_is_taken_that_is_caught_or_blocked() {
        check("0000000000000000", "0000000000000000", "0000000000004000", true);
        check("7be3c0fe28014a03", "0000000000001000", "0000000000000000", true);
        check("0000000000000000", "0000000000004000", "0000000000002000", false);
        check("0000000000000000", "0000000000000000", "0000000000000000", false);
    }
}
