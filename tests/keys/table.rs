//! What each key does, as a table: a value, a bad one, and what is seen inside.

/// One key with one value.
#[derive(Debug)]
pub struct Case {
    /// The key.
    pub key: &'static str,
    /// A value.
    pub value: &'static str,
    /// Keys that it needs beside it.
    pub beside: &'static [(&'static str, &'static str)],
    /// A value that is refused; none where every text is fine.
    pub bad: Option<&'static str>,
    /// What is seen of it.
    pub effect: Effect,
    /// What it decides about, where several keys decide about the same.
    pub about: &'static str,
}

/// What is seen of a key.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// A script inside shows one of these texts, by the version of control groups.
    Inside {
        /// The script.
        script: &'static str,
        /// What it may show.
        shows: &'static [&'static str],
    },
    /// Nothing inside: it is kept for others, or another test shows what it does.
    Elsewhere(&'static str),
}

impl Case {
    /// All keys that the case sets.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.beside.iter().copied().chain([(self.key, self.value)])
    }
}

const fn seen(key: &'static str, value: &'static str, bad: &'static str, script: &'static str, shows: &'static [&'static str]) -> Case {
    Case { key, value, beside: &[], bad: Some(bad), effect: Effect::Inside { script, shows }, about: "" }
}

const fn kept(key: &'static str, value: &'static str, bad: Option<&'static str>, why: &'static str) -> Case {
    Case { key, value, beside: &[], bad, effect: Effect::Elsewhere(why), about: "" }
}

/// A resource limit, read where the kernel shows init's.
macro_rules! kernel {
    ($name:literal, $value:literal, $label:literal, $($shows:literal),+) => {
        seen(
            concat!("limits.kernel.", $name),
            $value,
            "many",
            concat!("sed -n 's/^", $label, " *\\([^ ]*\\) *\\([^ ]*\\).*/\\1 \\2/p' /proc/1/limits"),
            &[$($shows),+],
        )
    };
}

/// A file of a version 1 hierarchy, or else of the version 2 tree.
macro_rules! group {
    ($controller:literal, $old:literal, $new:literal) => {
        concat!(
            "cat /sys/fs/cgroup/",
            $controller,
            "/",
            $old,
            " 2>/dev/null || cat /sys/fs/cgroup/",
            $new,
            " 2>/dev/null || cat /sys/fs/cgroup/unified/",
            $new
        )
    };
}

const IDS: &str = "tr -s ' ' < /proc/self/uid_map | sed 's/^ //'";

