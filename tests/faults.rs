//! `kill -9` of the daemon at every named point of a use case leaves a complete thing or nothing.

use std::time::Duration;

use coffer_testkit::{Daemon, ImageServer, OciRegistry, Offer, Options, Packing, can_run, has_fault_points, images};
use serde_json::json;

use crate::setting::ready_daemon;

/// The points, each with what a test must do to reach it.
const POINTS: &[(&str, UseCase)] = &[
    ("create.recorded", UseCase::Launch),
    ("create.volume-made", UseCase::Launch),
    ("create.backup-written", UseCase::Launch),
    ("create.finished", UseCase::Launch),
    ("start.volume-mounted", UseCase::Launch),
    ("start.devices-ready", UseCase::Launch),
    ("start.monitor-spawned", UseCase::Launch),
    ("start.running", UseCase::Launch),
    ("files.volume-mounted", UseCase::Files),
    ("stop.asked", UseCase::Stop),
    ("stop.ended", UseCase::Stop),
    ("stop.devices-removed", UseCase::Stop),
    ("delete.marked", UseCase::Delete),
    ("delete.snapshots-removed", UseCase::Delete),
    ("delete.volume-removed", UseCase::Delete),
    ("delete.forgotten", UseCase::Delete),
    ("snapshot.recorded", UseCase::Snapshot),
    ("snapshot.described", UseCase::Snapshot),
    ("snapshot.held-still", UseCase::Snapshot),
    ("snapshot.volume-made", UseCase::Snapshot),
    ("snapshot.finished", UseCase::Snapshot),
    ("snapshot-rename.recorded", UseCase::SnapshotRename),
    ("snapshot-rename.volume-renamed", UseCase::SnapshotRename),
    ("snapshot-delete.marked", UseCase::SnapshotDelete),
    ("snapshot-delete.volume-removed", UseCase::SnapshotDelete),
    ("restore.recorded", UseCase::Restore),
    ("restore.volume-restored", UseCase::Restore),
    ("restore.recorded-whole", UseCase::Restore),
    ("copy.recorded", UseCase::Copy),
    ("copy.volume-made", UseCase::Copy),
    ("copy.finished", UseCase::Copy),
    ("replace.recorded", UseCase::Replace),
    ("replace.filled", UseCase::Replace),
    ("move.recorded", UseCase::Move),
    ("move.copied", UseCase::Move),
    ("move.recorded-whole", UseCase::Move),
    ("move.volumes-moved", UseCase::Move),
    ("create.image-fetched", UseCase::RemoteLaunch),
    ("publish.packed", UseCase::Publish),
    ("backup.snapshot-taken", UseCase::Backup),
    ("backup.held", UseCase::Backup),
    ("backup.packed", UseCase::Backup),
    ("backup.stored", UseCase::Backup),
    ("backup.recorded", UseCase::Backup),
    ("import.recorded", UseCase::Import),
    ("import.volumes-made", UseCase::Import),
    ("import.finished", UseCase::Import),
    ("image.received", UseCase::Image),
    ("image.stored", UseCase::Image),
    ("image.recorded", UseCase::Image),
    ("image-layers.fetched", UseCase::Pull),
    ("image-layers.recorded", UseCase::Pull),
    ("image-refresh.replaced", UseCase::ImageRefresh),
    ("overlay.layered", UseCase::Layers),
    ("overlay.layer-made", UseCase::Layers),
    ("overlay.layer-frozen", UseCase::Layers),
    ("overlay.layer-withdrawn", UseCase::Layers),
    ("pool.recorded", UseCase::Pool),
    ("pool.made", UseCase::Pool),
    ("network.recorded", UseCase::Network),
    ("network.up", UseCase::Network),
    ("network-rename.down", UseCase::NetworkRename),
    ("network-rename.recorded", UseCase::NetworkRename),
    ("network-rename.up", UseCase::NetworkRename),
    ("volume.recorded", UseCase::Volume(Volumes::Create)),
    ("volume.made", UseCase::Volume(Volumes::Create)),
    ("volume-import.filled", UseCase::Volume(Volumes::Import)),
    ("volume-rename.backups-linked", UseCase::Volume(Volumes::Rename)),
    ("volume-rename.recorded", UseCase::Volume(Volumes::Rename)),
    ("volume-rename.done", UseCase::Volume(Volumes::Rename)),
    ("volume-move.copied", UseCase::Volume(Volumes::Move)),
    ("volume-move.switched", UseCase::Volume(Volumes::Move)),
    ("volume-refresh.recorded", UseCase::Volume(Volumes::Refresh)),
    ("volume-delete.marked", UseCase::Volume(Volumes::Delete)),
    ("volume-delete.removed", UseCase::Volume(Volumes::Delete)),
    ("volume-snapshot.recorded", UseCase::Volume(Volumes::Snapshot)),
    ("volume-snapshot.made", UseCase::Volume(Volumes::Snapshot)),
    ("volume-snapshot-rename.recorded", UseCase::Volume(Volumes::RenameSnapshot)),
    ("volume-snapshot-delete.marked", UseCase::Volume(Volumes::DeleteSnapshot)),
    ("adopt.recorded", UseCase::Adopt),
    ("change.applied", UseCase::Change),
    ("change.recorded", UseCase::Change),
    ("profile-change.recorded", UseCase::ProfileChange),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UseCase {
    Launch,
    Files,
    Stop,
    Delete,
    Snapshot,
    SnapshotRename,
    SnapshotDelete,
    Restore,
    Copy,
    Replace,
    Move,
    Publish,
    Backup,
    Import,
    Image,
    ImageRefresh,
    RemoteLaunch,
    Pull,
    Layers,
    Pool,
    Network,
    NetworkRename,
    Adopt,
    Change,
    ProfileChange,
    Volume(Volumes),
}

/// What is done with users' volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Volumes {
    Create,
    Import,
    Rename,
    Move,
    Refresh,
    Delete,
    Snapshot,
    RenameSnapshot,
    DeleteSnapshot,
}

