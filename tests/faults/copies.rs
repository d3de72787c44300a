//! Snapshots, restores, copies and moves of instances.

use super::*;

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
