//! The same points, with an error in the place of a kill: everything is taken back at once.

use super::*;

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
