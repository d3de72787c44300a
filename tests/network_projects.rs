//! Projects that share a bridge: the same name in each of them, told apart by DNS, and nobody's addresses shown to others.

use coffer_testkit::Daemon;
use serde_json::json;

use crate::setting::{holds, ready_for_genuine_client};

/// Makes a project that shares images and networks, whose instances are on the test's bridge.
fn project_on_bridge(daemon: &Daemon, project: &str) {
    daemon.lxc(["project", "create", project, "-c", "features.images=false"]).clean();
    let devices = json!({
        "root": {"type": "disk", "path": "/", "pool": "default"},
        "eth0": {"type": "nic", "network": "testbr0", "name": "eth0"},
    });
    daemon.api().expect("PATCH", &format!("/1.0/profiles/default?project={project}"), Some(&json!({ "devices": devices })));
}

/// The address that an instance of a project was given.
fn address(daemon: &Daemon, name: &str, project: &str) -> String {
    let text = daemon.lxc(["exec", name, "--project", project, "--", "ip", "-4", "-oneline", "address", "show", "eth0"]).clean();
    let address = text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap_or_else(|| panic!("no address: {text}"));
    address.split('/').next().unwrap_or_default().to_owned()
}

#[test]
fn the_same_name_is_in_two_projects_on_one_bridge() {
    let Some(mut daemon) = ready_for_genuine_client() else { return };
    let before = daemon.world();
    project_on_bridge(&daemon, "dev");
    daemon.lxc(["launch", "small", "web"]).clean();
    daemon.lxc(["launch", "small", "web", "--project", "dev"]).clean();
    daemon.lxc(["launch", "small", "asker", "--project", "dev"]).clean();
    let (ours, theirs) = (address(&daemon, "web", "default"), address(&daemon, "web", "dev"));
    assert_ne!(ours, theirs);

    // Each is found by its own name, also after both daemons of the network were away.
    let lookup = |daemon: &Daemon, name: &str| {
        daemon.lxc(["exec", "asker", "--project", "dev", "--", "nslookup", "-type=a", name, "10.99.7.1"]).run().text()
    };
    let finds = |daemon: &Daemon| {
        assert!(daemon.eventually(|| lookup(daemon, "web.coffer").contains(&ours)), "{}", lookup(daemon, "web.coffer"));
        assert!(daemon.eventually(|| lookup(daemon, "web.dev.coffer").contains(&theirs)), "{}", lookup(daemon, "web.dev.coffer"));
    };
    finds(&daemon);
    // A project does not take names of the world, such as web.dev, away from others.
    assert!(!lookup(&daemon, "web.dev.").contains(&theirs));
    daemon.restart();
    finds(&daemon);

    // Each project sees its own addresses; the one that the network is in sees the bridge's too.
    let leases = |project: &str| daemon.lxc(["network", "list-leases", "testbr0", "--project", project, "--format", "csv"]).clean();
    let (default, dev) = (leases("default"), leases("dev"));
    holds(&default, &[&ours, "10.99.7.1,", "web,"]);
    holds(&dev, &[&theirs, "web,", "asker,"]);
    assert!(!default.contains(&theirs) && !dev.contains(&ours) && !dev.contains("10.99.7.1,"), "{default}\n{dev}");

    // One goes, the other stays where it is.
    daemon.lxc(["delete", "--force", "web"]).clean();
    assert!(daemon.eventually(|| !lookup(&daemon, "web.coffer").contains(&ours)));
    assert!(lookup(&daemon, "web.dev.coffer").contains(&theirs));
    daemon.lxc(["restart", "--force", "web", "--project", "dev"]).clean();
    assert_eq!(address(&daemon, "web", "dev"), theirs);
    for name in ["web", "asker"] {
        daemon.lxc(["delete", "--force", name, "--project", "dev"]).clean();
    }
    daemon.lxc(["project", "delete", "dev"]).clean();
    daemon.expect_nothing_since(&before);
}
