//! Users' volumes: made, shared by instances, kept in snapshots, copied, moved, and gone whole.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

const VOLUMES: &str = "/1.0/storage-pools/default/volumes/custom";

#[test]
fn the_genuine_client_makes_changes_attaches_and_deletes_volumes() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    daemon.lxc(["storage", "volume", "create", "default", "data", "user.note=mine"]).clean();
    let show = daemon.lxc(["storage", "volume", "show", "default", "data"]).clean();
    holds(&show, &["name: data", "type: custom", "user.note: mine", "content_type: filesystem", "used_by: []", "location: none"]);
    daemon.lxc(["storage", "volume", "set", "default", "data", "size=1GiB"]).clean();
    assert_eq!(daemon.lxc(["storage", "volume", "get", "default", "data", "size"]).clean().trim(), "1GiB");
    daemon.lxc(["storage", "volume", "unset", "default", "data", "size"]).clean();
    let edited = show.replace("user.note: mine", "user.note: yours").replace("description: \"\"", "description: ours");
    daemon.lxc(["storage", "volume", "edit", "default", "data"]).input(edited).clean();
    holds(&daemon.lxc(["storage", "volume", "show", "default", "data"]).clean(), &["user.note: yours", "description: ours"]);

    // The running instance has it at once, and what it writes is there.
    daemon.lxc(["storage", "volume", "attach", "default", "data", "c1", "/mnt/data"]).clean();
    daemon.lxc(["exec", "c1", "--", "sh", "-c", "echo kept > /mnt/data/file && stat -c %u /mnt/data/file"]).clean();
    holds(&daemon.lxc(["storage", "volume", "show", "default", "data"]).clean(), &["used_by:\n- /1.0/instances/c1"]);
    holds(&daemon.lxc(["storage", "volume", "list", "default"]).clean(), &["custom", "data", "ours", "filesystem", "1"]);
    holds(&daemon.lxc(["storage", "volume", "info", "default", "data"]).clean(), &["Name: data", "Type: custom", "Usage:"]);
    holds(&daemon.lxc(["storage", "show", "default"]).clean(), &["/1.0/storage-pools/default/volumes/custom/data"]);
    holds(&daemon.lxc(["storage", "volume", "delete", "default", "data"]).fails(), &["in use", "c1"]);
    daemon.lxc(["storage", "volume", "detach", "default", "data", "c1"]).clean();
    assert_ne!(daemon.lxc(["exec", "c1", "--", "cat", "/mnt/data/file"]).run().code, 0, "it is detached");

    // A profile gives it to all instances that have the profile; they have it after a restart too.
    daemon.lxc(["storage", "volume", "attach-profile", "default", "data", "default", "disk0", "/srv"]).clean();
    assert_eq!(daemon.lxc(["exec", "c1", "--", "cat", "/srv/file"]).clean(), "kept\n");
    daemon.lxc(["restart", "--force", "c1"]).clean();
    assert_eq!(daemon.lxc(["exec", "c1", "--", "cat", "/srv/file"]).clean(), "kept\n");
    holds(&daemon.lxc(["storage", "volume", "rename", "default", "data", "other"]).fails(), &["in use", "c1"]);
    daemon.lxc(["storage", "volume", "detach-profile", "default", "data", "default", "disk0"]).clean();
    daemon.lxc(["storage", "volume", "rename", "default", "data", "other"]).clean();
    daemon.lxc(["storage", "volume", "delete", "default", "other"]).clean();
    daemon.lxc(["delete", "--force", "c1"]).clean();
    daemon.expect_nothing_since(&before);
}

