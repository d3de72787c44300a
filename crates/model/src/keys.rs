//! The tables of configuration keys, one row a key.

use crate::key::Class::{Free, Interception, LowLevel, Nesting, Privilege};
use crate::key::Support::{self, No, Yes};
use crate::key::Value::{Bool, Choice, CpuAllowance, Cpus, Int, Line, ResourceLimit, Size, SizeOrPercent, Text};
use crate::key::{Class, Key, Value};

/// One row, in the order a reader wants: key, type, default, live?, class, support, documentation.
pub(crate) const fn row(
    name: &'static str,
    value: Value,
    default: &'static str,
    live: bool,
    class: Class,
    support: Support,
    doc: &'static str,
) -> Key {
    Key { name, value, default, live, class, support, doc }
}

pub(crate) const NEXT_START: bool = false;
pub(crate) const LIVE: bool = true;
const MAX: i64 = i64::MAX;

pub(crate) const VM: Support = No("it is for virtual machines, which this server does not run");
const LATER: Support = No("this server does not do it yet");
const CDI: Support = No("pass the GPU's device nodes instead; the NVIDIA hook of other servers is not used here");

/// Keys of instances and profiles.
pub const INSTANCE: &[Key] = &[
    row("agent.nic_config", Bool, "", NEXT_START, Free, VM, "Whether the agent sets NIC names and MTUs."),
    row(
        "boot.autostart",
        Bool,
        "",
        NEXT_START,
        Free,
        Yes,
        "Whether the instance starts with the daemon. Not set: it starts if it ran when the host went down.",
    ),
    row(
        "boot.autostart.delay",
        Int(0, 3600),
        "0",
        NEXT_START,
        Free,
        Yes,
        "Seconds to wait after this instance was started with the daemon before the next one is.",
    ),
    row("boot.autostart.priority", Int(-1000, 1000), "0", NEXT_START, Free, Yes, "Order of starting with the daemon, highest first."),
    row(
        "boot.host_shutdown_timeout",
        Int(0, 86400),
        "30",
        LIVE,
        Free,
        Yes,
        "Seconds an instance may take to stop when the daemon stops all before it is killed.",
    ),
    row("boot.stop.priority", Int(-1000, 1000), "0", NEXT_START, Free, Yes, "Order of stopping when the daemon stops all, highest first."),
    row(
        "cloud-init.network-config",
        Text,
        "",
        NEXT_START,
        Free,
        Yes,
        "cloud-init's network configuration, offered to the instance as seed data.",
    ),
    row("cloud-init.user-data", Text, "", NEXT_START, Free, Yes, "cloud-init's user data, offered to the instance as seed data."),
    row("cloud-init.vendor-data", Text, "", NEXT_START, Free, Yes, "cloud-init's vendor data, offered to the instance as seed data."),
    row(
        "cluster.evacuate",
        Choice(&["auto", "live-migrate", "migrate", "stop"]),
        "auto",
        NEXT_START,
        Free,
        Yes,
        "What happens to the instance when its cluster member is evacuated; stored for clusters.",
    ),
    row("environment.*", Line, "", LIVE, Free, Yes, "Environment variable for the instance's init and for every `exec`."),
    row("image.*", Text, "", NEXT_START, Free, Yes, "Property copied from the image at creation."),
    row("limits.cpu", Cpus, "", LIVE, Free, Yes, "Number of CPUs, or the set of CPUs (`0-3,6`), that the instance may use."),
    row(
        "limits.cpu.allowance",
        CpuAllowance,
        "100%",
        LIVE,
        Free,
        Yes,
        "CPU time: a share (`50%`) under contention, or a hard limit (`25ms/100ms`).",
    ),
    row("limits.cpu.priority", Int(0, 10), "10", LIVE, Free, Yes, "Weight against instances with the same allowance."),
    row("limits.disk.priority", Int(0, 10), "5", LIVE, Free, Yes, "Weight of block I/O under contention."),
    row("limits.hugepages.1GB", Size, "", LIVE, Free, Yes, "Limit of 1 GB huge pages, in bytes."),
    row("limits.hugepages.1MB", Size, "", LIVE, Free, Yes, "Limit of 1 MB huge pages, in bytes."),
    row("limits.hugepages.2MB", Size, "", LIVE, Free, Yes, "Limit of 2 MB huge pages, in bytes."),
    row("limits.hugepages.64KB", Size, "", LIVE, Free, Yes, "Limit of 64 KB huge pages, in bytes."),
    row(
        "limits.kernel.*",
        ResourceLimit,
        "",
        NEXT_START,
        Free,
        Yes,
        "Resource limit of the instance's processes, by its name in getrlimit(2) in lower case.",
    ),
    row("limits.memory", SizeOrPercent, "", LIVE, Free, Yes, "Memory: bytes, or a share of the host's."),
    row(
        "limits.memory.enforce",
        Choice(&["hard", "soft"]),
        "hard",
        LIVE,
        Free,
        Yes,
        "Whether memory is limited always, or only when the host is short of it.",
    ),
    row("limits.memory.hugepages", Bool, "", NEXT_START, Free, VM, "Whether the virtual machine is backed by huge pages."),
    row("limits.memory.swap", Bool, "true", LIVE, Free, Yes, "Whether the instance's memory may be swapped out."),
    row("limits.memory.swap.priority", Int(0, 10), "10", LIVE, Free, Yes, "The higher, the later its memory is swapped out."),
    row("limits.network.priority", Int(0, 10), "0", LIVE, Free, LATER, "Priority of the instance's packets."),
    row("limits.processes", Int(1, MAX), "", LIVE, Free, Yes, "Number of processes and threads."),
    row("linux.kernel_modules", Line, "", NEXT_START, LowLevel, LATER, "Kernel modules to load before the start."),
    row(
        "linux.sysctl.*",
        Line,
        "",
        NEXT_START,
        LowLevel,
        Yes,
        "Kernel parameter inside; only those that belong to the instance's own namespaces.",
    ),
    row("migration.incremental.memory", Bool, "false", LIVE, Free, LATER, "Whether memory moves incrementally."),
    row(
        "migration.incremental.memory.goal",
        Int(0, 100),
        "70",
        LIVE,
        Free,
        LATER,
        "Share of memory in sync before the instance is stopped.",
    ),
    row("migration.incremental.memory.iterations", Int(0, 10000), "10", LIVE, Free, LATER, "Number of passes at the most."),
    row("migration.stateful", Bool, "", NEXT_START, Free, VM, "Whether the virtual machine can be stopped with its state."),
    row("nvidia.driver.capabilities", Line, "", NEXT_START, Free, CDI, "What of the driver the instance needs."),
    row("nvidia.require.cuda", Line, "", NEXT_START, Free, CDI, "Version of CUDA required."),
    row("nvidia.require.driver", Line, "", NEXT_START, Free, CDI, "Version of the driver required."),
    row("nvidia.runtime", Bool, "", NEXT_START, Free, CDI, "Whether the host's driver is passed in."),
    row("raw.apparmor", Text, "", LIVE, LowLevel, LATER, "AppArmor rules to add to the instance's profile."),
    row("raw.idmap", Text, "", NEXT_START, LowLevel, LATER, "Extra entries for the id map."),
    row(
        "raw.lxc",
        Text,
        "",
        NEXT_START,
        LowLevel,
        No("the runtime is this server's own; use the typed keys"),
        "Raw configuration for liblxc.",
    ),
    row("raw.qemu", Text, "", NEXT_START, LowLevel, VM, "Raw arguments for QEMU."),
    row("raw.qemu.conf", Text, "", NEXT_START, LowLevel, VM, "Raw configuration for QEMU."),
    row("raw.seccomp", Text, "", NEXT_START, LowLevel, No("use security.syscalls.allow and security.syscalls.deny"), "Raw seccomp policy."),
    row("security.agent.metrics", Bool, "", NEXT_START, Free, VM, "Whether the agent answers metrics."),
    row("security.devlxd", Bool, "true", NEXT_START, Free, Yes, "Whether the instance gets the guest API."),
    row("security.devlxd.images", Bool, "false", LIVE, Free, LATER, "Whether the guest API hands out images."),
    row(
        "security.idmap.base",
        Int(65536, 4294901760),
        "",
        NEXT_START,
        Privilege,
        Yes,
        "First host id of the instance's range, instead of one chosen by the server.",
    ),
    row(
        "security.idmap.isolated",
        Bool,
        "true",
        NEXT_START,
        Privilege,
        Yes,
        "Whether the id range is the instance's own. What an absent key means is the server key instances.idmap.isolated.",
    ),
    row("security.idmap.size", Int(65536, 1073741824), "65536", NEXT_START, Privilege, Yes, "Number of ids in the instance's range."),
    row("security.nesting", Bool, "false", NEXT_START, Nesting, Yes, "Whether containers may run inside."),
    row(
        "security.privileged",
        Bool,
        "false",
        NEXT_START,
        Privilege,
        Yes,
        "Whether root inside is the host's root. Not a security boundary.",
    ),
    row("security.protection.delete", Bool, "false", LIVE, Free, Yes, "Whether deleting the instance is refused."),
    row(
        "security.protection.shift",
        Bool,
        "false",
        LIVE,
        Free,
        Yes,
        "Whether changing file owners on disk is refused; they never change where idmapped mounts exist.",
    ),
    row("security.secureboot", Bool, "", NEXT_START, Free, VM, "Whether UEFI secure boot is on."),
    row("security.syscalls.allow", Text, "", NEXT_START, LowLevel, Yes, "System calls allowed beside the default list, one name a line."),
    row("security.syscalls.deny", Text, "", NEXT_START, LowLevel, Yes, "System calls refused beside the default list, one name a line."),
    row("security.syscalls.deny_compat", Bool, "false", NEXT_START, Free, Yes, "Whether 32-bit system calls are refused on a 64-bit host."),
    row("security.syscalls.deny_default", Bool, "true", NEXT_START, LowLevel, Yes, "Whether the default list of system calls is in force."),
    row("security.syscalls.intercept.bpf", Bool, "false", NEXT_START, Interception, LATER, "Whether bpf() is handled by the server."),
    row(
        "security.syscalls.intercept.bpf.devices",
        Bool,
        "false",
        NEXT_START,
        Interception,
        LATER,
        "Whether device programs of the unified hierarchy may be loaded.",
    ),
    row(
        "security.syscalls.intercept.mknod",
        Bool,
        "false",
        NEXT_START,
        Interception,
        LATER,
        "Whether mknod() of harmless devices is handled by the server.",
    ),
    row("security.syscalls.intercept.mount", Bool, "false", NEXT_START, Interception, LATER, "Whether mount() is handled by the server."),
    row("security.syscalls.intercept.mount.allowed", Line, "", LIVE, Interception, LATER, "File systems that may be mounted."),
    row("security.syscalls.intercept.mount.fuse", Line, "", LIVE, Interception, LATER, "File systems that are mounted by FUSE programs."),
    row("security.syscalls.intercept.mount.shift", Bool, "false", LIVE, Interception, LATER, "Whether ids are mapped on such mounts."),
    row(
        "security.syscalls.intercept.sched_setscheduler",
        Bool,
        "false",
        NEXT_START,
        Interception,
        LATER,
        "Whether sched_setscheduler() is handled by the server.",
    ),
    row(
        "security.syscalls.intercept.setxattr",
        Bool,
        "false",
        NEXT_START,
        Interception,
        LATER,
        "Whether setxattr() is handled by the server.",
    ),
    row("snapshots.expiry", Line, "", NEXT_START, Free, LATER, "When a snapshot is deleted, after its creation."),
    row("snapshots.pattern", Line, "snap%d", NEXT_START, Free, LATER, "Names of snapshots made without a name."),
    row("snapshots.schedule", Line, "", NEXT_START, Free, LATER, "When snapshots are made."),
    row("snapshots.schedule.stopped", Bool, "false", NEXT_START, Free, LATER, "Whether stopped instances are snapshotted too."),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text for whoever uses the API."),
    row("volatile.*", Text, "", LIVE, LowLevel, Yes, "What the server remembers of the instance; set by the server only."),
];

