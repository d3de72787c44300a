//! Pools as the tutorial makes them, and pools that go away and come back.

use std::path::Path;

use coffer_testkit::{Daemon, can_run, has_genuine_client};
use serde_json::json;

use crate::setting::{holds, ready_daemon};

/// A loop device that goes with this value.
struct Disk<'a> {
    daemon: &'a Daemon,
    device: String,
}

impl<'a> Disk<'a> {
    fn new(daemon: &'a Daemon) -> Self {
        let file = daemon.scratch().join("disk.img").display().to_string();
        daemon.inside("truncate", ["--size=256M", &file]).ok();
        let device = daemon.inside("losetup", ["--find", "--show", &file]).ok().trim().to_owned();
        Self { daemon, device }
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        self.daemon.inside("losetup", ["--detach", &self.device]).ok();
    }
}

#[test]
fn the_genuine_client_makes_a_pool_on_a_device() {
    if !can_run() || !has_genuine_client() {
        return;
    }
    let daemon = Daemon::start();
    let before = daemon.world();
    let disk = Disk::new(&daemon);
    let source = format!("source={}", disk.device);
    daemon.lxc(["storage", "create", "mybtrfs", "btrfs", &source]).clean();
    let show = daemon.lxc(["storage", "show", "mybtrfs"]).clean();
    let initial = format!("volatile.initial_source: {}", disk.device);
    holds(
        &show,
        &["config:\n  source: ", &initial, "description: \"\"", "driver: btrfs", "name: mybtrfs", "used_by: []", "status: Created"],
    );
    holds(&show, &["locations:\n- none"]);
    daemon.lxc(["storage", "edit", "mybtrfs"]).input(show.replace("description: \"\"", "description: mine")).clean();
    daemon.lxc(["storage", "set", "mybtrfs", "volume.size=32MiB"]).clean();
    assert_eq!(daemon.lxc(["storage", "get", "mybtrfs", "volume.size"]).clean().trim(), "32MiB");
    holds(&daemon.lxc(["storage", "list"]).clean(), &["mybtrfs", "btrfs", "mine", "CREATED"]);
    holds(&daemon.lxc(["storage", "info", "mybtrfs"]).clean(), &["driver: btrfs", "space used:", "total space:"]);
    holds(&daemon.lxc(["storage", "show", "mybtrfs", "--resources"]).clean(), &["space:", "used:", "total:"]);
    daemon.lxc(["storage", "volume", "create", "mybtrfs", "data"]).clean();
    assert_eq!(daemon.lxc(["storage", "volume", "get", "mybtrfs", "data", "size"]).clean().trim(), "32MiB", "the pool's default");
    holds(&daemon.lxc(["storage", "delete", "mybtrfs"]).fails(), &["mybtrfs", "data"]);
    daemon.lxc(["storage", "volume", "delete", "mybtrfs", "data"]).clean();
    holds(&daemon.lxc(["storage", "set", "mybtrfs", "source=/dev/null"]).fails(), &["source", "cannot be changed"]);
    daemon.lxc(["storage", "unset", "mybtrfs", "volume.size"]).clean();
    daemon.lxc(["storage", "delete", "mybtrfs"]).clean();

    // What is on a device stays unless the user says otherwise.
    daemon.inside("mkfs.ext4", ["-q", &disk.device]).ok();
    holds(&daemon.lxc(["storage", "create", "mybtrfs", "btrfs", &source]).fails(), &["mybtrfs", &disk.device]);
    daemon.lxc(["storage", "create", "mybtrfs", "btrfs", &source, "source.wipe=true"]).clean();
    daemon.lxc(["storage", "delete", "mybtrfs"]).clean();
    drop(disk);
    daemon.expect_nothing_since(&before);
}

#[test]
fn a_pool_in_a_file_grows_while_it_is_used() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["storage", "create", "fast", "btrfs", "size=256MiB"]).ok();
    daemon.coffer(["storage", "volume", "create", "fast", "data"]).ok();
    let total = || daemon.api().get("/1.0/storage-pools/fast/resources")["space"]["total"].as_u64().unwrap_or_default();
    let before = total();
    daemon.coffer(["storage", "set", "fast", "size=512MiB"]).ok();
    assert_eq!((before, total()), (256 << 20, 512 << 20));
    holds(&daemon.coffer(["storage", "set", "fast", "size=128MiB"]).fails(), &["shrink"]);
}

#[test]
fn a_pool_that_is_gone_hurts_nobody_else_and_is_taken_up_when_it_returns() {
    let Some(mut daemon) = ready_daemon() else { return };
    let (source, away) = (daemon.scratch().join("disk/pool"), daemon.scratch().join("disk/away"));
    let make = |path: &Path| std::fs::create_dir_all(path).expect("a directory of the test's own");
    make(&source);
    let body = json!({"name": "other", "driver": "dir", "config": {"source": source}});
    daemon.api().expect("POST", "/1.0/storage-pools", Some(&body));
    daemon.coffer(["storage", "volume", "create", "other", "data"]).ok();
    let device = json!({"name": "c2", "source": {"type": "image", "alias": "small"},
        "devices": {"root": {"type": "disk", "path": "/", "pool": "other"}}});
    daemon.api().expect("POST", "/1.0/instances", Some(&device));

    daemon.kill9();
    // The bind mount went with nobody; a host that starts anew has none.
    let place = daemon.state().join("storage-pools/other").display().to_string();
    daemon.inside("umount", [&place]).ok();
    std::fs::rename(&source, &away).expect("the pool's directory");
    daemon.launch();
    let status = |daemon: &Daemon| daemon.api().get("/1.0/storage-pools/other")["status"].as_str().map(str::to_owned);
    assert_eq!(status(&daemon).as_deref(), Some("Unavailable"));
    holds(&daemon.coffer(["warning", "list"]).ok(), &["Storage pool unavailable", "NEW", "HIGH"]);
    holds(&daemon.coffer(["start", "c2"]).fails(), &["other", "not available"]);
    holds(&daemon.coffer(["storage", "volume", "create", "other", "more"]).fails(), &["other", "not available"]);
    holds(&daemon.coffer(["storage", "volume", "list", "other"]).ok(), &["data", "c2"]);
    daemon.run_instance("small", "c1");

    // Nobody asks for it: that it is there again is noticed by itself.
    std::fs::rename(&away, &source).expect("the pool's directory");
    assert!(daemon.eventually(|| status(&daemon).as_deref() == Some("Created")), "{}", daemon.log());
    let warnings = daemon.api().get("/1.0/warnings?recursion=1");
    assert_eq!((&warnings[0]["status"], &warnings[0]["entity_url"]), (&json!("resolved"), &json!("/1.0/storage-pools/other")));
    daemon.coffer(["start", "c2"]).ok();
    daemon.change_state("c2", "stop");

    // One that goes away under a running daemon is said to be gone, and mounted again when it is used.
    daemon.inside("umount", [&place]).ok();
    assert_eq!(status(&daemon).as_deref(), Some("Unavailable"));
    daemon.coffer(["start", "c2"]).ok();
    assert_eq!(status(&daemon).as_deref(), Some("Created"));
    daemon.coffer(["delete", "--force", "c2"]).ok();
    daemon.coffer(["storage", "volume", "delete", "other", "data"]).ok();
    daemon.coffer(["storage", "delete", "other"]).ok();
    assert_eq!(daemon.api().get("/1.0/warnings"), json!([]));
}
