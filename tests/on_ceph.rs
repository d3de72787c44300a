//! Instances on a Ceph cluster: the bed has one, which a test's pen is connected to.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use coffer_testkit::{Daemon, skipped};

use crate::genuine_commands::pool::does_all_with;
use crate::on_drivers::{daemon_with, lives_on};
use crate::setting::holds;

/// The bridge that the bed's cluster answers on.
const BRIDGE: &str = "bed0";

/// A daemon that reaches the cluster, if there is one.
fn daemon() -> Option<Daemon> {
    if !Path::new("/sys/class/net").join(BRIDGE).exists() {
        skipped("this host has no Ceph cluster for tests");
        return None;
    }
    let daemon = daemon_with("ceph")?;
    connect(&daemon);
    Some(daemon)
}

/// Connects a pen's network to the cluster's.
fn connect(daemon: &Daemon) {
    static COUNT: AtomicU32 = AtomicU32::new(2);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let (outside, pen) = (format!("bed-{number}"), daemon.pen().pid().to_string());
    let ip = |words: &[&str]| assert!(Command::new("ip").args(words).status().is_ok_and(|status| status.success()), "ip {words:?}");
    ip(&["link", "add", &outside, "type", "veth", "peer", "name", "ceph0", "netns", &pen]);
    ip(&["link", "set", &outside, "master", BRIDGE, "up"]);
    for words in [&["address", "add", &format!("192.0.2.{number}/24"), "dev", "ceph0"][..], &["link", "set", "ceph0", "up"]] {
        daemon.inside("ip", words.iter().copied()).ok();
    }
}

#[test]
fn an_instance_lives_on_ceph() {
    let Some(daemon) = daemon() else { return };
    lives_on(&daemon, "ceph", &["ceph.osd.pool_name=coffer-e2e", "ceph.osd.pg_num=8", "volume.size=128MiB"]);
}

#[test]
fn the_client_does_all_with_a_pool_of_ceph_and_of_cephfs() {
    let Some(daemon) = daemon() else { return };
    daemon.initialise_storage();
    daemon.import_busybox();
    does_all_with(&daemon, "ceph", "ceph.osd.pool_name=coffer-client ceph.osd.pg_num=8 volume.size=64MiB");
    does_all_with(&daemon, "cephfs", "source=files/coffer-client");
}

#[test]
fn a_server_whose_cluster_is_out_of_reach_starts_and_says_so() {
    let Some(mut daemon) = daemon() else { return };
    daemon.lxc(["storage", "create", "far", "ceph", "ceph.osd.pool_name=coffer-far", "ceph.osd.pg_num=8"]).clean();
    daemon.lxc(["storage", "volume", "create", "far", "data", "size=32MiB"]).clean();
    daemon.inside("ip", ["link", "set", "ceph0", "down"]).ok();
    daemon.restart();
    holds(&daemon.lxc(["storage", "show", "far"]).clean(), &["status: Unavailable"]);
    holds(&daemon.lxc(["storage", "volume", "create", "far", "more"]).fails(), &["far"]);
    daemon.inside("ip", ["link", "set", "ceph0", "up"]).ok();
    // It is tried again when it is used.
    daemon.lxc(["storage", "volume", "delete", "far", "data"]).clean();
    holds(&daemon.lxc(["storage", "show", "far"]).clean(), &["status: Created"]);
    daemon.lxc(["storage", "delete", "far"]).clean();
}

#[test]
fn users_volumes_live_on_cephfs() {
    let Some(mut daemon) = daemon() else { return };
    daemon.initialise_storage();
    daemon.import_busybox();
    daemon.lxc(["storage", "create", "shared", "cephfs", "source=files/coffer-e2e"]).clean();
    holds(&daemon.lxc(["storage", "show", "shared"]).clean(), &["driver: cephfs", "status: Created", "source: files/coffer-e2e"]);
    holds(&daemon.lxc(["storage", "create", "again", "cephfs", "source=files/coffer-e2e"]).fails(), &["it is not empty"]);
    holds(&daemon.lxc(["storage", "create", "none", "cephfs", "source=nothing/here"]).fails(), &["no such file system"]);
    // What it is not for is refused before anything is made.
    holds(&daemon.lxc(["init", "small", "c1", "--storage", "shared"]).fails(), &["which holds users' volumes alone"]);
    let disk = daemon.lxc(["storage", "volume", "create", "shared", "disk", "--type=block"]).fails();
    holds(&disk, &["content type filesystem alone"]);

    daemon.lxc(["storage", "volume", "create", "shared", "data", "size=16MiB"]).clean();
    daemon.create_instance("small", "c1");
    let attach = ["storage", "volume", "attach", "shared", "data", "c1", "data", "/mnt"];
    daemon.lxc(attach).clean();
    if cannot_map_ids() {
        holds(&daemon.lxc(["start", "c1"]).fails(), &["its file system cannot map ids"]);
        daemon.coffer(["config", "set", "c1", "security.privileged=true"]).ok();
    }
    daemon.change_state("c1", "start");
    let sh = |script: &str| daemon.coffer(["exec", "c1", "--", "sh", "-c", script]).run();
    assert_eq!(sh("echo one > /mnt/word; sync").code, 0);
    let full = sh("dd if=/dev/urandom of=/mnt/big bs=1M count=48; rm /mnt/big");
    holds(&full.stderr.to_lowercase(), &["quota"]);
    daemon.lxc(["storage", "volume", "snapshot", "shared", "data", "s0"]).clean();
    assert_eq!(sh("echo two > /mnt/word; sync").code, 0);
    daemon.change_state("c1", "stop");
    daemon.lxc(["storage", "volume", "restore", "shared", "data", "s0"]).clean();
    daemon.restart();
    holds(&daemon.lxc(["storage", "show", "shared"]).clean(), &["status: Created"]);
    daemon.change_state("c1", "start");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/mnt/word"]).ok(), "one\n");
    daemon.coffer(["delete", "--force", "c1"]).ok();
    daemon.lxc(["storage", "volume", "copy", "shared/data", "default/data"]).clean();
    daemon.lxc(["storage", "volume", "delete", "shared", "data"]).clean();
    daemon.lxc(["storage", "volume", "delete", "default", "data"]).clean();
    daemon.lxc(["storage", "delete", "shared"]).clean();
}

/// Ceph's file system maps ids from Linux 6.7 on.
fn cannot_map_ids() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) < (Some(6), Some(7))
}