#[test]
fn the_genuine_client_snapshots_restores_copies_and_moves_volumes() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.lxc(["storage", "create", "fast", "btrfs", "size=512MiB"]).clean();
    daemon.lxc(["storage", "volume", "create", "default", "data"]).clean();
    daemon.lxc(["init", "small", "c1"]).clean();
    daemon.lxc(["storage", "volume", "attach", "default", "data", "c1", "/mnt"]).clean();
    daemon.lxc(["start", "c1"]).clean();
    let write = |text: &str| daemon.lxc(["exec", "c1", "--", "sh", "-c", &format!("echo {text} > /mnt/state")]).clean();
    let read = || daemon.lxc(["exec", "c1", "--", "cat", "/mnt/state"]).clean();
    write("first");
    daemon.lxc(["storage", "volume", "snapshot", "default", "data"]).clean();
    write("second");
    daemon.lxc(["storage", "volume", "snapshot", "default", "data", "mine"]).clean();
    write("third");
    holds(&daemon.lxc(["storage", "volume", "list", "default"]).clean(), &["custom (snapshot)", "data/snap0", "data/mine"]);
    holds(&daemon.lxc(["storage", "volume", "show", "default", "data/mine"]).clean(), &["name: data/mine", "content_type: filesystem"]);
    holds(&daemon.lxc(["storage", "volume", "info", "default", "data"]).clean(), &["snap0", "mine"]);
    holds(&daemon.lxc(["storage", "volume", "restore", "default", "data", "snap0"]).fails(), &["in use", "c1"]);
    daemon.lxc(["stop", "--force", "c1"]).clean();
    daemon.lxc(["storage", "volume", "restore", "default", "data", "snap0"]).clean();
    daemon.lxc(["storage", "volume", "rename", "default", "data/mine", "data/yours"]).clean();
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(read(), "first\n");
    write("fourth");

    // A copy has the snapshots, also in another pool; without them if told; and it is brought up to date.
    daemon.lxc(["storage", "volume", "copy", "default/data", "fast/data"]).clean();
    holds(&daemon.lxc(["storage", "volume", "list", "fast"]).clean(), &["data/snap0", "data/yours"]);
    daemon.lxc(["storage", "volume", "copy", "default/data", "default/alone", "--volume-only"]).clean();
    daemon.lxc(["storage", "volume", "copy", "fast/data/yours", "fast/old"]).clean();
    write("fifth");
    daemon.lxc(["storage", "volume", "snapshot", "default", "data", "late"]).clean();
    daemon.lxc(["storage", "volume", "delete", "default", "data/snap0"]).clean();
    holds(&daemon.lxc(["storage", "volume", "copy", "default/data", "fast/data"]).fails(), &["already exists"]);
    daemon.lxc(["storage", "volume", "copy", "default/data", "fast/data", "--refresh"]).clean();
    let list = daemon.lxc(["storage", "volume", "list", "fast", "--format", "csv"]).clean();
    holds(&list, &["data/late", "data/yours"]);
    assert!(!list.contains("data/snap0") && !list.contains("old/"), "{list}");
    let content = |pool: &str, volume: &str| {
        let path = daemon.state().join(format!("storage-pools/{pool}/custom/default_{volume}/state"));
        daemon.inside("cat", [&path.display().to_string()]).ok()
    };
    assert_eq!([content("fast", "data"), content("default", "alone"), content("fast", "old")], ["fifth\n", "fourth\n", "second\n"]);

    // The genuine client moves by copying and deleting; ours takes along the devices that name the volume.
    daemon.lxc(["storage", "volume", "move", "fast/old", "default/older"]).clean();
    assert_eq!(content("default", "older"), "second\n");
    daemon.lxc(["stop", "--force", "c1"]).clean();
    daemon.coffer(["storage", "volume", "move", "default/data", "fast/moved"]).ok();
    holds(&daemon.lxc(["config", "device", "show", "c1"]).clean(), &["pool: fast", "source: moved"]);
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(read(), "fifth\n");
    daemon.lxc(["delete", "--force", "c1"]).clean();
    for volume in [["default", "alone"], ["default", "older"], ["fast", "data"], ["fast", "moved"]] {
        daemon.lxc(["storage", "volume", "delete", volume[0], volume[1]]).clean();
    }
    daemon.lxc(["storage", "delete", "fast"]).clean();
}

