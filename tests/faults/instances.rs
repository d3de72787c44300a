//! Launches, stops, changes and deletions of instances.

use super::*;

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
