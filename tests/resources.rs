//! What the host has and what instances hold, as the genuine client shows it.

use coffer_testkit::{Daemon, can_run, has_genuine_client};
use serde_json::json;

use crate::setting::holds;

#[test]
fn the_genuine_client_shows_the_host() {
    if !can_run() || !has_genuine_client() {
        return;
    }
    let daemon = Daemon::start();
    holds(&daemon.lxc(["info", "--resources"]).clean(), &["CPU (", "Cores:", "Vendor:", "Memory:", "Total:", "Used:"]);
    let resources = daemon.api().get("/1.0/resources");
    let load = &resources["load"];
    assert!(load["Average1Min"].is_number() && load["Processes"].as_i64() > Some(0), "{load}");
    for (kind, list) in [("gpu", "cards"), ("network", "cards"), ("usb", "devices"), ("pci", "devices")] {
        assert_eq!(resources[kind][list].as_array().map(Vec::len), resources[kind]["total"].as_u64().map(|total| total as usize), "{kind}");
    }
    let processors: usize = std::fs::read_to_string("/proc/cpuinfo").unwrap().lines().filter(|line| line.starts_with("processor")).count();
    assert_eq!(resources["cpu"]["total"].as_u64(), Some(processors as u64));
    assert!(resources["memory"]["used"].as_u64() < resources["memory"]["total"].as_u64());
    // Nothing is started for it, and it is quick.
    let again = std::time::Instant::now();
    daemon.api().get("/1.0/resources");
    assert!(again.elapsed() < std::time::Duration::from_secs(2), "{:?}", again.elapsed());
}

#[test]
fn an_instance_says_what_each_of_its_volumes_holds() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    daemon.initialise("btrfs");
    daemon.import_busybox();
    daemon.run_instance("small", "c1");
    daemon.coffer(["storage", "volume", "create", "default", "data", "size=100MiB"]).ok();
    daemon.coffer(["config", "device", "add", "c1", "data", "disk", "pool=default", "source=data", "path=/data"]).ok();
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"limits.memory": "256MiB"}})));
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "head -c 3000000 /dev/urandom > /data/x; sync"]).ok();
    let used = |daemon: &Daemon, disk: &str| daemon.instance_state("c1")["disk"][disk]["usage"].as_u64().unwrap_or(0);
    assert!(daemon.eventually(|| used(&daemon, "data") >= 3_000_000), "{}", daemon.instance_state("c1"));
    let state = daemon.instance_state("c1");
    assert!(
        state["memory"]["usage"].as_u64() > Some(0) && state["memory"]["usage_peak"].as_u64() >= state["memory"]["usage"].as_u64(),
        "{state}"
    );
    assert!(state["cpu"]["usage"].as_u64() > Some(0) && state["processes"].as_i64() > Some(0), "{state}");
    assert_eq!(state["network"]["lo"]["type"], "loopback");
    // What it holds is known when it is stopped, too.
    daemon.change_state("c1", "stop");
    assert!(used(&daemon, "data") >= 3_000_000);
    daemon.coffer(["config", "device", "remove", "c1", "data"]).ok();
    assert_eq!(used(&daemon, "data"), 0);
}
