//! What an instance uses, read from control group files alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::{Hierarchies, Version, number, read};

/// What an instance uses. Absent where the host does not count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// The most memory it ever had, in bytes.
    pub memory_peak: Option<u64>,
    /// The memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// Swap in bytes.
    pub swap: Option<u64>,
    /// The most swap it ever had, in bytes.
    pub swap_peak: Option<u64>,
    /// Processor time in nanoseconds.
    pub cpu_nanoseconds: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// Reads what the instance in control group `path` uses. `hierarchies` can be found once and used for all instances.
///
/// # Errors
/// `ENOENT` if there is no such group.
pub fn stats(hierarchies: &Hierarchies, path: &str) -> io::Result<Stats> {
    let mut stats = Stats::default();
    let mut found = Err(io::Error::from(io::ErrorKind::NotFound));
    for hierarchy in hierarchies.all().iter().filter(|hierarchy| !hierarchy.controllers().is_empty()) {
        // The second version counts processor time where it shares it out, the first beside that.
        let cpu = if hierarchy.version() == Version::V1 { "cpuacct" } else { "cpu" };
        if !["memory", cpu, "pids"].into_iter().any(|name| hierarchy.controls(name)) {
            continue;
        }
        let dir = hierarchy.group(path)?;
        found = Ok(());
        match hierarchy.version() {
            Version::V1 => stats.read_v1(dir.as_fd(), |name| hierarchy.controls(name)),
            Version::V2 => stats.read_v2(dir.as_fd()),
        }
    }
    found.map(|()| stats)
}

impl Stats {
    fn read_v1(&mut self, dir: BorrowedFd<'_>, controls: impl Fn(&str) -> bool) {
        if controls("memory") {
            self.memory = number(dir, "memory.usage_in_bytes");
            self.memory_peak = number(dir, "memory.max_usage_in_bytes");
            self.memory_limit = number(dir, "memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED);
            // These count memory and swap together.
            let both = number(dir, "memory.memsw.usage_in_bytes");
            self.swap = both.zip(self.memory).map(|(both, memory)| both.saturating_sub(memory));
            let peak = number(dir, "memory.memsw.max_usage_in_bytes");
            self.swap_peak = peak.zip(self.memory_peak).map(|(both, memory)| both.saturating_sub(memory));
        }
        if controls("cpuacct") {
            self.cpu_nanoseconds = number(dir, "cpuacct.usage");
        }
        if controls("pids") {
            self.processes = number(dir, "pids.current");
        }
    }

    fn read_v2(&mut self, dir: BorrowedFd<'_>) {
        self.memory = self.memory.or_else(|| number(dir, "memory.current"));
        self.memory_peak = self.memory_peak.or_else(|| number(dir, "memory.peak"));
        self.memory_limit = self.memory_limit.or_else(|| number(dir, "memory.max"));
        self.swap = self.swap.or_else(|| number(dir, "memory.swap.current"));
        self.swap_peak = self.swap_peak.or_else(|| number(dir, "memory.swap.peak"));
        self.processes = self.processes.or_else(|| number(dir, "pids.current"));
        self.cpu_nanoseconds = self.cpu_nanoseconds.or_else(|| {
            let text = read(dir, "cpu.stat").ok()?;
            let microseconds: u64 = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()?;
            Some(microseconds.saturating_mul(1000))
        });
    }
}

/// Version 1 says "unlimited" by the largest number of whole pages; anything near it is.
const UNLIMITED: u64 = 1 << 62;
