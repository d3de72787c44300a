//! From the model to a spec: pure, no system call. What a start needs is decided here and nowhere else.

use std::collections::BTreeMap;

use coffer_base::Bytes;
use coffer_model::{Config, IdMap, Instance, filesystems, key, raw_idmap};
use coffer_runtime_spec as spec;

use crate::device::RunConfig;

/// Facts of the host that a spec depends on.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Bytes of memory.
    pub memory: u64,
    /// Processors that are online, in order.
    pub processors: Vec<u32>,
    /// Memory nodes and their processors.
    pub nodes: BTreeMap<u32, Vec<u32>>,
    /// Names the control groups of this daemon, so that several can share a host.
    pub cgroup_parent: String,
}

/// Everything that a start is resolved from.
pub struct Parts<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// The processors that were chosen for it, if it asks for some.
    pub cpus: Option<Vec<u32>>,
    /// Its configuration with its profiles'.
    pub config: &'a Config,
    /// Its id map; `None` is privileged.
    pub id_map: Option<IdMap>,
    /// The position of its root directory's descriptor.
    pub root: u32,
    /// Whether the root's ids are mapped by its mount; else they are on disk as they are on the host.
    pub root_idmapped: bool,
    /// The position of the file that keeps the console's output.
    pub console_log: u32,
    /// The position of the file that takes the monitor's warnings.
    pub log: u32,
    /// The label that it runs under, if the host gives it one.
    pub label: Option<spec::Label>,
    /// What its devices answered.
    pub devices: RunConfig,
}

/// Makes the spec of a start.
#[must_use]
pub fn resolve(parts: Parts<'_>, host: &HostFacts) -> spec::Spec {
    let Parts { instance, config, .. } = parts;
    let (init, halt_signal) = super::process::init(config, environment(config, &parts.devices.environment));
    spec::Spec {
        name: instance.key(),
        cgroup: cgroup(host, &instance.key()),
        idmap: parts.id_map.map_or(spec::IdMap::Privileged, |map| id_map(map, config)),
        root: spec::Root { source: spec::Source::Fd(parts.root), readonly: false, idmapped: parts.root_idmapped && parts.id_map.is_some() },
        hostname: instance.name.to_string(),
        init,
        halt_signal,
        mounts: parts.devices.mounts,
        devices: parts.devices.devices,
        nics: parts.devices.nics,
        proxies: parts.devices.proxies,
        limits: spec::Limits { io: parts.devices.io, ..limits(config, parts.cpus.as_deref(), host) },
        rlimits: rlimits(config),
        oom_score: config.parse("limits.memory.oom_priority"),
        sysctls: config.under("linux.sysctl.").map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        security: spec::Security { label: parts.label, ..security(config) },
        console: spec::Console { log: Some(spec::Source::Fd(parts.console_log)), ..Default::default() },
        log: Some(spec::Source::Fd(parts.log)),
        time: None,
    }
}

/// The control group of an instance, relative to each hierarchy.
#[must_use]
pub fn cgroup(host: &HostFacts, key: &str) -> String {
    format!("{}/{key}", host.cgroup_parent)
}