#[test]
fn instances_with_ids_of_their_own_share_a_volume() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["storage", "volume", "create", "default", "shared"]).ok();
    for name in ["c1", "c2"] {
        daemon.run_instance("small", name);
        daemon.coffer(["storage", "volume", "attach", "default", "shared", name, "/shared"]).ok();
    }
    let maps = ["c1", "c2"].map(|name| daemon.coffer(["exec", name, "--", "cat", "/proc/self/uid_map"]).ok());
    assert_ne!(maps[0], maps[1], "both have a range of their own");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo x > /shared/file; chown 1000:100 /shared/file; chmod 640 /shared/file"]).ok();
    assert_eq!(daemon.coffer(["exec", "c2", "--", "stat", "-c", "%u:%g %a", "/shared/file"]).ok(), "1000:100 640\n");
    let users = daemon.api().get(&format!("{VOLUMES}/shared"))["used_by"].clone();
    assert_eq!(users, json!(["/1.0/instances/c1", "/1.0/instances/c2"]));

    // Root of the one must not become the host's root in the other.
    daemon.create_instance("small", "c3");
    daemon.coffer(["config", "set", "c3", "security.privileged=true"]).ok();
    daemon.coffer(["storage", "volume", "attach", "default", "shared", "c3", "/shared"]).ok();
    holds(&daemon.coffer(["start", "c3"]).fails(), &["c3", "shared", "privileged", "security.shifted"]);
    holds(&daemon.coffer(["storage", "volume", "set", "default", "shared", "security.shifted=true"]).fails(), &["c1", "stopped"]);
    for name in ["c1", "c2"] {
        daemon.change_state(name, "stop");
    }
    daemon.coffer(["storage", "volume", "set", "default", "shared", "security.shifted=true"]).ok();
    for name in ["c1", "c3"] {
        daemon.change_state(name, "start");
    }
    assert_eq!(daemon.coffer(["exec", "c3", "--", "stat", "-c", "%u", "/shared/file"]).ok(), "1000\n");

    // Unmapped, an instance sees only the owners that its map holds.
    for name in ["c1", "c3"] {
        daemon.change_state(name, "stop");
    }
    daemon.coffer(["storage", "volume", "unset", "default", "shared", "security.shifted"]).ok();
    daemon.coffer(["storage", "volume", "set", "default", "shared", "security.unmapped=true"]).ok();
    daemon.change_state("c1", "start");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "stat", "-c", "%u", "/shared/file"]).ok(), "65534\n");
}

#[test]
fn a_size_is_enforced_at_once_and_only_there() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["storage", "create", "fast", "btrfs", "size=512MiB"]).ok();
    daemon.coffer(["storage", "volume", "create", "fast", "data"]).ok();
    daemon.run_instance("small", "c1");
    daemon.coffer(["storage", "volume", "attach", "fast", "data", "c1", "/data"]).ok();
    let write = |megabytes: u32| {
        let script = format!("dd if=/dev/zero of=/data/big bs=1M count={megabytes} && sync /data/big");
        daemon.coffer(["exec", "c1", "--", "sh", "-c", &script]).run()
    };
    assert_eq!(write(24).code, 0);
    daemon.coffer(["exec", "c1", "--", "rm", "/data/big"]).ok();
    daemon.coffer(["storage", "volume", "set", "fast", "data", "size=16MiB"]).ok();
    let full = write(24);
    assert!(full.code != 0, "{full}");
    daemon.coffer(["exec", "c1", "--", "rm", "/data/big"]).ok();
    let state = daemon.api().get("/1.0/storage-pools/fast/volumes/custom/data/state");
    assert_eq!(state["usage"]["total"], 16 << 20);
    daemon.coffer(["storage", "volume", "set", "fast", "data", "size=64MiB"]).ok();
    assert_eq!(write(24).code, 0);
}

