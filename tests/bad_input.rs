//! What cannot be is refused by name, before anything happens, and leaves nothing.

use std::path::Path;

use coffer_testkit::{Daemon, Options, can_run, images};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon, ready_daemon_with};

/// Creates an instance with these extra fields and expects a refusal that holds the words, and nothing left behind.
#[track_caller]
fn refused(daemon: &Daemon, fields: &Value, words: &[&str]) {
    let before = daemon.world();
    let mut body = json!({"name": "c1", "source": {"type": "image", "alias": "small"}});
    for (key, value) in fields.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let answer = daemon.api().request("POST", "/1.0/instances", Some(&body)).expect("an answer");
    let json = answer.json();
    assert!((400..500).contains(&answer.status), "{fields}: {json}");
    holds(json["error"].as_str().unwrap_or_default(), words);
    daemon.expect_nothing_since(&before);
}

#[test]
fn names_keys_and_values_are_checked_before_anything_happens() {
    let Some(daemon) = ready_daemon() else { return };
    for name in ["1abc", "-abc", "a b", "a/b", "../../etc", "a\0b", "a_b", "ü", &"x".repeat(64)] {
        refused(&daemon, &json!({ "name": name }), &["name"]);
    }
    refused(&daemon, &json!({"config": {"limits.memroy": "1GiB"}}), &["limits.memroy"]);
    refused(&daemon, &json!({"config": {"limits.memory": "lots"}}), &["limits.memory", "lots"]);
    refused(&daemon, &json!({"config": {"security.privileged": "perhaps"}}), &["security.privileged", "perhaps"]);
    refused(&daemon, &json!({"devices": {"x": {"type": "teapot"}}}), &["teapot"]);
    refused(&daemon, &json!({"devices": {"x": {"type": "disk", "path": "/mnt", "colour": "blue"}}}), &["colour"]);
    refused(&daemon, &json!({"profiles": ["nobody"]}), &["nobody"]);
    refused(&daemon, &json!({"source": {"type": "image", "alias": "missing"}}), &["missing"]);
    refused(&daemon, &json!({"source": {"type": "teapot"}}), &["teapot"]);
    refused(&daemon, &json!({"devices": {"root": {"type": "disk", "path": "/", "pool": "nowhere"}}}), &["nowhere"]);
    refused(&daemon, &json!({"devices": {"eth0": {"type": "nic", "network": "nobridge", "name": "eth0"}}}), &["nobridge"]);
}

#[test]
fn a_name_is_taken_once() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let text =
        daemon.api().refused("POST", "/1.0/instances", Some(&json!({"name": "c1", "source": {"type": "image", "alias": "small"}})), 409);
    holds(&text, &["c1"]);
}

#[test]
fn pools_and_networks_are_checked_too() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let before = daemon.world();
    let pool = |body: Value| daemon.api().request("POST", "/1.0/storage-pools", Some(&body)).unwrap();
    for (body, word) in [
        (json!({"name": "../x", "driver": "dir", "config": {}}), "../x"),
        (json!({"name": "p", "driver": "teapot", "config": {}}), "teapot"),
        (json!({"name": "p", "driver": "dir", "config": {"colour": "blue"}}), "colour"),
        (json!({"name": "p", "driver": "btrfs", "config": {"size": "huge"}}), "huge"),
        (json!({"name": "p", "driver": "btrfs", "config": {"source": "/dev/no-such-disk"}}), "no-such-disk"),
    ] {
        let answer = pool(body.clone());
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.json());
        holds(answer.json()["error"].as_str().unwrap_or_default(), &[word]);
    }
    for (body, word) in [
        (json!({"name": "a-name-that-is-too-long", "type": "bridge", "config": {}}), "a-name-that-is-too-long"),
        (json!({"name": "br7", "type": "teapot", "config": {}}), "teapot"),
        (json!({"name": "br7", "type": "bridge", "config": {"ipv4.address": "10.0.0.300/24"}}), "10.0.0.300"),
        (json!({"name": "br7", "type": "bridge", "config": {"ipv4.colour": "blue"}}), "ipv4.colour"),
        (json!({"name": "br7", "type": "bridge", "config": {}, "description": 7}), "expected a string"),
    ] {
        let answer = daemon.api().request("POST", "/1.0/networks", Some(&body)).unwrap();
        assert!((400..500).contains(&answer.status), "{body}: {}", answer.json());
        holds(answer.json()["error"].as_str().unwrap_or_default(), &[word]);
    }
    daemon.expect_nothing_since(&before);
}

