//! How many instances start at the same time when the daemon starts: as many as there are CPUs, and slower when those are busy.

use std::fs;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// From this share of the last ten seconds on, in percent, in which something waited for a CPU, the host is busy.
const BUSY: f64 = 60.0;

/// How long a start is held back on a busy host while none of those before it is done.
const HELD_BACK: Duration = Duration::from_millis(250);

/// Starts that may go on.
#[derive(Debug)]
pub(crate) struct Budget {
    under_way: Mutex<usize>,
    done: Condvar,
    most: usize,
}

/// One start that goes on; done when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a Budget);

impl Budget {
    /// A budget for this host.
    pub(crate) fn new() -> Self {
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        Self { under_way: Mutex::new(0), done: Condvar::new(), most }
    }

    /// Waits until one more start may go on. Blocks the thread.
    pub(crate) fn take(&self) -> Permit<'_> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        while *under_way >= self.most {
            under_way = self.done.wait(under_way).unwrap_or_else(PoisonError::into_inner);
        }
        if *under_way > 0 && pressure().is_some_and(|share| share >= BUSY) {
            under_way = self.done.wait_timeout(under_way, HELD_BACK).unwrap_or_else(PoisonError::into_inner).0;
        }
        *under_way += 1;
        Permit(self)
    }

    /// How many start at the same time.
    pub(crate) fn most(&self) -> usize {
        self.most
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.done.notify_one();
    }
}

/// The share of the last ten seconds in which something waited for a CPU, in percent; `None` on a kernel that does not tell.
///
/// Source: psi.rst of the kernel; Linux 4.20.
fn pressure() -> Option<f64> {
    parse(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

fn parse(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read() {
        assert_eq!(parse("some avg10=3.25 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"), Some(3.25));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn no_more_than_the_budget_at_a_time() {
        let budget = Budget { under_way: Mutex::new(0), done: Condvar::new(), most: 2 };
        let most = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _permit = budget.take();
                    let now = *budget.under_way.lock().unwrap();
                    let mut most = most.lock().unwrap();
                    *most = (*most).max(now);
                });
            }
        });
        assert!(*most.lock().unwrap() <= 2 && *budget.under_way.lock().unwrap() == 0);
    }
}
