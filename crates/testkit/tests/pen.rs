//! The testkit itself, tried on LXD where that is installed: what it shows about a daemon must be true of any.

use coffer_testkit::{Daemon, Pen, can_run, skipped};

#[test]
fn a_pen_has_its_own_network_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let groups = {
        let pen = Pen::new();
        let mut command = pen.command("ip");
        command.args(["-oneline", "link", "show"]);
        let links = coffer_testkit::Invocation::new(command, "ip link").ok();
        assert_eq!(links.lines().count(), 1, "only lo: {links}");
        let groups = pen.cgroups();
        assert!(!groups.is_empty());
        // A process that outlives what started it, as a monitor does.
        let mut orphan = pen.daemon_command("setsid");
        orphan.args(["--fork", "sleep", "1000"]);
        coffer_testkit::Invocation::new(orphan, "orphan").ok();
        groups
    };
    for group in groups {
        assert!(!group.exists(), "{} stayed", group.display());
    }
}

#[test]
fn lxd_runs_a_container_in_a_pen() {
    if !can_run() || !coffer_testkit::has_genuine_client() {
        return;
    }
    if !std::path::Path::new("/usr/bin/lxd").exists() {
        return skipped("LXD is not installed");
    }
    let daemon = Daemon::start_genuine_lxd();
    daemon.initialise("dir");
    daemon.import_busybox();
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    assert_eq!(daemon.lxc(["exec", "c1", "--", "sh", "-c", "cat; exit 7"]).input("hello").run().code, 7);
    assert!(daemon.ipv4("c1", "eth0").starts_with("10.99.7."));
    assert!(!daemon.world().since(&before).is_empty(), "a running instance shows in the world");
    daemon.change_state("c1", "stop");
    daemon.api().expect("DELETE", "/1.0/instances/c1", None);
    daemon.expect_no_trace("link veth");
}
