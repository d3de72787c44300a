//! Limits, in the words of both versions.

use std::io;
use std::os::fd::AsFd;

use coffer_runtime_spec::{CpuAllowance, IoLimit, Limits, Stage};

use super::{Group, Member, Version, read, write};
use crate::failed::{At, Failed};

impl Group {
    /// Sets limits. What is absent becomes unlimited, but on a `fresh` group everything is so already.
    ///
    /// # Errors
    /// The limit that could not be set, with the kernel's reason; a limit whose controller the host lacks is one.
    pub(crate) fn set_limits(&self, limits: &Limits, fresh: bool) -> Result<(), Failed> {
        let setter = Setter { group: self, fresh };
        setter.memory(limits)?;
        setter.cpu(limits)?;
        setter.cpuset(limits)?;
        setter.one("pids", limits.processes.is_some(), |member| {
            put(member, "pids.max", &limits.processes.map_or_else(|| "max".to_owned(), |most| most.to_string()))
        })?;
        setter.hugepages(limits)?;
        setter.io(limits)
    }
}

/// The sizes of huge pages that limits are known by.
const PAGES: [&str; 4] = ["64KB", "1MB", "2MB", "1GB"];

struct Setter<'a> {
    group: &'a Group,
    fresh: bool,
}

impl Setter<'_> {
    /// Sets something of one controller: always if it is wanted, to take back an earlier limit if not.
    fn one(&self, controller: &str, wanted: bool, set: impl FnOnce(&Member) -> Result<(), Failed>) -> Result<(), Failed> {
        if !wanted && self.fresh {
            return Ok(());
        }
        match self.group.controller(controller) {
            Some(member) => set(member),
            None if wanted => Err(Failed::new(Stage::Cgroup, format!("this host has no {controller} controller for control groups"))),
            None => Ok(()),
        }
    }

    fn memory(&self, limits: &Limits) -> Result<(), Failed> {
        let wanted = limits.memory.is_some() || limits.memory_soft.is_some() || limits.swap.is_some() || limits.swappiness.is_some();
        self.one("memory", wanted, |member| match member.hierarchy.version() {
            Version::V1 => memory_v1(member, limits, self.fresh),
            Version::V2 => memory_v2(member, limits),
        })
    }

    fn cpu(&self, limits: &Limits) -> Result<(), Failed> {
        let wanted = limits.cpu_allowance.is_some() || limits.cpu_priority.is_some();
        self.one("cpu", wanted, |member| {
            let shares = shares(limits.cpu_allowance, limits.cpu_priority);
            let quota = match limits.cpu_allowance {
                Some(CpuAllowance::Quota { quota, period }) => Some((quota, period)),
                Some(CpuAllowance::Percent(_)) | None => None,
            };
            match (member.hierarchy.version(), quota) {
                (Version::V1, quota) => {
                    put(member, "cpu.shares", &shares.to_string())?;
                    // Without the quota first the new period could make the old quota too large.
                    put(member, "cpu.cfs_quota_us", "-1")?;
                    let Some((quota, period)) = quota else { return Ok(()) };
                    put(member, "cpu.cfs_period_us", &period.to_string())?;
                    put(member, "cpu.cfs_quota_us", &quota.to_string())
                }
                (Version::V2, quota) => {
                    put(member, "cpu.weight", &weight(shares).to_string())?;
                    put(member, "cpu.max", &quota.map_or_else(|| "max".to_owned(), |(quota, period)| format!("{quota} {period}")))
                }
            }
        })
    }

    fn cpuset(&self, limits: &Limits) -> Result<(), Failed> {
        self.one("cpuset", limits.cpuset.is_some() || limits.cpuset_memory.is_some(), |member| {
            for (file, set) in [("cpuset.cpus", &limits.cpuset), ("cpuset.mems", &limits.cpuset_memory)] {
                match set {
                    Some(set) => put(member, file, set)?,
                    None => widen(member, file)?,
                }
            }
            Ok(())
        })
    }

    fn hugepages(&self, limits: &Limits) -> Result<(), Failed> {
        self.one("hugetlb", !limits.hugepages.is_empty(), |member| {
            let (ending, unlimited) = match member.hierarchy.version() {
                Version::V1 => ("limit_in_bytes", "-1"),
                Version::V2 => ("max", "max"),
            };
            let file = |size: &str| format!("hugetlb.{size}.{ending}");
            for size in PAGES.iter().filter(|size| !self.fresh && !limits.hugepages.contains_key(**size) && member.has(&file(size))) {
                put(member, &file(size), unlimited)?;
            }
            limits.hugepages.iter().try_for_each(|(size, most)| put(member, &file(size), &most.to_string()))
        })
    }

    fn io(&self, limits: &Limits) -> Result<(), Failed> {
        let controller = if self.group.controller("blkio").is_some() { "blkio" } else { "io" };
        self.one(controller, limits.io_weight.is_some(), |member| {
            let weight = limits.io_weight.unwrap_or(100);
            match member.hierarchy.version() {
                Version::V1 => first(member, &["blkio.bfq.weight", "blkio.weight"], &weight.to_string(), limits.io_weight.is_some()),
                Version::V2 => first(member, &["io.weight", "io.bfq.weight"], &weight.to_string(), limits.io_weight.is_some()),
            }
        })?;
        self.one(controller, !limits.io.is_empty(), |member| limits.io.iter().try_for_each(|limit| device(member, limit)))
    }
}

