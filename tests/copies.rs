//! Copies, moves and rebuilds of instances on one server.

use coffer_testkit::{Daemon, ImageServer, Offer, images};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// Writes a word into a file of a running instance.
#[track_caller]
fn write(daemon: &Daemon, instance: &str, word: &str) {
    daemon.coffer(["exec", instance, "--", "sh", "-c", &format!("echo {word} > /root/word")]).ok();
}

/// Reads the word again.
#[track_caller]
fn read(daemon: &Daemon, instance: &str) -> String {
    daemon.coffer(["exec", instance, "--", "cat", "/root/word"]).ok().trim().to_owned()
}

#[track_caller]
fn instance(daemon: &Daemon, name: &str) -> Value {
    daemon.api().get(&format!("/1.0/instances/{name}"))
}

fn snapshots(daemon: &Daemon, name: &str) -> Vec<String> {
    let all = daemon.api().get(&format!("/1.0/instances/{name}/snapshots?recursion=1"));
    all.as_array().into_iter().flatten().filter_map(|snapshot| snapshot["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_genuine_client_copies_with_and_without_snapshots_and_from_one() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    write(&daemon, "c1", "first");
    daemon.lxc(["snapshot", "c1", "s1"]).clean();
    write(&daemon, "c1", "second");
    daemon.lxc(["copy", "c1", "c2"]).clean();
    daemon.lxc(["copy", "c1", "c3", "--instance-only", "--config", "user.colour=blue", "--profile", "default"]).clean();
    daemon.lxc(["copy", "c1/s1", "c4"]).clean();
    assert_eq!(daemon.instance_state("c1")["status"], "Running", "copying does not stop it");
    assert_eq!((snapshots(&daemon, "c2"), snapshots(&daemon, "c3"), snapshots(&daemon, "c4")), (vec!["s1".to_owned()], vec![], vec![]));
    assert_eq!(instance(&daemon, "c3")["config"]["user.colour"], "blue");
    let address = |name: &str| instance(&daemon, name)["config"]["volatile.eth0.hwaddr"].as_str().unwrap().to_owned();
    let addresses: std::collections::BTreeSet<_> = ["c1", "c2", "c3", "c4"].into_iter().map(address).collect();
    assert_eq!(addresses.len(), 4, "each has a MAC address of its own: {addresses:?}");
    assert_eq!(instance(&daemon, "c2")["config"]["volatile.base_image"], instance(&daemon, "c1")["config"]["volatile.base_image"]);
    for (name, word) in [("c2", "second"), ("c3", "second"), ("c4", "first")] {
        daemon.lxc(["start", name]).clean();
        assert_eq!(read(&daemon, name), word);
    }
    daemon.lxc(["restore", "c2", "s1"]).clean();
    assert_eq!(read(&daemon, "c2"), "first");
    assert_ne!(address("c2"), address("c1"), "a snapshot that was copied does not bring the source's address");
    daemon.lxc(["copy", "c1", "c2"]).fails();
    for name in ["c1", "c2", "c3", "c4"] {
        daemon.lxc(["delete", "--force", name]).clean();
    }
    daemon.expect_nothing_since(&before);
}

#[test]
fn the_genuine_client_brings_a_copy_up_to_date() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    write(&daemon, "c1", "first");
    daemon.lxc(["snapshot", "c1", "s1"]).clean();
    daemon.lxc(["snapshot", "c1", "s2"]).clean();
    daemon.lxc(["copy", "c1", "c2", "--refresh"]).clean();
    assert_eq!(snapshots(&daemon, "c2"), ["s1", "s2"]);
    let address = instance(&daemon, "c2")["config"]["volatile.eth0.hwaddr"].clone();
    daemon.lxc(["delete", "c1/s1"]).clean();
    write(&daemon, "c1", "second");
    daemon.lxc(["snapshot", "c1", "s3"]).clean();
    write(&daemon, "c1", "third");
    daemon.lxc(["copy", "c1", "c2", "--refresh"]).clean();
    assert_eq!(snapshots(&daemon, "c2"), ["s2", "s3"]);
    assert_eq!(instance(&daemon, "c2")["config"]["volatile.eth0.hwaddr"], address);
    daemon.lxc(["start", "c2"]).clean();
    assert_eq!(read(&daemon, "c2"), "third");
    daemon.lxc(["restore", "c2", "s3"]).clean();
    assert_eq!(read(&daemon, "c2"), "second");
    holds(&daemon.coffer(["copy", "c1", "c2", "--refresh"]).fails(), &["it can be refreshed only when it is stopped"]);
    daemon.lxc(["stop", "--force", "c2"]).clean();
    daemon.coffer(["config", "set", "c1", "user.colour=red"]).ok();
    daemon.coffer(["copy", "c1", "c2", "--refresh"]).ok();
    assert_eq!(instance(&daemon, "c2")["config"]["user.colour"], "red");
}

#[test]
fn copies_and_moves_go_to_other_pools_and_projects() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.coffer(["storage", "create", "fast", "btrfs", "size=1GiB"]).ok();
    daemon.coffer(["project", "create", "dev", "-c", "features.profiles=false", "-c", "features.images=false"]).ok();
    daemon.run_instance("small", "c1");
    write(&daemon, "c1", "first");
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    write(&daemon, "c1", "second");

    daemon.lxc(["copy", "c1", "c2", "--storage", "fast"]).clean();
    assert_eq!(instance(&daemon, "c2")["devices"]["root"]["pool"], "fast");
    daemon.lxc(["copy", "c1", "c7", "--target-project", "dev"]).clean();
    let there = daemon.api().get("/1.0/instances/c7?project=dev");
    assert_eq!((&there["project"], &there["status"]), (&json!("dev"), &json!("Stopped")));
    daemon.coffer(["--project", "dev", "start", "c7"]).ok();
    assert_eq!(daemon.coffer(["--project", "dev", "exec", "c7", "--", "cat", "/root/word"]).ok(), "second\n");
    daemon.coffer(["--project", "dev", "delete", "--force", "c7"]).ok();

    holds(&daemon.lxc(["move", "c1", "--storage", "fast"]).fails(), &["only when it is stopped"]);
    daemon.lxc(["stop", "--force", "c1"]).clean();
    let before = instance(&daemon, "c1")["config"]["volatile.eth0.hwaddr"].clone();
    daemon.lxc(["move", "c1", "--storage", "fast"]).clean();
    assert_eq!(instance(&daemon, "c1")["expanded_devices"]["root"]["pool"], "fast");
    assert_eq!(instance(&daemon, "c1")["config"]["volatile.eth0.hwaddr"], before, "who moves keeps the address");
    daemon.lxc(["restore", "c1", "s1"]).clean();
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(read(&daemon, "c1"), "first");
    daemon.lxc(["stop", "--force", "c1"]).clean();

    daemon.lxc(["move", "c1", "c9", "--target-project", "dev"]).clean();
    daemon.api().refused("GET", "/1.0/instances/c1", None, 404);
    assert_eq!(daemon.api().get("/1.0/instances/c9/snapshots?project=dev"), json!(["/1.0/instances/c9/snapshots/s1?project=dev"]));
    daemon.coffer(["--project", "dev", "restore", "c9", "s1"]).ok();
    daemon.coffer(["--project", "dev", "start", "c9"]).ok();
    assert_eq!(daemon.coffer(["--project", "dev", "exec", "c9", "--", "cat", "/root/word"]).ok(), "first\n");
    daemon.coffer(["--project", "dev", "delete", "--force", "c9"]).ok();
    daemon.coffer(["project", "delete", "dev"]).ok();
    daemon.coffer(["delete", "c2"]).ok();
    daemon.coffer(["storage", "delete", "fast"]).ok();
}

