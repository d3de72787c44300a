//! `sysinfo`: the memory, the processes and the age of the instance, not the host's.

use std::io;
use std::os::fd::AsFd;

use coffer_sys::seccomp::listen::Answer;

use super::Setting;
use super::caller::Caller;
use crate::cgroup::{Group, Version, number, read};

/// What it tells, sizes in bytes. Source: sysinfo(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    uptime: u64,
    loads: [u64; 3],
    memory: u64,
    memory_free: u64,
    shared: u64,
    buffers: u64,
    swap: u64,
    swap_free: u64,
    processes: u16,
}

/// Tells the caller.
pub(super) fn tell(setting: &Setting<'_>, caller: &Caller, address: u64) -> io::Result<Answer> {
    let mut figures = Figures::of_host();
    figures.uptime = setting.uptime;
    figures.limit(&Usage::of(setting.group));
    caller.write(address, &figures.bytes())?;
    Ok(Answer::Returns(0))
}

/// What the control groups say, in bytes; absent where they do not, or where there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    memory_limit: Option<u64>,
    memory: Option<u64>,
    shared: Option<u64>,
    /// Of swap alone.
    swap_limit: Option<u64>,
    swap: Option<u64>,
    processes: Option<u64>,
}

impl Usage {
    fn of(group: &Group) -> Self {
        let mut usage = Self::default();
        if let Some(member) = group.controller("memory") {
            let dir = member.dir.as_fd();
            let stat = read(dir, "memory.stat").unwrap_or_default();
            usage.shared = stat.lines().find_map(|line| line.strip_prefix("shmem ")?.trim().parse().ok());
            match member.hierarchy.version() {
                Version::V2 => {
                    usage.memory_limit = number(dir, "memory.max");
                    usage.memory = number(dir, "memory.current");
                    usage.swap_limit = number(dir, "memory.swap.max");
                    usage.swap = number(dir, "memory.swap.current");
                }
                Version::V1 => {
                    let limit = |file: &str| number(dir, file).filter(|limit| *limit < UNLIMITED);
                    usage.memory_limit = limit("memory.limit_in_bytes");
                    usage.memory = number(dir, "memory.usage_in_bytes");
                    // These count memory and swap together.
                    usage.swap_limit = less(limit("memory.memsw.limit_in_bytes"), usage.memory_limit);
                    usage.swap = less(number(dir, "memory.memsw.usage_in_bytes"), usage.memory);
                }
            }
        }
        usage.processes = group.controller("pids").and_then(|member| number(member.dir.as_fd(), "pids.current"));
        usage
    }
}

impl Figures {
    /// The host's own, which bound the instance's.
    fn of_host() -> Self {
        let host = rustix::system::sysinfo();
        let bytes = |pages: u64| pages.saturating_mul(u64::from(host.mem_unit));
        Self {
            uptime: u64::try_from(host.uptime).unwrap_or(0),
            loads: host.loads,
            memory: bytes(host.totalram),
            memory_free: bytes(host.freeram),
            shared: bytes(host.sharedram),
            buffers: bytes(host.bufferram),
            swap: bytes(host.totalswap),
            swap_free: bytes(host.freeswap),
            processes: host.procs,
        }
    }

    /// Makes them those of an instance with these limits.
    fn limit(&mut self, usage: &Usage) {
        if let Some(limit) = usage.memory_limit.filter(|limit| *limit < self.memory) {
            self.memory = limit;
            self.memory_free = limit.saturating_sub(usage.memory.unwrap_or(0));
            self.shared = usage.shared.unwrap_or(0).min(limit);
            // Part of what is used; the host's would be more than there is.
            self.buffers = 0;
        }
        if let Some(limit) = usage.swap_limit.filter(|limit| *limit < self.swap) {
            self.swap = limit;
            self.swap_free = limit.saturating_sub(usage.swap.unwrap_or(0));
        }
        if let Some(processes) = usage.processes {
            self.processes = u16::try_from(processes).unwrap_or(u16::MAX);
        }
    }

    /// As programs of 64 bits have it. Source: linux/sysinfo.h.
    fn bytes(&self) -> [u8; 112] {
        let mut bytes = [0; 112];
        let [one, five, fifteen] = self.loads;
        let words = [self.uptime, one, five, fifteen, self.memory, self.memory_free, self.shared, self.buffers, self.swap, self.swap_free];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes[80..82].copy_from_slice(&self.processes.to_ne_bytes());
        // No memory beyond the rest; the unit is one byte.
        bytes[104..108].copy_from_slice(&1_u32.to_ne_bytes());
        bytes
    }
}

/// Version 1 says "unlimited" by the largest number of whole pages; anything near it is.
const UNLIMITED: u64 = 1 << 62;

fn less(both: Option<u64>, one: Option<u64>) -> Option<u64> {
    both.zip(one).map(|(both, one)| both.saturating_sub(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_bound_what_the_host_has() {
        let host = Figures { memory: 1000, memory_free: 600, shared: 100, buffers: 70, swap: 500, swap_free: 400, ..Figures::default() };
        let mut limited = host.clone();
        let swap = (Some(200), Some(50));
        limited.limit(&Usage {
            memory_limit: Some(300),
            memory: Some(120),
            shared: Some(5),
            swap_limit: swap.0,
            swap: swap.1,
            processes: Some(70_000),
        });
        let expect =
            Figures { memory: 300, memory_free: 180, shared: 5, swap: 200, swap_free: 150, processes: u16::MAX, ..Figures::default() };
        assert_eq!(limited, expect);
        let mut free = host.clone();
        free.limit(&Usage { memory_limit: Some(5000), memory: Some(1), ..Usage::default() });
        assert_eq!(free, host, "a limit that is none changes nothing");
    }

    #[test]
    fn the_bytes_are_where_the_kernel_has_them() {
        let figures = Figures { uptime: 7, memory: 1 << 30, processes: 9, ..Figures::default() };
        let bytes = figures.bytes();
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!((word(0), word(32), bytes[80], bytes[104]), (7, 1 << 30, 9, 1));
    }
}