#[test]
fn the_list_of_points_is_the_products() {
    let ours: Vec<_> = POINTS.iter().map(|(point, _)| *point).collect();
    assert_eq!(ours, coffer_base::fault::POINTS, "a point was added or renamed: say here what reaches it");
}

#[test]
fn a_launch_cut_anywhere_is_complete_or_nothing() {
    each(UseCase::Launch, |daemon, point| {
        let create = json!({"name": "c1", "source": {"type": "image", "alias": "small"}});
        let _ = post(daemon, "POST", "/1.0/instances", &create);
        let _ = post(daemon, "PUT", "/1.0/instances/c1/state", &json!({"action": "start", "timeout": 30}));
        revive(daemon, point);
        if !exists(daemon, "/1.0/instances/c1") {
            daemon.expect_no_trace("c1");
            daemon.run_instance("small", "c1");
        }
        let state = daemon.instance_state("c1")["status"].clone();
        match state.as_str() {
            Some("Stopped") => daemon.change_state("c1", "start"),
            Some("Running") => {}
            other => panic!("{point}: the instance is {other:?}"),
        }
        assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3, "{point}");
    });
}

#[test]
fn a_stop_cut_anywhere_can_be_finished() {
    each(UseCase::Stop, |daemon, point| {
        daemon.run_instance("small", "c1");
        arm(daemon, point);
        let _ = post(daemon, "PUT", "/1.0/instances/c1/state", &json!({"action": "stop", "timeout": 30, "force": true}));
        revive(daemon, point);
        if daemon.instance_state("c1")["status"] == "Running" {
            daemon.change_state("c1", "stop");
        }
        assert!(daemon.eventually(|| daemon.instance_state("c1")["status"] == "Stopped"), "{point}: {}", daemon.instance_state("c1"));
        daemon.run_again();
    });
}

#[test]
fn a_delete_cut_anywhere_deletes_or_does_not() {
    each(UseCase::Delete, |daemon, point| {
        daemon.create_instance("small", "c1");
        daemon.coffer(["snapshot", "c1", "s1"]).ok();
        arm(daemon, point);
        let _ = post(daemon, "DELETE", "/1.0/instances/c1", &json!({}));
        revive(daemon, point);
        if exists(daemon, "/1.0/instances/c1") {
            daemon.run_again();
            daemon.change_state("c1", "stop");
            daemon.api().expect("DELETE", "/1.0/instances/c1", None);
        }
        daemon.expect_no_trace("c1");
    });
}

#[test]
fn a_snapshot_cut_anywhere_is_whole_or_absent() {
    each(UseCase::Snapshot, |daemon, point| {
        daemon.run_instance("small", "c1");
        arm(daemon, point);
        let _ = post(daemon, "POST", "/1.0/instances/c1/snapshots", &json!({"name": "s1"}));
        revive(daemon, point);
        assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3, "{point}: it goes on running");
        if !exists(daemon, "/1.0/instances/c1/snapshots/s1") {
            daemon.expect_no_trace("s1");
            daemon.coffer(["snapshot", "c1", "s1"]).ok();
        }
        daemon.coffer(["restore", "c1", "s1"]).ok();
    });
}

#[test]
fn a_rename_of_a_snapshot_cut_anywhere_has_one_name() {
    each(UseCase::SnapshotRename, |daemon, point| {
        daemon.create_instance("small", "c1");
        daemon.coffer(["snapshot", "c1", "s1"]).ok();
        arm(daemon, point);
        let _ = post(daemon, "POST", "/1.0/instances/c1/snapshots/s1", &json!({"name": "s2"}));
        revive(daemon, point);
        assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots"), json!(["/1.0/instances/c1/snapshots/s2"]), "{point}");
        daemon.expect_no_trace("s1");
        daemon.coffer(["restore", "c1", "s2"]).ok();
    });
}

#[test]
fn a_deletion_of_a_snapshot_cut_anywhere_deletes_it() {
    each(UseCase::SnapshotDelete, |daemon, point| {
        daemon.create_instance("small", "c1");
        daemon.coffer(["snapshot", "c1", "s1"]).ok();
        arm(daemon, point);
        let _ = post(daemon, "DELETE", "/1.0/instances/c1/snapshots/s1", &json!({}));
        revive(daemon, point);
        assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots"), json!([]), "{point}");
        daemon.expect_no_trace("s1");
    });
}

#[test]
fn a_restore_cut_anywhere_is_done_or_not_and_the_instance_runs() {
    each(UseCase::Restore, |daemon, point| {
        daemon.run_instance("small", "c1");
        daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo then > /root/file"]).ok();
        daemon.coffer(["snapshot", "c1", "s1"]).ok();
        daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo now > /root/file"]).ok();
        arm(daemon, point);
        let _ = post(daemon, "PUT", "/1.0/instances/c1", &json!({"restore": "c1/s1"}));
        revive(daemon, point);
        assert!(daemon.eventually(|| daemon.instance_state("c1")["status"] == "Running"), "{point}: {}", daemon.instance_state("c1"));
        let expect = if point == "restore.recorded" { "now\n" } else { "then\n" };
        assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/root/file"]).ok(), expect, "{point}");
        let config = daemon.api().get("/1.0/instances/c1")["config"].to_string();
        assert!(!config.contains("volatile.restoring"), "{point}: {config}");
    });
}