/// Keys of the server.
pub const SERVER: &[Key] = &[
    row("backups.compression_algorithm", COMPRESSION, "gzip", LIVE, Free, LATER, "Compression of backups."),
    row("core.https_address", Line, "", LIVE, Free, LATER, "Address to serve the API at."),
    row("core.proxy_http", Line, "", LIVE, Free, LATER, "Proxy for HTTP."),
    row("core.proxy_https", Line, "", LIVE, Free, LATER, "Proxy for HTTPS."),
    row("core.proxy_ignore_hosts", Line, "", LIVE, Free, LATER, "Hosts reached without a proxy."),
    row(
        "core.shutdown_timeout",
        Int(0, 1440),
        "5",
        LIVE,
        Free,
        Yes,
        "Minutes to wait for running operations when the daemon is shut down.",
    ),
    row("core.trust_password", Line, "", LIVE, Free, LATER, "Password with which a client becomes trusted."),
    row("images.auto_update_cached", Bool, "true", LIVE, Free, Yes, "Whether cached images are kept up to date."),
    row("images.auto_update_interval", Int(0, 8760), "6", LIVE, Free, Yes, "Hours between looking for newer images; 0 never looks."),
    row("images.compression_algorithm", COMPRESSION, "gzip", LIVE, Free, LATER, "Compression of published images."),
    row("images.remote_cache_expiry", Int(0, 3650), "10", LIVE, Free, Yes, "Days after which an unused cached image is removed."),
    row("instances.idmap.isolated", Bool, "true", LIVE, Free, Yes, "What an absent security.idmap.isolated means."),
    row(
        "instances.nic.filtering",
        Bool,
        "true",
        LIVE,
        Free,
        Yes,
        "What an absent security.mac_filtering, ipv4_filtering and ipv6_filtering of a bridged NIC means.",
    ),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text."),
];

