//! A fresh daemon without any `init`: the first launch makes what it needs and says so.

use coffer_testkit::{Daemon, can_run, images};

use crate::setting::holds;

#[test]
fn the_first_launch_makes_a_pool_and_a_bridge_and_says_what_it_chose() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    daemon.coffer(["image", "import", &images::busybox().unified.display().to_string(), "--alias", "small"]).ok();
    assert_eq!(daemon.api().get("/1.0/storage-pools").as_array().map(Vec::len), Some(0));
    let done = daemon.coffer(["launch", "small", "c1"]).run();
    assert_eq!(done.code, 0, "{done}");
    let said = format!("{}{}", done.text(), done.stderr);
    let pools = daemon.api().get("/1.0/storage-pools?recursion=1");
    let pool = &pools[0];
    assert_eq!(pool["name"], "default");
    holds(&said, &["default", pool["driver"].as_str().unwrap()]);
    let profile = daemon.api().get("/1.0/profiles/default");
    assert_eq!(profile["devices"]["root"]["pool"], "default");
    let bridge = profile["devices"]["eth0"]["network"].as_str().unwrap_or_else(|| panic!("{profile}")).to_owned();
    holds(&said, &[&bridge]);
    assert!(!daemon.ipv4("c1", "eth0").is_empty());
    // The second launch has nothing to make and nothing to say about it.
    let second = daemon.coffer(["launch", "small", "c2"]).run();
    assert_eq!(second.code, 0, "{second}");
    assert!(!format!("{}{}", second.text(), second.stderr).contains(&bridge), "{second}");
}

#[test]
fn admin_init_takes_a_preseed_and_dumps_it() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let preseed = "config: {}\nnetworks:\n- name: prebr0\n  type: bridge\n  config:\n    ipv4.address: 10.99.6.1/24\n    ipv6.address: none\n\
                   storage_pools:\n- name: pre\n  driver: dir\nprofiles:\n- name: default\n  devices:\n    root:\n      path: /\n      pool: pre\n      \
                   type: disk\n    eth0:\n      name: eth0\n      network: prebr0\n      type: nic\n";
    daemon.coffer(["admin", "init", "--preseed"]).input(preseed).ok();
    let dump = daemon.coffer(["admin", "init", "--dump"]).clean();
    holds(&dump, &["prebr0", "10.99.6.1/24", "name: pre", "driver: dir"]);
    // What it dumps it takes, and changes nothing by it.
    daemon.coffer(["admin", "init", "--preseed"]).input(dump.clone()).ok();
    assert_eq!(daemon.coffer(["admin", "init", "--dump"]).clean(), dump);
    daemon.import_busybox();
    daemon.run_instance("small", "c1");
}

#[test]
fn admin_init_asks_in_the_known_order() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let mut terminal = daemon.on_terminal(daemon.coffer(["admin", "init"]), 120, 40);
    for (question, answer) in [
        ("cluster", ""),
        ("new storage pool", "yes"),
        ("ame of the new storage pool", ""),
        ("backend", "dir"),
        ("MAAS", "no"),
        ("network bridge", "yes"),
        ("bridge be called", "askbr0"),
        ("IPv4", "10.99.5.1/24"),
        ("NAT", "yes"),
        ("IPv6", "none"),
        ("available over the network", "no"),
        ("stale", "yes"),
        ("preseed", "yes"),
    ] {
        terminal.expect(question);
        terminal.expect(": ");
        terminal.send(&format!("{answer}\n"));
    }
    terminal.expect("askbr0");
    assert_eq!(terminal.finish(), 0);
    assert_eq!(daemon.api().get("/1.0/storage-pools?recursion=1")[0]["driver"], "dir");
    assert_eq!(daemon.api().get("/1.0/networks/askbr0")["config"]["ipv4.address"], "10.99.5.1/24");
}

#[test]
fn admin_init_auto_needs_no_answer() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let drivers = daemon.api().get("/1.0")["environment"]["storage_supported_drivers"].clone();
    let can = |name: &str| drivers.as_array().unwrap().iter().any(|driver| driver["Name"] == name);
    let best = ["btrfs", "zfs", "overlay"].into_iter().find(|name| can(name)).unwrap_or("dir");
    let said = daemon.coffer(["admin", "init", "--auto"]).ok();
    assert_eq!(said, format!("Storage pool default: {best}\n"));
    let pools = daemon.api().get("/1.0/storage-pools?recursion=1");
    assert_eq!((pools.as_array().map(Vec::len), &pools[0]["driver"]), (Some(1), &serde_json::json!(best)));
    daemon.import_busybox();
    daemon.run_instance("small", "c1");
}