#[test]
fn a_copy_cut_anywhere_is_whole_or_absent() {
    each(UseCase::Copy, |daemon, point| {
        daemon.run_instance("small", "c1");
        daemon.coffer(["snapshot", "c1", "s1"]).ok();
        arm(daemon, point);
        let _ = post(daemon, "POST", "/1.0/instances", &json!({"name": "k2", "source": {"type": "copy", "source": "c1"}}));
        revive(daemon, point);
        assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3, "{point}: the source goes on running");
        if !exists(daemon, "/1.0/instances/k2") {
            daemon.expect_no_trace("k2");
            daemon.coffer(["copy", "c1", "k2"]).ok();
        }
        daemon.coffer(["restore", "k2", "s1"]).ok();
        daemon.change_state("k2", "start");
        daemon.coffer(["delete", "--force", "k2"]).ok();
    });
}

#[test]
fn a_pull_from_a_registry_cut_anywhere_leaves_no_layer_without_an_image() {
    let Some(mut daemon) = ready_with_points() else { return };
    let Some(registry) = OciRegistry::start(daemon.pen(), &daemon.scratch().join("registry"), false) else { return };
    registry.push(daemon.pen(), "app", "latest", &[crate::oci::image("amd64", Packing::Gzip, "sleep 1000")]);
    let source = json!({"type": "image", "mode": "pull", "protocol": "oci", "server": registry.url(), "alias": "app"});
    let pull = json!({ "source": source });
    for point in points(UseCase::Pull).chain(["image.stored"]) {
        arm(&mut daemon, point);
        let _ = post(&daemon, "POST", "/1.0/images", &pull);
        revive(&mut daemon, point);
        assert_eq!(crate::oci::layers(&daemon), 0, "{point}");
        let done = daemon.api().expect("POST", "/1.0/images", Some(&pull));
        assert_eq!(crate::oci::layers(&daemon), 2, "{point}");
        let fingerprint = done["metadata"]["fingerprint"].as_str().expect("a fingerprint").to_owned();
        daemon.api().expect("DELETE", &format!("/1.0/images/{fingerprint}"), None);
        assert_eq!(crate::oci::layers(&daemon), 0, "{point}");
    }
}

#[test]
fn a_refresh_cut_anywhere_leaves_the_old_copy_or_the_new_one() {
    let Some(mut daemon) = ready_with_points() else { return };
    let before = daemon.world();
    let restoring = ["restore.volume-restored", "restore.recorded-whole"];
    for point in points(UseCase::Replace).chain(restoring) {
        daemon.run_instance("small", "c1");
        daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo old > /root/file"]).ok();
        daemon.coffer(["copy", "c1", "k2"]).ok();
        daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo new > /root/file"]).ok();
        arm(&mut daemon, point);
        let refresh = json!({"name": "k2", "source": {"type": "copy", "source": "c1", "refresh": true}});
        let _ = post(&daemon, "POST", "/1.0/instances", &refresh);
        revive(&mut daemon, point);
        assert_eq!(daemon.api().get("/1.0/instances/k2/snapshots"), json!([]), "{point}");
        daemon.expect_no_trace("refresh-");
        assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3, "{point}: the source goes on running");
        daemon.change_state("k2", "start");
        let expect = if restoring.contains(&point) { "new\n" } else { "old\n" };
        assert_eq!(daemon.coffer(["exec", "k2", "--", "cat", "/root/file"]).ok(), expect, "{point}");
        for name in ["c1", "k2"] {
            daemon.coffer(["delete", "--force", name]).ok();
        }
        daemon.expect_nothing_since(&before);
    }
}

#[test]
fn a_move_cut_anywhere_is_here_or_there() {
    let Some(mut daemon) = ready_with_points() else { return };
    daemon.coffer(["storage", "create", "other", "dir"]).ok();
    let before = daemon.world();
    for point in points(UseCase::Move) {
        for (new_name, pool) in [("k2", ""), ("c1", "other"), ("k2", "other")] {
            // Without another pool nothing is copied.
            if pool.is_empty() && ["move.recorded", "move.copied"].contains(&point) {
                continue;
            }
            daemon.run_instance("small", "c1");
            daemon.change_state("c1", "stop");
            daemon.coffer(["snapshot", "c1", "s1"]).ok();
            arm(&mut daemon, point);
            let _ = post(&daemon, "POST", "/1.0/instances/c1", &json!({"name": new_name, "migration": !pool.is_empty(), "pool": pool}));
            revive(&mut daemon, point);
            let moved = !["move.recorded", "move.copied"].contains(&point);
            let name = if moved { new_name } else { "c1" };
            let read = daemon.api().get(&format!("/1.0/instances/{name}"));
            let expect = if moved && !pool.is_empty() { pool } else { "default" };
            assert_eq!(read["expanded_devices"]["root"]["pool"], expect, "{point} {new_name} {pool}");
            assert!(!read["config"].to_string().contains("volatile.mov"), "{point}: {read}");
            daemon.coffer(["restore", name, "s1"]).ok();
            daemon.change_state(name, "start");
            daemon.coffer(["delete", "--force", name]).ok();
            daemon.expect_nothing_since(&before);
        }
    }
}

