//! Real distributions boot: systemd to the end, addresses, names, id ranges of their own.

use std::time::Duration;

use coffer_test_images::Release;
use coffer_testkit::{Daemon, Done, can_run, images};
use serde_json::Value;

use crate::setting::{holds, ready_daemon};

/// How long a distribution may take to boot on a slow, busy machine.
const BOOT: Duration = Duration::from_secs(120);

fn boots(release: Release, driver: &str) -> Option<Daemon> {
    if !can_run() {
        return None;
    }
    let image = images::debian(release)?;
    let daemon = Daemon::start();
    daemon.initialise(driver);
    daemon.import(&image.unified, "deb");
    daemon.run_instance("deb", "d1");
    let state = boot(&daemon, "d1");
    let failed = daemon.coffer(["exec", "d1", "--", "systemctl", "--failed", "--no-legend", "--plain"]).run();
    assert_eq!(state.text().trim(), "running", "{state}\nfailed units: {failed}");
    Some(daemon)
}

/// Waits for the end of the boot and returns what systemd thinks of it.
#[track_caller]
pub fn boot(daemon: &Daemon, name: &str) -> Done {
    // systemctl waits for the boot's end, but not for the bus that it asks by.
    let bus = || daemon.coffer(["exec", name, "--", "test", "-S", "/run/dbus/system_bus_socket"]).run().code == 0;
    assert!(daemon.eventually(bus), "no bus: {}", daemon.coffer(["console", name, "--show-log"]).run());
    daemon.coffer(["exec", name, "--", "systemctl", "is-system-running", "--wait"]).deadline(BOOT).run()
}

#[test]
fn debian_12_runs_and_is_reached_by_address_and_name() {
    let Some(daemon) = boots(Release::Bookworm, "dir") else { return };
    daemon.run_instance("deb", "d2");
    let (first, second) = (daemon.ipv4("d1", "eth0"), daemon.ipv4("d2", "eth0"));
    assert_ne!(first, second);
    assert!(first.starts_with("10.99.7."), "{first}");
    holds(&daemon.coffer(["list"]).clean(), &[&format!("{first} (eth0)"), &format!("{second} (eth0)")]);
    boot(&daemon, "d2");
    daemon.coffer(["exec", "d1", "--", "ping", "-c", "1", "-W", "5", "10.99.7.1"]).ok();
    let found = daemon.eventually(|| daemon.coffer(["exec", "d1", "--", "getent", "ahostsv4", "d2.coffer"]).run().text().contains(&second));
    assert!(found, "d1 does not find d2.coffer: {}", daemon.coffer(["exec", "d1", "--", "resolvectl", "query", "d2.coffer"]).run());
    daemon.coffer(["exec", "d1", "--", "ping", "-c", "1", "-W", "5", "d2.coffer"]).ok();
    ranges_are_disjoint(&daemon);
    // A clean shutdown, by the image's own halt signal.
    daemon.coffer(["stop", "d1", "--timeout", "60"]).deadline(BOOT).clean();
}

/// Root inside is somebody of no right outside, and never the same somebody twice.
fn ranges_are_disjoint(daemon: &Daemon) {
    let map = |name: &str| {
        let pid = daemon.instance_state(name)["pid"].as_u64().expect("a running instance has a process");
        let text = daemon.inside("cat", [format!("/proc/{pid}/uid_map")]).clean();
        let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a uid_map holds numbers")).collect();
        assert_eq!(numbers[0], 0, "{text}");
        assert!(numbers[1] >= 100_000, "{text}");
        numbers[1]..numbers[1] + numbers[2]
    };
    let (one, two) = (map("d1"), map("d2"));
    assert!(one.end <= two.start || two.end <= one.start, "{one:?} and {two:?} overlap");
}

#[test]
fn debian_12_runs_on_btrfs() {
    let Some(daemon) = boots(Release::Bookworm, "btrfs") else { return };
    daemon.coffer(["restart", "d1", "--timeout", "60"]).deadline(BOOT).clean();
    let state = boot(&daemon, "d1");
    assert_eq!(state.text().trim(), "running", "{state}");
}

#[test]
fn debian_13_runs() {
    let Some(daemon) = boots(Release::Trixie, "dir") else { return };
    assert!(daemon.ipv4("d1", "eth0").starts_with("10.99.7."));
    daemon.coffer(["stop", "d1", "--timeout", "60"]).deadline(BOOT).clean();
}