#[test]
fn disks_are_kept_but_not_given_to_containers() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let before = daemon.world();
    daemon.coffer(["storage", "volume", "create", "default", "disk", "size=64MiB", "--type=block"]).ok();
    holds(&daemon.coffer(["storage", "volume", "list", "default"]).ok(), &["disk", "block"]);
    let refused = daemon.coffer(["storage", "volume", "attach", "default", "disk", "c1", "/mnt"]).fails();
    holds(&refused, &["custom block volumes cannot be used on containers"]);
    daemon.coffer(["storage", "volume", "set", "default", "disk", "size=128MiB"]).ok();
    assert_eq!(daemon.api().get(&format!("{VOLUMES}/disk/state"))["usage"]["total"], 128 << 20);
    holds(&daemon.coffer(["storage", "volume", "set", "default", "disk", "size=32MiB"]).fails(), &["cannot shrink"]);
    holds(&daemon.coffer(["storage", "volume", "set", "default", "disk", "security.shifted=true"]).fails(), &["block"]);
    holds(&daemon.coffer(["storage", "volume", "create", "default", "cd", "--type=iso"]).fails(), &["import"]);
    daemon.coffer(["storage", "volume", "delete", "default", "disk"]).ok();
    daemon.expect_nothing_since(&before);
}

#[test]
fn snapshots_that_expire_go_by_themselves() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["storage", "volume", "create", "default", "data", "snapshots.expiry=1y", "snapshots.expiry.manual=1d"]).ok();
    let snapshots = format!("{VOLUMES}/data/snapshots");
    let soon = || (jiff::Timestamp::now() + jiff::SignedDuration::from_millis(300)).to_string();
    let take =
        |name: &str, expires_at: Value| daemon.api().expect("POST", &snapshots, Some(&json!({"name": name, "expires_at": expires_at})));
    take("stays", Value::Null);
    take("never", json!("0001-01-01T00:00:00Z"));
    take("goes", json!(soon()));
    take("changed", json!("2100-01-01T00:00:00Z"));
    daemon.api().expect("PATCH", &format!("{snapshots}/changed"), Some(&json!({"expires_at": soon()})));
    let left = || daemon.api().get(&snapshots).as_array().map_or(0, Vec::len);
    assert!(daemon.eventually(|| left() == 2), "{}", daemon.api().get(&snapshots));
    assert_eq!(daemon.api().get(&format!("{snapshots}/never"))["expires_at"], Value::Null);
    let expires = daemon.api().get(&format!("{snapshots}/stays"))["expires_at"].clone();
    let expires: jiff::Timestamp = expires.as_str().and_then(|text| text.parse().ok()).expect("the volume's own time");
    assert!(expires < jiff::Timestamp::now() + jiff::SignedDuration::from_hours(25));
    for bad in ["snapshots.schedule=@sometimes", "snapshots.expiry=soon", "snapshots.pattern=a/b"] {
        daemon.coffer(["storage", "volume", "set", "default", "data", bad]).fails();
    }
}

#[test]
fn projects_have_volumes_of_their_own_or_the_default_ones() {
    let Some(daemon) = ready_daemon() else { return };
    let create = |project: &str, config: Value| {
        daemon.api().expect("POST", "/1.0/projects", Some(&json!({"name": project, "config": config})));
    };
    create("own", json!({}));
    create("common", json!({"features.storage.volumes": "false"}));
    daemon.coffer(["storage", "volume", "create", "default", "data", "--project", "own"]).ok();
    daemon.coffer(["storage", "volume", "create", "default", "data", "--project", "common"]).ok();
    let names = |query: &str| {
        let all = daemon.api().get(&format!("{VOLUMES}{query}"));
        all.as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(""), [format!("{VOLUMES}/data")]);
    assert_eq!(names("?project=common"), names(""));
    assert_eq!(names("?project=own"), [format!("{VOLUMES}/data?project=own")]);
    assert_eq!(names("?all-projects=true").len(), 2);
    holds(&daemon.coffer(["project", "delete", "own"]).fails(), &["volumes/custom/data?project=own"]);
    daemon.coffer(["storage", "volume", "copy", "default/data", "default/copied", "--target-project", "own"]).ok();
    daemon.coffer(["storage", "volume", "move", "default/data", "default/moved", "--target-project", "own"]).ok();
    assert_eq!(names(""), [] as [String; 0]);
    for volume in ["data", "copied", "moved"] {
        daemon.coffer(["storage", "volume", "delete", "default", volume, "--project", "own"]).ok();
    }
    daemon.coffer(["project", "delete", "own"]).ok();
}

