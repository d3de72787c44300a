//! Instances on a Ceph cluster: the bed has one, which a test's pen is connected to.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use coffer_testkit::{Daemon, skipped};

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