#[test]
fn a_root_is_made_anew() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["config", "set", "c1", "user.colour=red"]).ok();
    write(&daemon, "c1", "first");
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    holds(&daemon.coffer(["rebuild", "small", "c1"]).fails(), &["only when it is stopped"]);
    daemon.coffer(["rebuild", "small", "c1", "--force"]).ok();
    assert_eq!(daemon.instance_state("c1")["status"], "Running");
    assert_ne!(daemon.coffer(["exec", "c1", "--", "cat", "/root/word"]).run().code, 0, "what was in the root is gone");
    assert_eq!(instance(&daemon, "c1")["config"]["user.colour"], "red");
    assert_eq!(snapshots(&daemon, "c1"), ["s1"], "nobody sees what the new root was put together in");
    daemon.coffer(["restore", "c1", "s1"]).ok();
    assert_eq!(read(&daemon, "c1"), "first");
    daemon.coffer(["stop", "--force", "c1"]).ok();
    daemon.coffer(["rebuild", "--empty", "c1"]).ok();
    assert_eq!(instance(&daemon, "c1")["config"].get("image.os"), None);
    daemon.coffer(["delete", "c1"]).ok();
}

#[test]
fn a_root_is_made_anew_of_an_image_that_is_not_here() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let server = ImageServer::start(daemon.pen());
    let offered = server.offer(&images::busybox(), Offer::default());
    daemon.coffer(["remote", "add", "there", &server.url(), "--protocol=simplestreams"]).ok();
    // The alias is taken by nobody here, and the image is another one than that of the instance.
    assert_ne!(instance(&daemon, "c1")["config"]["volatile.base_image"], offered.as_str());
    daemon.coffer(["rebuild", "there:busybox", "c1"]).ok();
    assert_eq!(instance(&daemon, "c1")["config"]["volatile.base_image"], offered.as_str());
    assert_eq!(daemon.api().get(&format!("/1.0/images/{offered}"))["cached"], true);
    daemon.coffer(["start", "c1"]).ok();
    daemon.coffer(["stop", "--force", "c1"]).ok();
    holds(&daemon.coffer(["rebuild", "there:nothing", "c1"]).fails(), &["nothing"]);
    assert_eq!(instance(&daemon, "c1")["config"]["volatile.base_image"], offered.as_str());
    // By what an image says of itself: the newest counts.
    let chosen = |properties: Value| json!({"name": "c2", "source": {"type": "image", "properties": properties}});
    daemon.api().expect("POST", "/1.0/instances", Some(&chosen(json!({"os": "Busybox", "release": "1"}))));
    assert_eq!(instance(&daemon, "c2")["config"]["volatile.base_image"], offered.as_str());
    let said = daemon.api().refused("POST", "/1.0/instances", Some(&chosen(json!({"os": "Plan 9"}))), 404);
    assert!(said.contains("os=Plan 9"), "{said}");
}