#[test]
fn an_image_cut_anywhere_is_whole_or_absent() {
    if !can_run() || !has_fault_points() {
        return;
    }
    for point in points(UseCase::Image) {
        let mut daemon = Daemon::start_with(Options::default().env("COFFER_FAULT", &format!("{point}=kill")));
        let image = images::busybox().unified;
        let _ = daemon.api().send("POST", "/1.0/images", &[("X-LXD-filename", "a.tar.xz")], &std::fs::read(&image).unwrap());
        revive(&mut daemon, point);
        let listed = daemon.api().get("/1.0/images");
        let files = std::fs::read_dir(daemon.state_seen().join("images")).into_iter().flatten().flatten().count();
        match listed.as_array().map(Vec::len) {
            Some(0) => assert_eq!(files, 0, "{point}: no image, but files"),
            Some(1) => assert!(files >= 1, "{point}: an image, but no file"),
            _ => panic!("{point}: {listed}"),
        }
        if listed.as_array().is_some_and(Vec::is_empty) {
            daemon.import_busybox();
        }
        daemon.initialise("dir");
        let fingerprint = daemon.api().get("/1.0/images?recursion=1")[0]["fingerprint"].clone();
        let body = json!({"name": "c1", "source": {"type": "image", "fingerprint": fingerprint}});
        daemon.api().expect("POST", "/1.0/instances", Some(&body));
    }
}

#[test]
fn a_publication_cut_anywhere_is_an_image_or_nothing() {
    each(UseCase::Publish, |daemon, point| {
        daemon.create_instance("small", "c1");
        arm(daemon, point);
        let _ = post(daemon, "POST", "/1.0/images", &json!({"source": {"type": "instance", "name": "c1"}}));
        revive(daemon, point);
        assert_eq!(daemon.api().get("/1.0/images").as_array().map(Vec::len), Some(1), "{point}: only the one that was there");
        daemon.run_again();
    });
}

#[test]
fn a_backup_cut_anywhere_is_whole_or_absent() {
    each(UseCase::Backup, |daemon, point| {
        // In one pool instances are held while they are packed, in the other a snapshot is.
        let pool = json!({"name": "fast", "driver": "btrfs", "config": {"size": "256MiB"}});
        daemon.api().expect("POST", "/1.0/storage-pools", Some(&pool));
        for pool in ["default", "fast"] {
            if pool == "default" && point == "backup.snapshot-taken" {
                continue;
            }
            daemon.coffer(["launch", "small", "c1", "--storage", pool]).ok();
            arm(daemon, point);
            let _ = post(daemon, "POST", "/1.0/instances/c1/backups", &json!({"name": "b1"}));
            revive(daemon, point);
            let files = std::fs::read_dir(daemon.state_seen().join("backups/instances/c1")).into_iter().flatten().count();
            match daemon.api().get("/1.0/instances/c1/backups").as_array().map(Vec::len) {
                Some(0) => assert_eq!(files, 0, "{point}: no backup, but files"),
                Some(1) => {
                    let answer = daemon.api().request("GET", "/1.0/instances/c1/backups/b1/export", None).unwrap();
                    assert_eq!(answer.status, 200, "{point}");
                }
                other => panic!("{point}: {other:?} backups"),
            }
            assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots"), json!([]), "{point}");
            // It was held still when the daemon died; the next one lets it go on.
            let running = || daemon.instance_state("c1")["status"] == "Running";
            assert!(daemon.eventually(running), "{point}: {}", daemon.instance_state("c1"));
            assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
            daemon.coffer(["delete", "--force", "c1"]).ok();
        }
        // And one of a volume, in a pool that takes snapshots at once.
        let volumes = "/1.0/storage-pools/fast/volumes/custom";
        daemon.api().expect("POST", volumes, Some(&json!({"name": "v"})));
        arm(daemon, point);
        let _ = post(daemon, "POST", &format!("{volumes}/v/backups"), &json!({"name": "b1"}));
        revive(daemon, point);
        assert_eq!(daemon.api().get(&format!("{volumes}/v/snapshots")), json!([]), "{point}");
        daemon.api().expect("DELETE", &format!("{volumes}/v"), None);
        daemon.api().expect("DELETE", "/1.0/storage-pools/fast", None);
    });
}

#[test]
fn an_import_cut_anywhere_is_complete_or_nothing() {
    each(UseCase::Import, |daemon, point| {
        daemon.create_instance("small", "c2");
        daemon.coffer(["snapshot", "c2", "s1"]).ok();
        let path = daemon.scratch().join("c2.tar.gz");
        daemon.coffer(["export", "c2", &path.display().to_string()]).ok();
        daemon.coffer(["delete", "c2"]).ok();
        arm(daemon, point);
        let _ = send(daemon, "/1.0/instances", &[("X-LXD-name", "c1")], &std::fs::read(&path).unwrap());
        revive(daemon, point);
        if exists(daemon, "/1.0/instances/c1") {
            assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots").as_array().map(Vec::len), Some(1), "{point}");
        } else {
            daemon.expect_no_trace("c1");
            daemon.coffer(["import", &path.display().to_string(), "c1"]).ok();
        }
        daemon.run_again();
    });
}

#[test]
fn a_pool_cut_anywhere_is_whole_or_absent() {
    parent_cut(UseCase::Pool, "/1.0/storage-pools", &json!({"name": "cut", "driver": "dir", "config": {}}));
}

#[test]
fn a_network_cut_anywhere_is_whole_or_absent() {
    let config = json!({"ipv4.address": "10.99.9.1/24", "ipv6.address": "none"});
    parent_cut(UseCase::Network, "/1.0/networks", &json!({"name": "cut", "type": "bridge", "config": config}));
}

