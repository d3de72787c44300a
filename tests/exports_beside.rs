//! A backup does not hold up its instance, where the pool takes snapshots quickly; but what is packed stays until it is.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::cancellations::start_to_progress;
use crate::setting::ready_daemon;

const BACKUPS: &str = "/1.0/instances/c1/backups";

/// Begins a backup that takes seconds, of an instance that runs in a pool of this driver.
fn begin(daemon: &Daemon, driver: &str) -> String {
    daemon.api().expect("POST", "/1.0/storage-pools", Some(&json!({"name": "fast", "driver": driver, "config": {}})));
    daemon.coffer(["launch", "small", "c1", "--storage", "fast"]).ok();
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "head -c 10000000 /dev/urandom > /large; echo before > /marker; sync"]).ok();
    daemon.coffer(["snapshot", "c1", "old"]).ok();
    let body = json!({"name": "b", "compression_algorithm": "bzip2"});
    let begun = || daemon.api().request("POST", BACKUPS, Some(&body)).expect("an answer").json();
    start_to_progress(daemon, begun, "create_backup_progress")
}

fn status(daemon: &Daemon, operation: &str) -> Value {
    daemon.api().get(operation)["status"].clone()
}

#[test]
fn an_instance_is_used_while_a_snapshot_of_it_is_packed() {
    let Some(daemon) = ready_daemon() else { return };
    let operation = begin(&daemon, "btrfs");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo after > /marker; sync"]).ok();
    daemon.coffer(["snapshot", "c1", "new"]).ok();
    daemon.coffer(["stop", "--force", "c1"]).ok();
    daemon.coffer(["config", "set", "c1", "user.note=after"]).ok();
    daemon.coffer(["start", "c1"]).ok();
    daemon.coffer(["restart", "--force", "c1"]).ok();
    let snapshots = json!(["/1.0/instances/c1/snapshots/old", "/1.0/instances/c1/snapshots/new"]);
    assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots"), snapshots, "the one that is packed is nobody's business");
    assert_eq!(status(&daemon, &operation), "Running", "nothing of this waited for the backup");
    assert_eq!(daemon.api().get(&format!("{operation}/wait"))["status"], "Success");
    // It is of the moment when it was begun.
    let archive = daemon.api().request("GET", &format!("{BACKUPS}/b/export"), None).expect("an answer").body;
    let headers = [("Content-Type", "application/octet-stream"), ("X-LXD-name", "c2")];
    let import = daemon.api().send("POST", "/1.0/instances", &headers, &archive).expect("an answer").json();
    let imported = daemon.api().get(&format!("{}/wait", import["operation"].as_str().expect("an operation")));
    assert_eq!(imported["status"], "Success", "{imported}");
    assert_eq!(daemon.api().get("/1.0/instances/c2/snapshots"), json!(["/1.0/instances/c2/snapshots/old"]));
    daemon.coffer(["start", "c2"]).ok();
    for (instance, marker) in [("c1", "after\n"), ("c2", "before\n")] {
        assert_eq!(daemon.coffer(["exec", instance, "--", "cat", "/marker"]).clean(), marker);
    }
    assert_eq!(daemon.api().get("/1.0/instances/c2")["config"]["user.note"], json!(null));
    // Nothing is left of what was packed.
    assert_eq!(daemon.api().get("/internal/fsck"), json!([]));
}

#[test]
fn what_is_packed_is_deleted_only_when_it_is_packed() {
    let Some(daemon) = ready_daemon() else { return };
    let operation = begin(&daemon, "overlay");
    daemon.coffer(["snapshot", "c1", "new"]).ok();
    daemon.coffer(["stop", "--force", "c1"]).ok();
    // Neither the instance nor a snapshot in the backup goes before the backup has ended, however that is.
    let answer = |method: &str, path: &str| daemon.api().request(method, path, None).expect("an answer").json();
    let snapshot = answer("DELETE", "/1.0/instances/c1/snapshots/old");
    let deletion = answer("DELETE", "/1.0/instances/c1");
    let url = |answer: &Value| answer["operation"].as_str().expect("an operation").to_owned();
    for waiting in [&operation, &url(&snapshot), &url(&deletion)] {
        assert_eq!(status(&daemon, waiting), "Running");
    }
    daemon.api().expect("DELETE", &operation, None);
    let deleted = daemon.api().get(&format!("{}/wait", url(&deletion)));
    assert_eq!(deleted["status"], "Success", "{deleted}");
    assert!(!daemon.state_seen().join("storage-pools/fast/containers/c1").exists());
    // Whichever of the two came first, the other ended.
    assert_ne!(daemon.api().get(&format!("{}/wait", url(&snapshot)))["status"], "Running");
    daemon.api().expect("DELETE", "/1.0/storage-pools/fast", None);
    assert_eq!(daemon.api().get("/internal/fsck"), json!([]));
}
