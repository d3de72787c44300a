//! Failed attempts to become trusted: who guesses is stopped, whoever it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures that an address may have within [`WINDOW`].
const ALLOWED: u32 = 10;

/// After this time an address may fail anew.
const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered. Beyond it, the oldest are forgotten.
const REMEMBERED: usize = 4096;

/// Failed attempts by address.
#[derive(Debug, Default)]
pub struct Attempts(HashMap<IpAddr, (Instant, u32)>);

impl Attempts {
    /// Says whether an address may try once more.
    pub fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        self.0.get(&neighbourhood(address)).is_none_or(|(since, count)| *count < ALLOWED || now.duration_since(*since) >= WINDOW)
    }

    /// Notes a failure.
    pub fn failed(&mut self, address: IpAddr, now: Instant) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        }
        if self.0.len() >= REMEMBERED
            && let Some(oldest) = self.0.iter().min_by_key(|(_, (since, _))| *since).map(|(address, _)| *address)
        {
            self.0.remove(&oldest);
        }
        let entry = self.0.entry(neighbourhood(address)).or_insert((now, 0));
        if now.duration_since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

/// Who has one IPv6 address has all of its /64.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            address.to_ipv4_mapped().map_or_else(|| IpAddr::V6((address.to_bits() & !(u128::MAX >> 64)).into()), IpAddr::V4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_has_to_wait() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        let (guesser, other): (IpAddr, IpAddr) = ("fd00::1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        for _ in 0..ALLOWED {
            assert!(attempts.may_try(guesser, start));
            attempts.failed(guesser, start);
        }
        assert!(!attempts.may_try(guesser, start) && !attempts.may_try("fd00::2".parse().unwrap(), start));
        assert!(attempts.may_try(other, start) && attempts.may_try("fd00:0:0:1::1".parse().unwrap(), start));
        assert!(attempts.may_try(guesser, start + WINDOW));
        attempts.failed(guesser, start + WINDOW);
        assert!(attempts.may_try(guesser, start + WINDOW));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for number in 0..10_000u32 {
            attempts.failed(IpAddr::V4(number.into()), start + Duration::from_millis(u64::from(number)));
        }
        assert_eq!(attempts.0.len(), REMEMBERED);
    }
}