#[test]
fn a_rename_of_a_network_cut_anywhere_has_one_name() {
    if !can_run() || !has_fault_points() {
        return;
    }
    let mut daemon = Daemon::start();
    let before = daemon.world();
    let body = json!({"name": "cut", "type": "bridge", "config": {"ipv4.address": "10.99.9.1/24", "ipv6.address": "none"}});
    for point in points(UseCase::NetworkRename) {
        daemon.api().expect("POST", "/1.0/networks", Some(&body));
        arm(&mut daemon, point);
        let _ = post(&daemon, "POST", "/1.0/networks/cut", &json!({"name": "cut2"}));
        revive(&mut daemon, point);
        let (name, other) = if exists(&daemon, "/1.0/networks/cut") { ("cut", "cut2") } else { ("cut2", "cut") };
        assert_eq!(daemon.api().get(&format!("/1.0/networks/{name}/state"))["state"], "up", "{point}");
        assert!(!exists(&daemon, &format!("/1.0/networks/{other}")), "{point}");
        daemon.api().expect("DELETE", &format!("/1.0/networks/{name}"), None);
        daemon.expect_nothing_since(&before);
    }
}

#[test]
fn layers_cut_anywhere_lose_nothing_and_leave_nothing() {
    if !can_run() || !has_fault_points() {
        return;
    }
    let mut daemon = Daemon::start();
    daemon.initialise("overlay");
    daemon.import_busybox();
    let layers = |daemon: &Daemon| std::fs::read_dir(daemon.state_seen().join("storage-pools/default/layers")).unwrap().count();
    for point in points(UseCase::Layers) {
        let unpacking = point == "overlay.layered";
        if unpacking {
            arm(&mut daemon, point);
            let _ = post(&daemon, "POST", "/1.0/instances", &json!({"name": "web", "source": {"type": "image", "alias": "small"}}));
            revive(&mut daemon, point);
            assert!(!exists(&daemon, "/1.0/instances/web"), "{point}");
            assert_eq!(layers(&daemon), 0, "{point}: a layer that nothing stands on");
        }
        daemon.run_instance("small", "web");
        daemon.coffer(["exec", "web", "--", "sh", "-c", "echo kept > /root/file; sync"]).ok();
        daemon.change_state("web", "stop");
        if !unpacking {
            arm(&mut daemon, point);
        }
        let _ = post(&daemon, "POST", "/1.0/instances/web/snapshots", &json!({"name": "s1"}));
        if point == "overlay.layer-withdrawn" {
            daemon.coffer(["delete", "web/s1"]).ok();
            let _ = post(&daemon, "DELETE", "/1.0/instances/web", &json!({}));
            revive(&mut daemon, point);
        } else {
            if !unpacking {
                revive(&mut daemon, point);
            }
            daemon.change_state("web", "start");
            assert_eq!(daemon.coffer(["exec", "web", "--", "cat", "/root/file"]).ok(), "kept\n", "{point}");
            daemon.coffer(["delete", "--force", "web"]).ok();
        }
        if exists(&daemon, "/1.0/instances/web") {
            daemon.coffer(["delete", "--force", "web"]).ok();
        }
        assert_eq!(layers(&daemon), 1, "{point}: the image's alone");
        daemon.expect_no_trace("web");
    }
}

#[test]
fn a_volume_cut_anywhere_is_whole_or_absent() {
    if !can_run() || !has_fault_points() {
        return;
    }
    let mut daemon = Daemon::start();
    for pool in ["one", "two"] {
        daemon.api().expect("POST", "/1.0/storage-pools", Some(&json!({"name": pool, "driver": "dir", "config": {}})));
    }
    let before = daemon.world();
    let wanted = |(point, use_case): &(&'static str, UseCase)| match use_case {
        UseCase::Volume(doing) => Some((*point, *doing)),
        _ => None,
    };
    for (point, doing) in POINTS.iter().filter_map(wanted) {
        let (one, two) = ("/1.0/storage-pools/one/volumes/custom", "/1.0/storage-pools/two/volumes/custom");
        let (volume, snapshot) = (format!("{one}/v"), format!("{one}/v/snapshots/s"));
        let file = daemon.state_seen().join("storage-pools/one/custom/default_v/file");
        if doing != Volumes::Create {
            daemon.api().expect("POST", one, Some(&json!({"name": "v"})));
            std::fs::write(&file, "text").unwrap();
            daemon.api().expect("POST", &format!("{volume}/snapshots"), Some(&json!({"name": "s"})));
            // Every volume that survives has this one too: the check that follows compares records and files.
            daemon.api().expect("POST", &format!("{volume}/backups"), Some(&json!({"name": "b"})));
        }
        let mut archive = Vec::new();
        if doing == Volumes::Import {
            archive = daemon.api().request("GET", &format!("{volume}/backups/b/export"), None).unwrap().body;
            daemon.api().expect("DELETE", &volume, None);
        }
        let refresh = json!({"name": "w", "source": {"type": "copy", "name": "v", "pool": "one", "refresh": true}});
        if doing == Volumes::Refresh {
            daemon.api().expect("POST", two, Some(&json!({"name": "w"})));
        }
        arm(&mut daemon, point);
        let _ = match doing {
            Volumes::Create => post(&daemon, "POST", one, &json!({"name": "v"})),
            Volumes::Import => send(&daemon, one, &[], &archive),
            Volumes::Rename => post(&daemon, "POST", &volume, &json!({"name": "new"})),
            Volumes::Move => post(&daemon, "POST", &volume, &json!({"name": "v", "pool": "two"})),
            Volumes::Refresh => post(&daemon, "POST", two, &refresh),
            Volumes::Delete => post(&daemon, "DELETE", &volume, &json!({})),
            Volumes::Snapshot => post(&daemon, "POST", &format!("{volume}/snapshots"), &json!({"name": "t"})),
            Volumes::RenameSnapshot => post(&daemon, "POST", &snapshot, &json!({"name": "new"})),
            Volumes::DeleteSnapshot => post(&daemon, "DELETE", &snapshot, &json!({})),
        };
        revive(&mut daemon, point);
        // Whatever there is now is whole: what the store says is on disk, and nothing else is.
        let mut left = Vec::new();
        for pool in ["one", "two"] {
            let volumes = daemon.api().get(&format!("/1.0/storage-pools/{pool}/volumes/custom?recursion=1"));
            for entry in volumes.as_array().unwrap() {
                let name = entry["name"].as_str().unwrap();
                let (home, name) = if name.contains('/') { ("custom-snapshots", name) } else { ("custom", name) };
                let place = daemon.state_seen().join(format!("storage-pools/{pool}/{home}/default_{name}"));
                assert!(place.is_dir(), "{point}: {} is not there", place.display());
                if doing != Volumes::Create && !(doing == Volumes::Refresh && name == "w") {
                    assert_eq!(std::fs::read_to_string(place.join("file")).unwrap(), "text", "{point}");
                }
                left.push(format!("/1.0/storage-pools/{pool}/volumes/custom/{name}"));
            }
        }
        let with_backup = |url: &&String| url.split('/').count() == 7 && daemon.api().get(&format!("{url}/backups")) != json!([]);
        match doing {
            Volumes::Rename | Volumes::Move => assert_eq!(left.iter().filter(with_backup).count(), 1, "{point}"),
            Volumes::Import => {
                assert_eq!(left, Vec::<String>::new(), "{point}");
                send(&daemon, one, &[], &archive).unwrap();
                assert_eq!(std::fs::read_to_string(&file).unwrap(), "text", "{point}");
                left.push(volume.clone());
            }
            _ => {}
        }
        if doing == Volumes::Refresh {
            // It can be done again, and then is done.
            post(&daemon, "POST", two, &refresh).unwrap();
            let copy = daemon.state_seen().join("storage-pools/two/custom/default_w/file");
            assert_eq!(std::fs::read_to_string(copy).unwrap(), "text", "{point}");
        }
        for url in left.iter().filter(|url| url.split('/').count() == 7) {
            daemon.api().expect("DELETE", url, None);
        }
        daemon.expect_nothing_since(&before);
    }
}

