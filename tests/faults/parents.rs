//! What instances stand on: pools, networks, layers.

use super::*;

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
