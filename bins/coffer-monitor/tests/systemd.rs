//! Real init systems boot and halt, and see the control groups that they can work with.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails and skips that way")]

mod support;

use std::path::PathBuf;
use std::process::Command;

use coffer_runtime_spec::{ExitReason, Request, Source};
use coffer_test_images::Release;
use support::Place;

/// Unpacks a Debian that was made before, by `cargo xtask test` or `cargo xtask images`.
fn debian(place: &Place, release: Release) -> Option<PathBuf> {
    let given = std::env::var_os("COFFER_TEST_IMAGES").map(PathBuf::from);
    let cache = given.unwrap_or_else(|| coffer_test_images::default_cache().unwrap());
    if !coffer_test_images::have_debian(&cache, release) {
        println!("skipped: no image {}; cargo xtask images {} makes it", release.name(), release.name());
        return None;
    }
    let image = coffer_test_images::debian(&cache, release).unwrap().squashfs?;
    let root = place.dir.path().join("debian");
    let unpacked = Command::new("unsquashfs").args(["-quiet", "-no-progress", "-dest"]).args([&root, &image]).status().unwrap();
    assert!(unpacked.success());
    Some(root)
}

#[test]
fn debian_12_boots_to_running_and_halts() {
    boots(Release::Bookworm);
}

#[test]
fn debian_13_boots_to_running_and_halts() {
    boots(Release::Trixie);
}

fn boots(release: Release) {
    let mut place = Place::new(&["/sbin/init"]);
    let Some(root) = debian(&place, release) else { return };
    place.spec.root.source = Source::Path(root);
    place.spec.limits.memory = Some(1 << 30);
    let mut running = place.start();
    // systemd listens on its own socket before anything else runs, so this waits for the whole boot and not for luck.
    let wait = "until [ -S /run/systemd/private ]; do :; done; until [ -S /run/dbus/system_bus_socket ]; do :; done; \
                systemctl is-system-running --wait; systemctl --failed --no-legend";
    assert_eq!(running.sh(wait), "running\n");
    assert_eq!(running.sh("systemd-detect-virt"), "lxc\n");
    assert_eq!(running.sh("systemctl show -p MainPID --value systemd-journald.service | wc -w"), "1\n");
    // Still possible when systemd has taken its groups over.
    assert_eq!(running.sh("cut -d : -f 3 /proc/self/cgroup | sort -u"), "/\n");
    running.ask(Request::Freeze).unwrap();
    running.ask(Request::Thaw).unwrap();
    running.ask(Request::Stop).unwrap();
    place.end(running, ExitReason::Halted);
    // And again by a reboot from inside.
    let mut running = place.start();
    running.sh("until [ -S /run/systemd/private ]; do :; done; systemctl reboot --force");
    place.end(running, ExitReason::Reboot);
}

/// A systemd that knows no version 1 gets the version 2 tree as its whole view, on a host with both.
#[test]
fn a_new_systemd_sees_version_2_alone() {
    let place = Place::idle();
    std::fs::create_dir_all(place.root().join("usr/lib/x86_64-linux-gnu/systemd")).unwrap();
    std::fs::write(place.root().join("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so"), "").unwrap();
    let mut running = place.start();
    let shown = running.sh("grep ' /sys/fs/cgroup' /proc/mounts");
    assert_eq!(shown.lines().map(|line| line.split(' ').nth(2).unwrap()).collect::<Vec<_>>(), ["cgroup2"]);
    let moves = "mkdir /sys/fs/cgroup/below && echo 0 > /sys/fs/cgroup/below/cgroup.procs && tail -n 1 /proc/self/cgroup";
    assert_eq!(running.sh(moves), "0::/below\n");
    place.kill(running);
}

#[test]
fn halt_signals_fit_the_init() {
    let place = Place::new(&["/sbin/init"]);
    let root = place.root();
    std::fs::remove_file(root.join("sbin/init")).unwrap();
    std::fs::create_dir_all(root.join("lib/systemd")).unwrap();
    std::os::unix::fs::symlink("../lib/systemd/systemd", root.join("sbin/init")).unwrap();
    let script = "#!/bin/sh\ntrap 'exit 37' 37\ntouch /tmp/ready\nwhile :; do sleep 1000 & wait $!; done\n";
    std::fs::write(root.join("lib/systemd/systemd"), script).unwrap();
    std::fs::set_permissions(root.join("lib/systemd/systemd"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut running = place.start();
    running.sh("until [ -e /tmp/ready ]; do :; done");
    running.ask(Request::Stop).unwrap();
    place.end(running, ExitReason::Exit(37));
}
