//! What an instance may use of the host. Absent means unlimited.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits of an instance's control groups; all can be changed while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Memory in bytes that cannot be exceeded: the out-of-memory killer comes.
    pub memory: Option<u64>,
    /// Memory in bytes above which the kernel reclaims first from this instance.
    pub memory_soft: Option<u64>,
    /// Swap in bytes beside the memory; 0 forbids swapping. Absent: as much as there is.
    pub swap: Option<u64>,
    /// How readily the instance is swapped out, 0 to 100 (v1 `memory.swappiness`; v2 has no such knob).
    pub swappiness: Option<u8>,
    /// Processors, as the kernel writes sets: `0-3,8`.
    pub cpuset: Option<String>,
    /// Memory nodes, likewise.
    pub cpuset_memory: Option<String>,
    /// Share of the processors' time.
    pub cpu_allowance: Option<CpuAllowance>,
    /// Priority against instances of the same share, 0 to 10.
    pub cpu_priority: Option<u8>,
    /// Number of processes and threads.
    pub processes: Option<u64>,
    /// Bytes of huge pages by page size as the kernel names it: `2MB`, `1GB`.
    pub hugepages: BTreeMap<String, u64>,
    /// Weight among users of a block device, 10 to 1000, the kernel's default 100.
    pub io_weight: Option<u16>,
    /// Limits by block device.
    pub io: Vec<IoLimit>,
}

/// A share of the processors' time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuAllowance {
    /// A soft share in percent, counted only when processors are busy.
    Percent(u32),
    /// A hard limit: so many microseconds in every period of so many microseconds.
    Quota {
        /// Microseconds of processor time.
        quota: u64,
        /// Microseconds of a period, 1 000 to 1 000 000.
        period: u64,
    },
}

/// Limits on one block device. Absent means unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct IoLimit {
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
    /// Bytes read a second.
    pub read_bytes: Option<u64>,
    /// Bytes written a second.
    pub write_bytes: Option<u64>,
    /// Reads a second.
    pub read_operations: Option<u64>,
    /// Writes a second.
    pub write_operations: Option<u64>,
}

impl IoLimit {
    /// Says whether nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let Self { major: _, minor: _, read_bytes, write_bytes, read_operations, write_operations } = self;
        [read_bytes, write_bytes, read_operations, write_operations].iter().all(|limit| limit.is_none())
    }
}

impl Limits {
    /// These limits, with those of block devices taken back that only `before` limits.
    #[must_use]
    pub fn in_place_of(&self, before: &Self) -> Self {
        let limited = |gone: &IoLimit| self.io.iter().any(|limit| (limit.major, limit.minor) == (gone.major, gone.minor));
        let gone = before.io.iter().filter(|gone| !limited(gone));
        let gone = gone.map(|gone| IoLimit { major: gone.major, minor: gone.minor, ..IoLimit::default() });
        Self { io: self.io.iter().cloned().chain(gone).collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_block_devices_that_went_are_taken_back() {
        let limit = |minor, read_bytes| IoLimit { major: 8, minor, read_bytes, ..IoLimit::default() };
        let with = |io: &[IoLimit]| Limits { io: io.to_vec(), ..Limits::default() };
        let next = with(&[limit(1, Some(5))]).in_place_of(&with(&[limit(0, Some(1)), limit(1, Some(2))]));
        assert_eq!(next.io, [limit(1, Some(5)), limit(0, None)]);
        assert!(next.io[1].is_none());
    }
}