#[test]
fn what_is_no_image_is_no_image() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    for (what, bytes) in
        [("empty", Vec::new()), ("noise", vec![0x55; 4096]), ("cut short", cut_short()), ("a plain tar", plain_tar(&daemon))]
    {
        let answer = daemon.api().send("POST", "/1.0/images", &[("X-LXD-filename", "x.tar.xz")], &bytes).unwrap();
        let json = answer.json();
        let end = match json["operation"].as_str().filter(|operation| !operation.is_empty()) {
            Some(operation) => daemon.api().get(&format!("{operation}/wait?timeout=60")),
            None => json,
        };
        assert_ne!(end["status_code"], 200, "{what}: {end}");
        assert_eq!(daemon.api().get("/1.0/images").as_array().map(Vec::len), Some(1), "{what} was taken");
        daemon.expect_nothing_since(&before);
    }
    assert_eq!(std::fs::read_dir(daemon.state_seen().join("images")).unwrap().count(), 1, "only the good image's file");
}

#[test]
fn every_beginning_of_an_image_is_refused_and_leaves_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    let (before, pid, image) = (daemon.world(), daemon.pid(), small_image());
    // One block of zeros is end enough, and the builder writes two.
    for length in (0..image.len() - 512).step_by(511) {
        let answer = daemon.api().send("POST", "/1.0/images", &[("X-LXD-filename", "x.tar")], &image[..length]).unwrap();
        let json = answer.json();
        let end = match json["operation"].as_str().filter(|operation| !operation.is_empty()) {
            Some(operation) => daemon.api().get(&format!("{operation}/wait?timeout=60")),
            None => json,
        };
        assert_ne!(end["status_code"], 200, "{length} bytes: {end}");
    }
    assert_eq!(daemon.api().get("/1.0/images").as_array().map(Vec::len), Some(1));
    assert_eq!(std::fs::read_dir(daemon.state_seen().join("images")).unwrap().count(), 1, "only the good image's file");
    assert_eq!(daemon.pid(), pid);
    daemon.expect_nothing_since(&before);
    // Whole it is an image.
    let answer = daemon.api().send("POST", "/1.0/images", &[("X-LXD-filename", "x.tar")], &image).unwrap().json();
    let operation = answer["operation"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    assert_eq!(daemon.api().get(&format!("{operation}/wait?timeout=60"))["status_code"], 200);
}

/// A whole image of some ten thousand bytes.
fn small_image() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut put = |name: &str, kind: tar::EntryType, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        archive.append_data(&mut header, name, content).expect("memory");
    };
    put("metadata.yaml", tar::EntryType::Regular, b"architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: Test\n");
    put("rootfs", tar::EntryType::Directory, b"");
    put("rootfs/file", tar::EntryType::Regular, &[7; 8000]);
    archive.into_inner().expect("memory")
}