fn memory_v1(member: &Member, limits: &Limits, fresh: bool) -> Result<(), Failed> {
    let text = |bytes: Option<u64>| bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
    // Memory and swap together may never be below memory alone: widen before narrowing.
    let has_swap = member.has("memory.memsw.limit_in_bytes");
    if has_swap {
        put(member, "memory.memsw.limit_in_bytes", "-1")?;
    }
    put(member, "memory.limit_in_bytes", &text(limits.memory))?;
    let both = limits.memory.zip(limits.swap).map(|(memory, swap)| memory.saturating_add(swap));
    match both {
        Some(both) if has_swap => put(member, "memory.memsw.limit_in_bytes", &both.to_string())?,
        Some(_) | None => {}
    }
    put(member, "memory.soft_limit_in_bytes", &text(limits.memory_soft))?;
    // Without a limit or without accounting of swap, not wanting to is all that can be said against it.
    let swappiness = if limits.swap == Some(0) { Some(0) } else { limits.swappiness };
    match swappiness {
        Some(swappiness) => put(member, "memory.swappiness", &swappiness.to_string()),
        None if fresh => Ok(()),
        None => {
            let above = read(member.dir.as_fd(), "../memory.swappiness").at(Stage::Cgroup, || "reading ../memory.swappiness".into())?;
            put(member, "memory.swappiness", above.trim())
        }
    }
}

fn memory_v2(member: &Member, limits: &Limits) -> Result<(), Failed> {
    let text = |bytes: Option<u64>| bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
    put(member, "memory.max", &text(limits.memory))?;
    put(member, "memory.high", &text(limits.memory_soft))?;
    if limits.swap.is_some() || member.has("memory.swap.max") {
        put(member, "memory.swap.max", &text(limits.swap))?;
    }
    Ok(())
}

/// Shares of version 1, 1024 being an instance without limits: ten for each percent, and one less for each step of
/// priority below the highest.
fn shares(allowance: Option<CpuAllowance>, priority: Option<u8>) -> u64 {
    let base = match allowance {
        Some(CpuAllowance::Percent(percent)) => 10 * u64::from(percent) + 24,
        Some(CpuAllowance::Quota { .. }) | None => 1024,
    };
    base.saturating_sub(10 - u64::from(priority.unwrap_or(10).min(10))).clamp(2, 262_144)
}

/// The weight of version 2, 1 to 10 000, for shares of version 1, so that 1024 is the default of 100.
fn weight(shares: u64) -> u64 {
    // Through the three points (2, 1), (1024, 100) and (262144, 10000), straight between them.
    if shares <= 1024 { 1 + (shares.saturating_sub(2)) * 99 / 1022 } else { 100 + (shares - 1024) * 9900 / 261_120 }.clamp(1, 10_000)
}

/// Gives a cpuset everything that the one above has.
fn widen(member: &Member, file: &str) -> Result<(), Failed> {
    match member.hierarchy.version() {
        Version::V2 => put(member, file, "\n"),
        Version::V1 => {
            let above = format!("../{file}");
            let all = read(member.dir.as_fd(), &above).at(Stage::Cgroup, || format!("reading {above}"))?;
            put(member, file, all.trim())
        }
    }
}

/// Limits one block device. Taking the limits of a device that is gone back is done.
fn device(member: &Member, limit: &IoLimit) -> Result<(), Failed> {
    match set_device(member, limit) {
        Err(error) if error.errno == Some(rustix::io::Errno::NODEV.raw_os_error()) && limit.is_none() => Ok(()),
        other => other,
    }
}

fn set_device(member: &Member, limit: &IoLimit) -> Result<(), Failed> {
    let number = format!("{}:{}", limit.major, limit.minor);
    let four = [limit.read_bytes, limit.write_bytes, limit.read_operations, limit.write_operations];
    match member.hierarchy.version() {
        Version::V1 => {
            let files = [
                "blkio.throttle.read_bps_device",
                "blkio.throttle.write_bps_device",
                "blkio.throttle.read_iops_device",
                "blkio.throttle.write_iops_device",
            ];
            files.into_iter().zip(four).try_for_each(|(file, most)| put(member, file, &format!("{number} {}", most.unwrap_or(0))))
        }
        Version::V2 => {
            let text = |most: Option<u64>| most.map_or_else(|| "max".to_owned(), |most| most.to_string());
            let [read_bytes, write_bytes, reads, writes] = four.map(text);
            put(member, "io.max", &format!("{number} rbps={read_bytes} wbps={write_bytes} riops={reads} wiops={writes}"))
        }
    }
}

/// Writes the first of these files that exists.
fn first(member: &Member, files: &[&str], text: &str, wanted: bool) -> Result<(), Failed> {
    match files.iter().find(|file| member.has(file)) {
        Some(file) => put(member, file, text),
        None if wanted => Err(Failed::new(Stage::Cgroup, format!("this host has none of {}", files.join(", ")))),
        None => Ok(()),
    }
}

fn put(member: &Member, file: &str, text: &str) -> Result<(), Failed> {
    write(member.dir.as_fd(), file, text).at(Stage::Cgroup, || format!("setting {file} in {} to {text:?}", member.hierarchy.name()))
}

impl Member {
    fn has(&self, file: &str) -> bool {
        let exists: io::Result<()> =
            rustix::fs::accessat(&self.dir, file, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty()).map_err(Into::into);
        exists.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_weights() {
        assert_eq!(shares(None, None), 1024);
        assert_eq!(shares(None, Some(0)), 1014);
        assert_eq!(shares(Some(CpuAllowance::Percent(10)), None), 124);
        assert_eq!(shares(Some(CpuAllowance::Percent(0)), Some(0)), 14);
        assert_eq!(shares(Some(CpuAllowance::Quota { quota: 1, period: 1000 }), Some(5)), 1019);
        assert_eq!([weight(2), weight(1024), weight(262_144)], [1, 100, 10_000]);
    }
}