/// Cuts the creation of a pool or a network; afterwards the same creation, or a deletion, must work.
fn parent_cut(use_case: UseCase, collection: &str, body: &serde_json::Value) {
    if !can_run() || !has_fault_points() {
        return;
    }
    for point in points(use_case) {
        let mut daemon = Daemon::start();
        let before = daemon.world();
        arm(&mut daemon, point);
        let _ = post(&daemon, "POST", collection, body);
        revive(&mut daemon, point);
        let path = format!("{collection}/cut");
        if exists(&daemon, &path) {
            assert_eq!(daemon.api().get(&path)["status"], "Created", "{point}");
        } else {
            daemon.expect_nothing_since(&before);
            daemon.api().expect("POST", collection, Some(body));
        }
        daemon.api().expect("DELETE", &path, None);
        daemon.expect_nothing_since(&before);
    }
}

#[test]
fn a_change_of_a_running_instance_cut_anywhere_is_made_or_not() {
    each(UseCase::Change, |daemon, point| {
        let api = || daemon.api();
        daemon.run_instance("small", "c1");
        api().expect("POST", "/1.0/storage-pools/default/volumes/custom", Some(&json!({"name": "v"})));
        daemon.coffer(["config", "device", "add", "c1", "shared", "disk", "pool=default", "source=v", "path=/v"]).ok();
        arm(daemon, point);
        let devices = json!({
            "second": {"type": "nic", "network": "testbr0", "name": "eth1"},
            "shared": {"type": "disk", "pool": "default", "source": "v", "path": "/other"},
            "null": {"type": "unix-char", "path": "/dev/other", "source": "/dev/null"},
        });
        let _ = post(daemon, "PATCH", "/1.0/instances/c1", &json!({"devices": devices, "config": {"limits.processes": "77"}}));
        revive(daemon, point);
        let made = point != "change.applied";
        let config = daemon.api().get("/1.0/instances/c1");
        assert_eq!(config["devices"]["second"].is_object(), made, "{point}: {config}");
        assert!(!config["config"].to_string().contains("volatile.changing"), "{point}: {config}");
        let inside = |words: &str| daemon.coffer(["exec", "c1", "--", "sh", "-c", words]).run().code == 0;
        assert_eq!(inside("[ -e /sys/class/net/eth1 ]"), made, "{point}");
        assert_eq!(inside("grep -q ' /other ' /proc/mounts"), made, "{point}");
        assert_eq!(inside("grep -q ' /v ' /proc/mounts"), !made, "{point}");
        assert_eq!(inside("[ -c /dev/other ]"), made, "{point}");
        assert!(inside("[ -e /sys/class/net/eth0 ]"), "{point}");
        // And it can be done, or undone, now.
        let back = json!({"devices": {"second": {}, "shared": {}, "null": {}}});
        daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&json!({"devices": devices})));
        assert!(inside("[ -e /sys/class/net/eth1 ] && [ -c /dev/other ] && grep -q ' /other ' /proc/mounts"), "{point}");
        daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&back));
        assert!(inside("[ ! -e /sys/class/net/eth1 ] && [ ! -e /dev/other ] && ! grep -q ' /other ' /proc/mounts"), "{point}");
        daemon.coffer(["delete", "--force", "c1"]).ok();
        daemon.coffer(["storage", "volume", "delete", "default", "v"]).ok();
    });
}