/// Every key that is done.
pub const CASES: &[Case] = &[
    kept("boot.autorestart", "true", Some("maybe"), "tests::policy::autorestart"),
    kept("boot.autostart", "true", Some("maybe"), "tests::lifecycle"),
    kept("boot.autostart.delay", "1", Some("-1"), "tests::lifecycle"),
    kept("boot.autostart.priority", "5", Some("high"), "tests::lifecycle"),
    kept("boot.depends", ",", Some("db:soon"), "tests::policy::depends"),
    kept("boot.depends.timeout", "5", Some("soon"), "tests::policy::depends"),
    kept("boot.host_shutdown_action", "force-stop", Some("stateful-stop"), "tests::lifecycle"),
    kept("boot.host_shutdown_timeout", "3", Some("soon"), "tests::lifecycle"),
    kept("boot.stop.priority", "7", Some("high"), "tests::lifecycle"),
    kept("cloud-init.network-config", "version: 1", None, "tests::cloud_init, tests::guest_api"),
    kept("cloud-init.user-data", "#cloud-config", None, "tests::cloud_init, tests::guest_api"),
    kept("cloud-init.vendor-data", "#cloud-config", None, "tests::cloud_init, tests::guest_api"),
    kept("cluster.evacuate", "stop", Some("later"), "kept for clusters"),
    seen("environment.COLOUR", "blue", "a\nb", "echo $COLOUR", &["blue"]),
    kept("image.colour", "blue", None, "kept"),
    kept("health.exec", "true", Some("'"), "tests::policy::health"),
    kept("health.http", "http://localhost/", Some("localhost"), "tests::policy::health"),
    kept("health.interval", "5", Some("0"), "tests::policy::health"),
    kept("health.restart", "true", Some("maybe"), "tests::policy::health"),
    kept("health.retries", "2", Some("0"), "tests::policy::health"),
    kept("health.start_period", "5", Some("-1"), "tests::policy::health"),
    kept("health.tcp", "80", Some("web"), "tests::policy::health"),
    kept("health.timeout", "5", Some("0"), "tests::policy::health"),
    seen("limits.memory.oom_priority", "321", "often", "cat /proc/1/oom_score_adj /proc/self/oom_score_adj | tr '\n' ' '", &["321 321"]),
    seen("limits.cpu", "0-0", "many", group!("cpuset", "cpuset.cpus", "cpuset.cpus.effective"), &["0"]),
    seen("limits.cpu.nodes", "0", "first", group!("cpuset", "cpuset.mems", "cpuset.mems.effective"), &["0"]),
    seen("limits.cpu.allowance", "50%", "50", group!("cpu", "cpu.shares", "cpu.weight"), &["524", "51"]),
    seen("limits.cpu.allowance", "25ms/100ms", "100ms", group!("cpu", "cpu.cfs_quota_us", "cpu.max"), &["25000", "25000 100000"]),
    seen("limits.cpu.priority", "5", "11", group!("cpu", "cpu.shares", "cpu.weight"), &["1019", "99"]),
    seen("limits.disk.priority", "8", "11", group!("blkio", "blkio.weight", "io.weight"), &["800", "default 800"]),
    seen("limits.hugepages.1GB", "2GiB", "some", group!("hugetlb", "hugetlb.1GB.limit_in_bytes", "hugetlb.1GB.max"), &["2147483648"]),
    seen("limits.hugepages.1MB", "4MiB", "some", group!("hugetlb", "hugetlb.1MB.limit_in_bytes", "hugetlb.1MB.max"), &["4194304"]),
    seen("limits.hugepages.2MB", "4MiB", "some", group!("hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), &["4194304"]),
    seen("limits.hugepages.64KB", "4MiB", "some", group!("hugetlb", "hugetlb.64KB.limit_in_bytes", "hugetlb.64KB.max"), &["4194304"]),
    kernel!("as", "64000000000", "Max address space", "64000000000 64000000000"),
    kernel!("core", "0:1000000", "Max core file size", "0 1000000"),
    kernel!("cpu", "100000", "Max cpu time", "100000 100000"),
    kernel!("data", "64000000000", "Max data size", "64000000000 64000000000"),
    kernel!("fsize", "64000000000", "Max file size", "64000000000 64000000000"),
    kernel!("locks", "1000", "Max file locks", "1000 1000"),
    kernel!("memlock", "65536", "Max locked memory", "65536 65536"),
    kernel!("msgqueue", "400000", "Max msgqueue size", "400000 400000"),
    // A host that is a container itself may not raise these two: they stay, with a warning.
    kernel!("nice", "30", "Max nice priority", "30 30", "0 0"),
    kernel!("nofile", "3000:4000", "Max open files", "3000 4000"),
    kernel!("nproc", "5000", "Max processes", "5000 5000"),
    kernel!("rss", "64000000000", "Max resident set", "64000000000 64000000000"),
    kernel!("rtprio", "50", "Max realtime priority", "50 50", "0 0"),
    kernel!("rttime", "900000", "Max realtime timeout", "900000 900000"),
    kernel!("sigpending", "500", "Max pending signals", "500 500"),
    kernel!("stack", "16777216", "Max stack size", "16777216 16777216"),
    seen("limits.memory", "64MiB", "lots", group!("memory", "memory.limit_in_bytes", "memory.max"), &["67108864"]),
    Case {
        beside: &[("limits.memory", "64MiB")],
        ..seen("limits.memory.enforce", "soft", "hardly", group!("memory", "memory.soft_limit_in_bytes", "memory.high"), &["67108864"])
    },
    seen("limits.memory.swap", "false", "perhaps", group!("memory", "memory.swappiness", "memory.swap.max"), &["0"]),
    seen("limits.memory.swap.priority", "4", "11", "cat /sys/fs/cgroup/memory/memory.swappiness", &["40"]),
    kept("limits.network.priority", "5", Some("11"), "tests::devices::nic"),
    seen("limits.processes", "123", "0", group!("pids", "pids.max", "pids.max"), &["123"]),
    kept("linux.kernel_modules", "loop", Some("a module"), "a_kernel_module_that_is_not_there_fails_the_start_by_name"),
    kept("linux.kernel_modules.load", "boot", Some("ondemand"), "the only way there is"),
    seen("linux.sysctl.fs.mqueue.msg_max", "20", "a\nb", "cat /proc/sys/fs/mqueue/msg_max", &["20"]),
    seen("linux.sysctl.kernel.auto_msgmni", "0", "a\nb", "cat /proc/sys/kernel/auto_msgmni", &["0"]),
    seen("linux.sysctl.kernel.domainname", "example", "a\nb", "cat /proc/sys/kernel/domainname", &["example"]),
    kept("linux.sysctl.kernel.msg_next_id", "7", Some("a\nb"), "only kernels with checkpoints have it"),
    seen("linux.sysctl.kernel.msgmax", "9000", "a\nb", "cat /proc/sys/kernel/msgmax", &["9000"]),
    seen("linux.sysctl.kernel.msgmnb", "9001", "a\nb", "cat /proc/sys/kernel/msgmnb", &["9001"]),
    seen("linux.sysctl.kernel.msgmni", "900", "a\nb", "cat /proc/sys/kernel/msgmni", &["900"]),
    seen("linux.sysctl.kernel.sem", "100 200 30 40", "a\nb", "tr '\\t' ' ' < /proc/sys/kernel/sem", &["100 200 30 40"]),
    kept("linux.sysctl.kernel.sem_next_id", "7", Some("a\nb"), "only kernels with checkpoints have it"),
    kept("linux.sysctl.kernel.shm_next_id", "7", Some("a\nb"), "only kernels with checkpoints have it"),
    seen("linux.sysctl.kernel.shm_rmid_forced", "1", "a\nb", "cat /proc/sys/kernel/shm_rmid_forced", &["1"]),
    seen("linux.sysctl.kernel.shmall", "1000000", "a\nb", "cat /proc/sys/kernel/shmall", &["1000000"]),
    seen("linux.sysctl.kernel.shmmax", "1000000", "a\nb", "cat /proc/sys/kernel/shmmax", &["1000000"]),
    seen("linux.sysctl.kernel.shmmni", "900", "a\nb", "cat /proc/sys/kernel/shmmni", &["900"]),
    seen("linux.sysctl.net.ipv4.ip_forward", "1", "a\nb", "cat /proc/sys/net/ipv4/ip_forward", &["1"]),
    seen("linux.sysctl.user.max_uts_namespaces", "11", "a\nb", "cat /proc/sys/user/max_uts_namespaces", &["11"]),
    kept("migration.incremental.memory", "true", Some("perhaps"), "kept: instances move stopped"),
    kept("migration.incremental.memory.goal", "80", Some("101"), "kept: instances move stopped"),
    kept("migration.incremental.memory.iterations", "5", Some("-1"), "kept: instances move stopped"),
    kept("oci.cwd", "/tmp", Some("relative"), "tests::oci"),
    kept("oci.dns.domain", "example", Some("a b"), "instance::process"),
    kept("oci.dns.nameservers", "192.0.2.1", Some("nobody"), "instance::process"),
    kept("oci.dns.search", "example,other.example", Some("a b"), "instance::process"),
    kept("oci.entrypoint", "/bin/sh -c 'sleep 1'", Some("'"), "tests::oci"),
    kept("oci.gid", "33", Some("-1"), "tests::oci"),
    kept("oci.uid", "33", Some("root"), "tests::oci"),
    kept("raw.apparmor", "deny /srv/locked w,", Some("deny /srv/locked w"), "tests::on_apparmor"),
    Case {
        about: "ids",
        ..seen(
            "raw.idmap",
            "both 54321 5",
            "both 0 0",
            "grep -c ' 54321 ' /proc/self/uid_map /proc/self/gid_map | tr '\n' ' '",
            &["/proc/self/uid_map:1 /proc/self/gid_map:1"],
        )
    },
    kept("security.devlxd", "false", Some("perhaps"), "tests::guest_api"),
    kept("security.devlxd.images", "true", Some("perhaps"), "tests::guest_api"),
    // Which bases there are is the host's to say: see the test.
    kept("security.idmap.base", "500000000", Some("5"), "a_range_of_ids_can_be_chosen_and_shared"),
    kept("security.idmap.isolated", "false", Some("perhaps"), "a_range_of_ids_can_be_chosen_and_shared"),
    Case { about: "ids", ..seen("security.idmap.size", "70000", "5", "tr -s ' ' < /proc/self/uid_map | cut -d' ' -f4", &["70000"]) },
    seen("security.nesting", "true", "perhaps", "ls -d /dev/.lxc 2>/dev/null || echo none", &["/dev/.lxc"]),
    Case { about: "ids", ..seen("security.privileged", "true", "perhaps", IDS, &["0 0 4294967295"]) },
    kept("security.protection.delete", "true", Some("perhaps"), "protected_instances_are_neither_deleted_nor_started"),
    kept("security.protection.shift", "true", Some("perhaps"), "files are not changed where mounts map ids"),
    kept("security.protection.start", "false", Some("perhaps"), "protected_instances_are_neither_deleted_nor_started"),
    Case { about: "seccomp", ..kept("security.syscalls.allow", "bpf", Some("what(ever)"), "runtime::seccomp") },
    Case {
        about: "seccomp",
        ..seen(
            "security.syscalls.deny",
            "mkdir\nmkdirat",
            "what(ever)",
            "mkdir /tmp/x 2>&1 | sed 's/.*: //'; rmdir /tmp/x 2>/dev/null || true",
            &["Function not implemented"],
        )
    },
    Case { about: "seccomp", ..kept("security.syscalls.deny_compat", "true", Some("perhaps"), "runtime::seccomp") },
    Case {
        about: "seccomp",
        ..seen("security.syscalls.deny_default", "false", "perhaps", "sed -n 's/^Seccomp:[^0-9]*//p' /proc/self/status", &["0"])
    },
    Case {
        about: "seccomp",
        ..seen(
            "security.syscalls.intercept.mknod",
            "true",
            "perhaps",
            "mknod -m 640 /root/node c 1 3 && stat -c '%F %t:%T %a' /root/node; rm -f /root/node",
            &["character special file 1:3 640"],
        )
    },
    Case { about: "seccomp", ..kept("security.syscalls.intercept.mount", "true", Some("perhaps"), "tests::interception") },
    kept("security.syscalls.intercept.mount.allowed", "ext4,xfs", Some("btrfs"), "tests::interception"),
    kept("security.syscalls.intercept.mount.fuse", "ext4=fuse2fs", Some("ext4=fuse2fs -x"), "tests::interception"),
    kept("security.syscalls.intercept.mount.shift", "true", Some("perhaps"), "tests::interception"),
    Case { about: "seccomp", ..kept("security.syscalls.intercept.sched_setscheduler", "true", Some("perhaps"), "tests::interception") },
    Case { about: "seccomp", ..kept("security.syscalls.intercept.setxattr", "true", Some("perhaps"), "tests::interception") },
    Case {
        about: "seccomp",
        beside: &[("limits.memory", "64MiB")],
        ..seen("security.syscalls.intercept.sysinfo", "true", "perhaps", "busybox free | sed -n 's/^Mem: *\\(65536\\).*/\\1/p'", &["65536"])
    },
    kept("snapshots.expiry", "1d", None, "tests::snapshots"),
    kept("snapshots.pattern", "mine-%d", None, "tests::snapshots"),
    kept("snapshots.schedule", "@daily", None, "tests::snapshots"),
    kept("snapshots.schedule.stopped", "true", None, "tests::snapshots"),
    kept("user.colour", "blue", None, "tests::guest_api"),
    kept("volatile.x", "", None, "what_the_server_remembers_is_not_for_clients"),
];