#[test]
fn an_image_whose_systemd_knows_no_cgroup_v1_sees_v2_alone() {
    if !can_run() {
        return;
    }
    // The version is read from the name of systemd's private library; a file of that name is what tells the two apart.
    let recipe = "systemd 258 on busybox, 2";
    let image = images::spoiled(recipe, |root| {
        for name in ["usr/lib/systemd", "usr/lib/x86_64-linux-gnu/systemd"] {
            std::fs::create_dir_all(root.join(name))?;
        }
        std::fs::write(root.join("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-258.so"), "")?;
        std::fs::write(root.join("usr/lib/systemd/libsystemd-shared-258.so"), "")?;
        // As on a real one `/sbin/init` leads to systemd's program; here a script that becomes busybox's init, which goes by its name.
        std::fs::create_dir_all(root.join("usr/lib/small"))?;
        std::os::unix::fs::symlink("../../../bin/busybox", root.join("usr/lib/small/init"))?;
        std::fs::write(root.join("usr/lib/systemd/systemd"), "#!/bin/sh\nexec /usr/lib/small/init\n")?;
        std::fs::set_permissions(root.join("usr/lib/systemd/systemd"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        std::fs::remove_file(root.join("sbin/init"))?;
        std::os::unix::fs::symlink("../usr/lib/systemd/systemd", root.join("sbin/init"))
    });
    let daemon = Daemon::start();
    daemon.initialise("dir");
    daemon.import(&image.unified, "new");
    daemon.run_instance("new", "c1");
    let mounts = daemon.coffer(["exec", "c1", "--", "grep", "cgroup", "/proc/mounts"]).clean();
    holds(&mounts, &[" /sys/fs/cgroup cgroup2 "]);
    assert_eq!(mounts.lines().count(), 1, "only one hierarchy: {mounts}");
}

#[test]
fn busybox_init_halts_reboots_and_is_counted() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/proc/1/comm"]).clean(), "init\n");
    let first = daemon.instance_state("c1")["pid"].clone();
    daemon.coffer(["exec", "c1", "--", "reboot"]).run();
    let rebooted = daemon.eventually(|| {
        let state = daemon.instance_state("c1");
        state["status"] == "Running" && state["pid"] != first
    });
    assert!(rebooted, "{}", daemon.instance_state("c1"));
    // An init that has just begun does not hear yet what it is told.
    let off = || {
        daemon.coffer(["exec", "c1", "--", "poweroff"]).run();
        daemon.instance_state("c1")["status"] == "Stopped"
    };
    assert!(daemon.eventually(off), "{}", daemon.instance_state("c1"));
    let listed: Value = serde_json::from_str(&daemon.coffer(["list", "--format", "json"]).clean()).unwrap();
    assert_eq!(listed[0]["status"], "Stopped");
}

#[test]
fn an_init_that_is_a_script_runs_as_openrc_does() {
    if !can_run() {
        return;
    }
    // OpenRC's own init is a small program that runs scripts and waits; PID 1 is what counts, and it gets SIGPWR or halts itself.
    let image = images::spoiled("script as init", |root| {
        std::fs::remove_file(root.join("sbin/init"))?;
        std::fs::write(
            root.join("sbin/init"),
            "#!/bin/sh\ntrap 'exit 0' PWR TERM INT\necho openrc-like > /run/started\nwhile :; do sleep 1000 & wait; done\n",
        )?;
        std::fs::set_permissions(root.join("sbin/init"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
    });
    let daemon = Daemon::start();
    daemon.initialise("dir");
    daemon.import(&image.unified, "rc");
    daemon.run_instance("rc", "c1");
    assert!(daemon.eventually(|| daemon.coffer(["exec", "c1", "--", "cat", "/run/started"]).run().text() == "openrc-like\n"));
    daemon.coffer(["stop", "c1", "--timeout", "20"]).clean();
}

#[test]
fn dev_proc_and_sys_are_what_a_container_may_have() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let inside = |script: &str| daemon.coffer(["exec", "c1", "--", "sh", "-c", script]).run();
    let devices = inside("ls /dev").text();
    for wanted in ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue", "fuse", "net"] {
        assert!(devices.split_whitespace().any(|name| name == wanted), "no /dev/{wanted}: {devices}");
    }
    for forbidden in ["mem", "kmsg", "kvm", "sda", "vda", "loop0"] {
        assert!(!devices.split_whitespace().any(|name| name == forbidden), "/dev/{forbidden} is there");
    }
    for script in [
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "mknod /tmp/mem c 1 1 && cat /tmp/mem",
        "mount -t tmpfs none /proc/sys",
    ] {
        let done = inside(script);
        assert!(done.code != 0 || script.starts_with("mount"), "{done}");
    }
    assert_eq!(inside("echo x > /dev/null && head -c 4 /dev/zero | wc -c").text().trim(), "4");
    assert_eq!(inside("cat /proc/self/uid_map | wc -l").text().trim(), "1");
}