const COMPRESSION: Value = Choice(&["bzip2", "gzip", "lzma", "none", "xz", "zstd"]);

/// Keys of projects.
pub const PROJECT: &[Key] = &[
    row("features.images", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own images."),
    row("features.networks", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own networks."),
    row("features.profiles", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own profiles."),
    row("features.storage.volumes", Bool, "true", NEXT_START, Free, Yes, "Whether the project has its own volumes."),
    row("user.*", Text, "", LIVE, Free, Yes, "Free text."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tables_are_sorted_and_documented() {
        let devices = crate::DeviceKind::ALL.iter().map(|kind| kind.table());
        for table in [INSTANCE, SERVER, PROJECT].into_iter().chain(devices) {
            assert!(
                table.windows(2).all(|pair| pair[0].name < pair[1].name),
                "{:?}",
                table.windows(2).find(|pair| pair[0].name >= pair[1].name)
            );
            assert!(table.iter().all(|row| row.doc.ends_with('.')));
        }
    }

    proptest! {
        /// No key but free text takes a second line, whatever stands in it.
        #[test]
        fn only_text_keys_take_control_characters(index in 0..INSTANCE.len(), text in "[a-z0-9]{0,4}[\n\r\0#,;\"$()]{1,3}[a-z]{0,4}\n") {
            let row = &INSTANCE[index];
            let fine = row.value.check(&text).is_ok();
            prop_assert!(!fine || row.value == Text, "{} took {text:?}", row.name);
        }
    }
}