#[test]
fn bad_copies_and_moves_are_refused_before_anything_is_done() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.create_instance("small", "c2");
    let check = |method: &str, path: &str, body: Value, status: u16, expect: &str| {
        let said = daemon.api().refused(method, path, Some(&body), status);
        assert!(said.contains(expect), "{method} {path} {body}: {said}");
    };
    let copy = |source: Value| json!({"name": "c3", "source": source});
    check("POST", "/1.0/instances", copy(json!({"type": "copy", "source": "no"})), 404, "instance no not found");
    check("POST", "/1.0/instances", copy(json!({"type": "copy", "source": "c1/no"})), 404, "snapshot c1/no not found");
    check("POST", "/1.0/instances", copy(json!({"type": "copy", "source": "c1", "project": "no"})), 404, "instance c1 not found");
    check("POST", "/1.0/instances", json!({"name": "c2", "source": {"type": "copy", "source": "c1"}}), 409, "instance c2 already exists");
    let device =
        json!({"name": "c3", "source": {"type": "copy", "source": "c1"}, "devices": {"root": {"type": "disk", "path": "/", "pool": "no"}}});
    check("POST", "/1.0/instances", device, 400, "storage pool no does not exist");
    check("POST", "/1.0/instances/c1", json!({"name": "c2"}), 409, "instance c2 already exists");
    check("POST", "/1.0/instances/c1", json!({"name": "c1", "migration": true, "pool": "no"}), 400, "storage pool no does not exist");
    check("POST", "/1.0/instances/c1", json!({"name": "c1", "migration": true, "project": "no"}), 404, "project no not found");
    check("POST", "/1.0/instances/c1", json!({"name": "c1", "migration": true, "pool": "default"}), 400, "there already");
    check("POST", "/1.0/instances/c1/rebuild", json!({"source": {"type": "image", "alias": "no"}}), 404, "image alias no not found");
    check("POST", "/1.0/instances/c1/rebuild", json!({"source": {"type": "copy"}}), 400, "invalid source type");
    assert_eq!(daemon.api().get("/1.0/instances").as_array().map(Vec::len), Some(2));
}