#[test]
fn what_cannot_be_is_refused_before_anything_happens() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["storage", "volume", "create", "default", "data"]).ok();
    let before = daemon.world();
    for (body, word) in [
        (json!({"name": "../x"}), "../x"),
        (json!({"name": "x", "config": {"colour": "blue"}}), "colour"),
        (json!({"name": "x", "config": {"size": "huge"}}), "huge"),
        (json!({"name": "x", "config": {"volatile.uuid": "1"}}), "volatile.uuid"),
        (json!({"name": "x", "config": {"initial.mode": "999"}}), "initial.mode"),
        (json!({"name": "x", "config": {"security.shifted": "true", "security.unmapped": "true"}}), "security.shifted"),
        (json!({"name": "x", "config": {"zfs.blocksize": "4KiB"}}), "only volumes of driver zfs have it"),
        (json!({"name": "x", "config": {"block.mount_options": "dev"}}), "only volumes of driver lvm or ceph have it"),
        (json!({"name": "x", "content_type": "teapot"}), "teapot"),
        (json!({"name": "x", "source": {"type": "teapot"}}), "teapot"),
        (json!({"name": "x", "source": {"type": "copy", "name": "nobody"}}), "nobody"),
        (json!({"name": "data"}), "data"),
    ] {
        let answer = daemon.api().request("POST", VOLUMES, Some(&body)).unwrap();
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.json());
        holds(answer.json()["error"].as_str().unwrap_or_default(), &[word]);
    }
    refused(&daemon, "POST", "/1.0/storage-pools/default/volumes/container", json!({"name": "x"}), "only custom");
    refused(&daemon, "POST", "/1.0/storage-pools/nowhere/volumes/custom", json!({"name": "x"}), "nowhere");
    refused(&daemon, "POST", &format!("{VOLUMES}/data"), json!({"name": "a b"}), "a b");
    refused(&daemon, "POST", &format!("{VOLUMES}/data"), json!({"name": "data", "migration": true}), "migrations");
    refused(&daemon, "PUT", &format!("{VOLUMES}/data"), json!({"restore": "nothing"}), "nothing");
    refused(&daemon, "POST", &format!("{VOLUMES}/data/snapshots"), json!({"name": ".."}), "..");
    refused(&daemon, "DELETE", &format!("{VOLUMES}/data/snapshots/none"), json!({}), "data/none");
    daemon.create_instance("small", "c1");
    let device = json!({"devices": {"d": {"type": "disk", "pool": "default", "source": "nobody", "path": "/d"}}});
    refused(&daemon, "PATCH", "/1.0/instances/c1", device, "nobody");
    daemon.coffer(["delete", "c1"]).ok();
    daemon.expect_nothing_since(&before);
}

#[track_caller]
fn refused(daemon: &Daemon, method: &str, path: &str, body: Value, word: &str) {
    let answer = daemon.api().request(method, path, Some(&body)).expect("an answer");
    assert!((400..500).contains(&answer.status) || answer.status == 501, "{method} {path}: {}", answer.json());
    holds(answer.json()["error"].as_str().unwrap_or_default(), &[word]);
}