#[test]
fn a_change_of_a_profile_cut_anywhere_reaches_its_instances() {
    each(UseCase::ProfileChange, |daemon, point| {
        daemon.coffer(["profile", "create", "more"]).ok();
        daemon.coffer(["launch", "small", "c1", "--profile", "default", "--profile", "more"]).ok();
        arm(daemon, point);
        let device = json!({"null": {"type": "unix-char", "path": "/dev/other", "source": "/dev/null"}});
        let _ = post(daemon, "PUT", "/1.0/profiles/more", &json!({"devices": device}));
        revive(daemon, point);
        assert_eq!(daemon.coffer(["exec", "c1", "--", "test", "-c", "/dev/other"]).run().code, 0, "{point}");
        daemon.coffer(["delete", "--force", "c1"]).ok();
        daemon.coffer(["profile", "delete", "more"]).ok();
    });
}

#[test]
fn a_recovery_from_pools_cut_anywhere_is_whole() {
    let Some(mut daemon) = ready_with_points() else { return };
    for point in points(UseCase::Adopt) {
        daemon.run_instance("small", "c1");
        daemon.coffer(["snapshot", "c1", "s1"]).ok();
        let dump = daemon.scratch().join("dump.yaml").display().to_string();
        daemon.coffer(["admin", "dump", "--output", &dump]).ok();
        daemon.stop();
        std::fs::remove_dir_all(daemon.state_seen().join("database")).unwrap();
        daemon.launch();
        arm(&mut daemon, point);
        let _ = daemon.coffer(["admin", "restore", "--recover", &dump]).run();
        revive(&mut daemon, point);
        assert_eq!(daemon.instance_state("c1")["status"], "Running", "{point}");
        assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3, "{point}");
        daemon.coffer(["restore", "c1", "s1"]).ok();
        daemon.coffer(["delete", "--force", "c1"]).ok();
    }
}

#[test]
fn opening_the_files_of_a_stopped_instance_cut_anywhere_leaves_nothing() {
    each(UseCase::Files, |daemon, point| {
        daemon.create_instance("small", "c1");
        arm(daemon, point);
        let push = |daemon: &Daemon| daemon.api().send("POST", "/1.0/instances/c1/files?path=/root/x", &[], b"x");
        let _ = push(daemon);
        revive(daemon, point);
        assert_eq!(push(daemon).map(|answer| answer.status).ok(), Some(200), "{point}");
        daemon.run_again();
        daemon.change_state("c1", "stop");
    });
}

#[test]
fn an_error_at_any_point_of_a_launch_is_taken_back() {
    let Some(mut daemon) = ready_with_points() else { return };
    let before = daemon.world();
    for point in points(UseCase::Launch) {
        daemon.stop();
        daemon.set_env("COFFER_FAULT", &format!("{point}=error"));
        daemon.launch();
        let done = daemon.coffer(["launch", "small", "c1"]).run();
        if done.code != 0 {
            assert!(done.stderr.contains(point), "{point}: the error must name what failed: {done}");
        }
        daemon.stop();
        daemon.unset_env("COFFER_FAULT");
        daemon.launch();
        if exists(&daemon, "/1.0/instances/c1") {
            daemon.coffer(["delete", "--force", "c1"]).ok();
        }
        daemon.expect_nothing_since(&before);
    }
}

#[test]
fn an_error_before_a_snapshot_copy_or_move_is_done_is_taken_back() {
    let Some(mut daemon) = ready_with_points() else { return };
    daemon.coffer(["storage", "create", "other", "dir"]).ok();
    daemon.run_instance("small", "c1");
    daemon.coffer(["snapshot", "c1", "s0"]).ok();
    daemon.coffer(["copy", "c1", "k2"]).ok();
    let before = daemon.world();
    let cases: [(&str, &[&str]); 13] = [
        ("snapshot.recorded", &["snapshot", "c1", "s1"]),
        ("snapshot.described", &["snapshot", "c1", "s1"]),
        ("snapshot.held-still", &["snapshot", "c1", "s1"]),
        ("snapshot.volume-made", &["snapshot", "c1", "s1"]),
        ("snapshot-rename.recorded", &["rename", "c1/s0", "c1/s1"]),
        ("snapshot-rename.volume-renamed", &["rename", "c1/s0", "c1/s1"]),
        ("restore.recorded", &["restore", "c1", "s0"]),
        ("copy.recorded", &["copy", "c1", "k3"]),
        ("copy.volume-made", &["copy", "c1", "k3"]),
        ("replace.recorded", &["copy", "c1", "k2", "--refresh"]),
        ("replace.filled", &["rebuild", "small", "k2"]),
        ("move.recorded", &["move", "k2", "k4", "--storage", "other"]),
        ("move.copied", &["move", "k2", "k4", "--storage", "other"]),
    ];
    for (point, words) in cases {
        daemon.stop();
        daemon.set_env("COFFER_FAULT", &format!("{point}=error"));
        daemon.launch();
        let said = daemon.coffer(words).fails();
        assert!(said.contains(point), "{point}: the error must name what failed: {said}");
        daemon.expect_nothing_since(&before);
        for name in ["c1", "k2"] {
            let snapshots = daemon.api().get(&format!("/1.0/instances/{name}/snapshots"));
            assert_eq!(snapshots, json!([format!("/1.0/instances/{name}/snapshots/s0")]), "{point}");
        }
        assert_eq!(daemon.api().get("/1.0/instances").as_array().map(Vec::len), Some(2), "{point}");
        assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3, "{point}: it goes on running");
    }
    daemon.stop();
    daemon.unset_env("COFFER_FAULT");
    daemon.launch();
    daemon.coffer(["restore", "k2", "s0"]).ok();
    daemon.coffer(["restore", "c1", "s0"]).ok();
}

