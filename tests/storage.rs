//! Pools: a plain one and a copy-on-write one behind the same commands.

use coffer_testkit::{Daemon, can_run};
use serde_json::json;

use crate::setting::{holds, ready_daemon};

#[test]
fn a_btrfs_pool_in_a_file_serves_instances_and_goes_without_a_trace() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let before = daemon.world();
    daemon.coffer(["storage", "create", "fast", "btrfs", "size=1GiB"]).ok();
    holds(&daemon.coffer(["storage", "show", "fast"]).clean(), &["driver: btrfs", "source:", "status: Created", "size:"]);
    daemon.import_busybox();
    let devices = json!({"root": {"type": "disk", "path": "/", "pool": "fast"}});
    for name in ["one", "two"] {
        let body = json!({"name": name, "source": {"type": "image", "alias": "small"}, "devices": devices});
        daemon.api().expect("POST", "/1.0/instances", Some(&body));
        daemon.change_state(name, "start");
    }
    daemon.coffer(["exec", "one", "--", "sh", "-c", "echo mine > /root/file"]).ok();
    assert_ne!(daemon.coffer(["exec", "two", "--", "cat", "/root/file"]).run().code, 0, "a copy on write is a copy");
    for name in ["one", "two"] {
        daemon.coffer(["delete", "--force", name]).ok();
    }
    // The pool still holds the image, unpacked: that is no use of it, and goes along.
    daemon.coffer(["storage", "delete", "fast"]).ok();
    daemon.coffer(["image", "delete", "small"]).ok();
    daemon.expect_nothing_since(&before);
}

#[test]
fn files_on_disk_are_not_shifted_and_files_inside_belong_to_root() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let owner = daemon.coffer(["exec", "c1", "--", "stat", "-c", "%u:%g", "/etc/passwd"]).ok();
    assert_eq!(owner.trim(), "0:0");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo x > /root/made-inside"]).ok();
    let path = daemon.state().join("storage-pools/default/containers/c1/rootfs/root/made-inside");
    let outside = daemon.inside("stat", ["-c", "%u:%g", &path.display().to_string()]).ok();
    assert_eq!(outside.trim(), "0:0", "an idmapped mount stores what the instance sees");
}

#[test]
fn a_pool_survives_the_daemon() {
    if !can_run() {
        return;
    }
    let mut daemon = Daemon::start();
    daemon.initialise("btrfs");
    daemon.import_busybox();
    daemon.create_instance("small", "c1");
    daemon.kill9();
    daemon.launch();
    daemon.change_state("c1", "start");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
}

#[test]
fn a_pool_in_use_is_not_deleted() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    holds(&daemon.coffer(["storage", "delete", "default"]).fails(), &["default"]);
    holds(&daemon.coffer(["storage", "show", "default"]).clean(), &["/1.0/instances/c1", "/1.0/profiles/default"]);
}