/// The limits, also for a change while the instance runs. `cpus` are those that were chosen for it.
#[must_use]
pub fn limits(config: &Config, cpus: Option<&[u32]>, host: &HostFacts) -> spec::Limits {
    let memory = config.get("limits.memory").and_then(|text| memory(text, host.memory));
    let soft = config.get("limits.memory.enforce") == Some("soft");
    let swap_allowed = config.flag("limits.memory.swap", true);
    spec::Limits {
        memory: memory.filter(|_| !soft),
        memory_soft: memory.map(|bytes| if soft { bytes } else { bytes / 10 * 9 }),
        swap: (!swap_allowed).then_some(0),
        // Priority 10 is swapped out last: 60 less five for each step is where LXD puts it too.
        swappiness: config.parse::<u8>("limits.memory.swap.priority").map(|priority| 60 - 5 * priority.min(10)),
        cpuset: cpus.map(set),
        cpuset_memory: config.get("limits.cpu.nodes").map(ToOwned::to_owned),
        cpu_allowance: config.get("limits.cpu.allowance").and_then(|text| key::CpuAllowance::parse(text).ok()).map(|allowance| {
            match allowance {
                key::CpuAllowance::Share(percent) => spec::CpuAllowance::Percent(percent),
                key::CpuAllowance::Quota { quota, period } => spec::CpuAllowance::Quota { quota, period },
            }
        }),
        cpu_priority: config.parse("limits.cpu.priority"),
        processes: config.parse("limits.processes"),
        hugepages: hugepages(config),
        io_weight: config.parse::<u16>("limits.disk.priority").map(|priority| 10.max(priority * 100)),
        io: Vec::new(),
    }
}