/// Runs a use case once for each of its points, in a daemon that dies there, and looks at what the next daemon makes of it.
#[track_caller]
fn each(use_case: UseCase, act: impl Fn(&mut Daemon, &str)) {
    let Some(mut daemon) = ready_with_points() else { return };
    let before = daemon.world();
    for point in points(use_case) {
        if use_case == UseCase::Launch {
            arm(&mut daemon, point);
        }
        act(&mut daemon, point);
        if exists(&daemon, "/1.0/instances/c1") {
            daemon.coffer(["delete", "--force", "c1"]).ok();
        }
        daemon.expect_nothing_since(&before);
    }
}

#[test]
fn a_launch_from_a_server_cut_after_the_download_leaves_the_image_only() {
    let Some(mut daemon) = ready_with_points() else { return };
    let server = ImageServer::start(daemon.pen());
    server.offer(&images::busybox(), Offer::default());
    for point in points(UseCase::RemoteLaunch) {
        arm(&mut daemon, point);
        let source = json!({"type": "image", "protocol": "simplestreams", "server": server.url(), "alias": "busybox"});
        let create = json!({"name": "c1", "source": source});
        let _ = post(&daemon, "POST", "/1.0/instances", &create);
        revive(&mut daemon, point);
        assert!(!exists(&daemon, "/1.0/instances/c1"), "{point}");
        daemon.expect_no_trace("c1");
        daemon.api().expect("POST", "/1.0/instances", Some(&create));
        daemon.run_again();
    }
}

#[test]
fn a_refresh_cut_anywhere_leaves_one_image_and_no_files_of_another() {
    let Some(mut daemon) = ready_with_points() else { return };
    let server = ImageServer::start(daemon.pen());
    for (number, point) in points(UseCase::ImageRefresh).enumerate() {
        let old = server.offer(&images::busybox(), Offer::default());
        let source = json!({"type": "image", "protocol": "simplestreams", "server": server.url(), "alias": "busybox"});
        daemon.api().expect("POST", "/1.0/images", Some(&json!({"source": source, "aliases": [{"name": "followed"}]})));
        let newer = images::spoiled("refreshed", |root| std::fs::write(root.join("refreshed"), ""));
        let new = server.offer(&newer, Offer { serial: &format!("202701{:02}_0000", number + 1), ..Offer::default() });
        arm(&mut daemon, point);
        let _ = post(&daemon, "POST", &format!("/1.0/images/{old}/refresh"), &json!({}));
        revive(&mut daemon, point);
        assert_eq!(daemon.api().get("/1.0/images/aliases/followed")["target"], new.as_str(), "{point}");
        let names = std::fs::read_dir(daemon.state_seen().join("images")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(&old)), "{point}");
        assert!(!exists(&daemon, &format!("/1.0/images/{old}")), "{point}");
    }
}

fn ready_with_points() -> Option<Daemon> {
    if can_run() && has_fault_points() { ready_daemon() } else { None }
}

fn points(use_case: UseCase) -> impl Iterator<Item = &'static str> {
    POINTS.iter().filter(move |(_, own)| *own == use_case).map(|(point, _)| *point)
}

/// Starts the daemon anew so that it dies at this point.
#[track_caller]
fn arm(daemon: &mut Daemon, point: &str) {
    daemon.stop();
    daemon.set_env("COFFER_FAULT", &format!("{point}=kill"));
    daemon.launch();
}

/// Expects that the daemon died, and starts one that will not.
#[track_caller]
fn revive(daemon: &mut Daemon, point: &str) {
    assert!(daemon.wait_end(Duration::from_secs(20)), "{point} was not reached\n{}", daemon.log());
    daemon.unset_env("COFFER_FAULT");
    daemon.launch();
    assert_eq!(daemon.api().get("/internal/fsck"), json!([]), "{point}: store, disk and kernel must say the same");
}

/// Sends a request that the daemon may not live to answer, and waits for the operation if it does.
fn post(daemon: &Daemon, method: &str, path: &str, body: &serde_json::Value) -> std::io::Result<()> {
    let answer = daemon.api().request(method, path, Some(body))?.json();
    if let Some(operation) = answer["operation"].as_str().filter(|operation| !operation.is_empty()) {
        daemon.api().request("GET", &format!("{operation}/wait?timeout=30"), None)?;
    }
    Ok(())
}

/// Like [`post`], with a file as the body.
fn send(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<()> {
    let mut all = vec![("Content-Type", "application/octet-stream")];
    all.extend_from_slice(headers);
    let answer = daemon.api().send("POST", path, &all, body)?.json();
    if let Some(operation) = answer["operation"].as_str().filter(|operation| !operation.is_empty()) {
        daemon.api().request("GET", &format!("{operation}/wait?timeout=30"), None)?;
    }
    Ok(())
}

#[track_caller]
fn exists(daemon: &Daemon, path: &str) -> bool {
    daemon.api().request("GET", path, None).unwrap_or_else(|error| panic!("GET {path}: {error}")).status == 200
}

/// Starting what a cut left behind must work.
trait RunAgain {
    fn run_again(&self);
}

impl RunAgain for Daemon {
    #[track_caller]
    fn run_again(&self) {
        self.change_state("c1", "start");
        assert_eq!(self.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
    }
}