fn cut_short() -> Vec<u8> {
    let mut bytes = std::fs::read(images::busybox().unified).expect("an image that was just made");
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A tar archive without metadata.
fn plain_tar(daemon: &Daemon) -> Vec<u8> {
    let path = daemon.scratch().join("plain.tar");
    daemon.inside("tar", ["--create", "--file", &path.display().to_string(), "--directory", "/etc", "hostname"]).ok();
    std::fs::read(path).expect("an archive that was just made")
}

#[test]
fn an_image_that_lies_about_its_files_touches_nothing_of_the_host() {
    let Some(daemon) = ready_daemon() else { return };
    let canary = daemon.scratch().join("canary");
    std::fs::create_dir(&canary).unwrap();
    let before = daemon.world();
    let links = [("proc", "proc -> host"), ("sys", "sys -> host"), ("dev", "dev -> host"), ("etc", "etc -> host"), ("run", "run -> host")];
    for (number, (name, recipe)) in links.into_iter().enumerate() {
        let target = canary.clone();
        let image = images::spoiled(&format!("{recipe} {}", target.display()), |root| replace_by_link(&root.join(name), &target));
        let alias = format!("bad{number}");
        daemon.import(&image.unified, &alias);
        let done = daemon.coffer(["launch", &alias, "c1"]).run();
        if matches!(name, "proc" | "sys" | "dev") {
            assert_ne!(done.code, 0, "{recipe}: {done}");
            holds(&done.stderr, &[name]);
        }
        assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0, "{recipe}: something was written to the host");
        if daemon.api().request("GET", "/1.0/instances/c1", None).unwrap().status == 200 {
            daemon.coffer(["delete", "--force", "c1"]).ok();
        }
        daemon.coffer(["image", "delete", &alias]).ok();
        daemon.expect_nothing_since(&before);
    }
}

fn replace_by_link(path: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(path)?;
    std::os::unix::fs::symlink(target, path)
}

#[test]
fn a_full_disk_is_said_and_left_as_it_was() {
    let Some(daemon) = ready_daemon_with(Options::default().state_size(24 << 20)) else { return };
    daemon.inside("fallocate", ["--length", "18MiB", &daemon.state().join("ballast").display().to_string()]).run();
    let before = daemon.world();
    let fill = daemon.inside("dd", ["if=/dev/zero", &format!("of={}", daemon.state().join("fill").display()), "bs=64k"]).run();
    assert_ne!(fill.code, 0, "the file system should be full: {fill}");
    let text = daemon.coffer(["launch", "small", "c1"]).fails();
    assert!(text.contains("space") || text.contains("full"), "{text}");
    daemon.inside("rm", [daemon.state().join("fill").display().to_string()]).ok();
    daemon.expect_nothing_since(&before);
    daemon.inside("rm", [daemon.state().join("ballast").display().to_string()]).ok();
    // And with room again it works, without a restart.
    daemon.coffer(["launch", "small", "c1"]).ok();
}

#[test]
fn without_id_ranges_for_root_the_error_says_which_file() {
    let options = Options::default().empty_file("/etc/subuid").empty_file("/etc/subgid");
    let Some(daemon) = ready_daemon_with(options) else { return };
    let before = daemon.world();
    let done = daemon.coffer(["launch", "small", "c1"]).run();
    // A default range is as good an answer as a refusal that names the file.
    if done.code == 0 {
        let map = daemon.coffer(["exec", "c1", "--", "cat", "/proc/self/uid_map"]).ok();
        let outside: u64 = map.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap();
        assert!(outside >= 100_000, "{map}");
    } else {
        holds(&done.stderr, &["/etc/subuid"]);
        daemon.expect_nothing_since(&before);
    }
}

#[test]
fn requests_that_make_no_sense_get_errors_in_the_envelope() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let api = daemon.api();
    for (method, path, body, status) in [
        ("GET", "/1.0/nothing", "", 404),
        ("GET", "/2.0", "", 404),
        ("DELETE", "/1.0", "", 501),
        ("POST", "/1.0/instances", "{", 400),
        ("POST", "/1.0/instances", "[]", 400),
        ("GET", "/1.0/instances/..%2f..%2fetc", "", 404),
        ("GET", "/1.0/instances?recursion=teapot", "", 400),
    ] {
        let answer = api.send(method, path, &[("Content-Type", "application/json")], body.as_bytes()).unwrap();
        let json = answer.json();
        let clientish = (400..500).contains(&answer.status) && status != 501;
        assert!(answer.status == status || clientish, "{method} {path}: {json}");
        assert_eq!(json["type"], "error", "{method} {path}: {json}");
        assert_eq!(json["error_code"], answer.status, "{method} {path}: {json}");
        assert!(json["metadata"].is_null(), "{method} {path}: {json}");
    }
    assert_eq!(api.get("/1.0")["auth"], "trusted");
}