/// A set of processors as the kernel writes it.
#[must_use]
pub fn set(cpus: &[u32]) -> String {
    cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Bytes of a memory limit; a share is the host's.
fn memory(text: &str, host: u64) -> Option<u64> {
    match text.strip_suffix('%') {
        Some(percent) => percent.parse::<u64>().ok().map(|percent| host / 100 * percent),
        None => text.parse::<Bytes>().ok().map(|bytes| bytes.0),
    }
}

fn hugepages(config: &Config) -> BTreeMap<String, u64> {
    let size = |(page, value): (&str, &str)| Some((page.to_owned(), value.parse::<Bytes>().ok()?.0));
    config.under("limits.hugepages.").filter_map(size).collect()
}

fn rlimits(config: &Config) -> Vec<spec::Rlimit> {
    let limit = |(name, value): (&str, &str)| {
        let limit = key::ResourceLimit::parse(value).ok()?;
        Some(spec::Rlimit { resource: name.to_owned(), soft: limit.soft, hard: limit.hard })
    };
    config.under("limits.kernel.").filter_map(limit).collect()
}

fn security(config: &Config) -> spec::Security {
    let rules = |list: &str, action: fn() -> spec::Action| {
        let calls: Vec<String> = config.get(list).unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
        calls.into_iter().map(move |call| spec::SeccompRule { call, action: action() })
    };
    let seccomp = if config.flag("security.syscalls.deny_default", true) {
        const NOT_IMPLEMENTED: u16 = 38;
        let allowed = rules("security.syscalls.allow", || spec::Action::Allow);
        let denied = rules("security.syscalls.deny", || spec::Action::Errno(NOT_IMPLEMENTED));
        let native_only = config.flag("security.syscalls.deny_compat", false);
        spec::Seccomp::Default { rules: denied.chain(allowed).collect(), native_only }
    } else {
        spec::Seccomp::Off
    };
    let intercepts = |call: &str| config.flag(&format!("security.syscalls.intercept.{call}"), false);
    let intercept = spec::Intercept {
        mknod: intercepts("mknod"),
        setxattr: intercepts("setxattr"),
        sysinfo: intercepts("sysinfo"),
        sched_setscheduler: intercepts("sched_setscheduler"),
        mount: intercepts("mount"),
    };
    let nesting = config.flag("security.nesting", false);
    spec::Security { seccomp, intercept, mounting: mounting(config), nesting, ..Default::default() }
}

/// What an intercepted `mount` may be of.
pub(super) fn mounting(config: &Config) -> spec::Mounting {
    let allowed = config.get("security.syscalls.intercept.mount.allowed").unwrap_or_default();
    spec::Mounting {
        allowed: filesystems::names(allowed).filter_map(spec::Filesystem::named).collect(),
        shift: config.flag("security.syscalls.intercept.mount.shift", false),
        programs: filesystems::programs(config.get("security.syscalls.intercept.mount.fuse").unwrap_or_default()).unwrap_or_default(),
    }
}

/// The environment of init: what its devices want, under the instance's `environment.*`.
fn environment(config: &Config, devices: &[(String, String)]) -> BTreeMap<String, String> {
    let own = config.under("environment.").map(|(name, value)| (name.to_owned(), value.to_owned()));
    devices.iter().cloned().chain(own).collect()
}

/// The instance's range with the entries of `raw.idmap` laid over it.
#[must_use]
pub fn id_map(map: IdMap, config: &Config) -> spec::IdMap {
    let entries = config.get("raw.idmap").and_then(|text| raw_idmap::parse(text).ok()).unwrap_or_default();
    let ranges = |wanted: fn(&raw_idmap::RawEntry) -> bool| {
        let runs = raw_idmap::laid_over(map.host.start, map.host.size, entries.iter().copied().filter(wanted));
        runs.into_iter().map(|run| spec::IdRange { inside: run.inside, host: run.host, count: run.count }).collect()
    };
    spec::IdMap::Mapped { uids: ranges(|entry| entry.users), gids: ranges(|entry| entry.groups) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostFacts {
        HostFacts { memory: 8 << 30, processors: vec![0, 1, 2, 3], nodes: BTreeMap::new(), cgroup_parent: "coffer/test".into() }
    }

    #[track_caller]
    fn check(config: &[(&str, &str)], cpus: Option<&[u32]>, expect: impl FnOnce(spec::Limits) -> bool) {
        let config = config.iter().copied().collect();
        let limits = limits(&config, cpus, &host());
        assert!(expect(limits.clone()), "{limits:?}");
    }

    #[test]
    fn what_may_be_mounted_is_known_at_both_ends() {
        let names: Vec<&str> = spec::Filesystem::ALL.iter().map(|filesystem| filesystem.name()).collect();
        assert_eq!(names, filesystems::MOUNTABLE);
        let keys = [
            ("security.syscalls.intercept.mount.allowed", "xfs, ext4"),
            ("security.syscalls.intercept.mount.shift", "true"),
            ("security.syscalls.intercept.mount.fuse", "squashfs=squashfuse"),
        ];
        let config: Config = keys.into_iter().collect();
        let allowed = [spec::Filesystem::Ext4, spec::Filesystem::Xfs].into();
        assert_eq!(mounting(&config), spec::Mounting { allowed, shift: true, programs: [("squashfs".into(), "squashfuse".into())].into() });
    }

    #[test]
    fn nothing_asked_is_nothing_limited() {
        check(&[], None, |limits| limits == spec::Limits::default());
    }

    #[test]
    fn memory_limits() {
        check(&[("limits.memory", "50%")], None, |limits| limits.memory == Some((8 << 30) / 100 * 50));
        check(&[("limits.memory", "512MiB")], None, |limits| limits.memory == Some(512 << 20));
        check(&[("limits.memory", "1GiB"), ("limits.memory.enforce", "soft")], None, |limits| {
            limits.memory.is_none() && limits.memory_soft == Some(1 << 30)
        });
        check(&[("limits.memory.swap", "false")], None, |limits| limits.swap == Some(0));
    }

    #[test]
    fn cpus_are_what_was_chosen() {
        check(&[("limits.cpu", "2")], Some(&[1, 3]), |limits| limits.cpuset.as_deref() == Some("1,3"));
        check(&[("limits.cpu.allowance", "20ms/100ms")], None, |limits| {
            limits.cpu_allowance == Some(spec::CpuAllowance::Quota { quota: 20_000, period: 100_000 })
        });
    }

    #[test]
    fn single_ids_are_laid_over_the_range() {
        let map = IdMap { host: coffer_model::IdRange { start: 100_000, size: 65536 } };
        let config = [("raw.idmap", "uid 1000 1000")].into_iter().collect();
        let spec = id_map(map, &config);
        assert_eq!((spec.host_uid(1000), spec.host_gid(1000), spec.host_uid(1001)), (Some(1000), Some(101_000), Some(101_001)));
    }
}
