//! Publishing, exporting and importing: what comes back is what went, and nothing else.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use coffer_testkit::{Daemon, can_run};
use serde_json::json;

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// Makes one of each kind of file in a running instance.
const PLANT: &str = "mkdir -p /srv/deep && cd /srv && echo text > file && chmod 4750 file && chown 1000:50 file && ln file deep/again && \
                     ln -s ../file deep/link && mkfifo pipe && dd if=/dev/zero of=sparse bs=1 count=1 seek=5000000 2>/dev/null && \
                     chmod 1777 deep && touch -t 200102030405 file deep/link && sync";

/// Says what those files are now.
const LOOK: &str = "cd /srv && stat -c '%n %F %a %u:%g %s %h %Y' file deep deep/again deep/link pipe sparse && cat deep/again && \
                    readlink deep/link && [ $(stat -c %i file) = $(stat -c %i deep/again) ] && [ $(stat -c %b sparse) -lt 100 ] && echo same";

fn look(daemon: &Daemon, instance: &str) -> String {
    let seen = daemon.coffer(["exec", instance, "--", "sh", "-c", LOOK]).ok();
    assert!(seen.ends_with("same\n"), "{seen}");
    // Times of what was made by the test itself differ; the ones that were set are what counts.
    seen.lines().filter(|line| !line.starts_with("deep directory")).map(|line| format!("{line}\n")).collect()
}

fn file(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.scratch().join(name)
}

#[track_caller]
fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn the_genuine_client_publishes_and_launches_what_it_published() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", PLANT]).ok();
    let before = look(&daemon, "c1");
    daemon.lxc(["publish", "c1", "--alias", "mine"]).fails();
    let source = json!({"source": {"type": "instance", "name": "c1"}});
    holds(&daemon.api().refused("POST", "/1.0/images", Some(&source), 400), &["instance c1 is running", "--force"]);
    daemon.lxc(["publish", "c1", "--force", "--alias", "mine", "--public", "release=7", "description=a b"]).ok();
    assert_eq!(daemon.instance_state("c1")["status"], "Running", "it was started again");
    holds(&daemon.lxc(["image", "show", "mine"]).clean(), &["release: \"7\"", "description: a b", "public: true"]);
    daemon.lxc(["launch", "mine", "c2"]).clean();
    assert_eq!(look(&daemon, "c2"), before);
    // From a snapshot, while the instance runs; the properties stay those of its image.
    daemon.lxc(["snapshot", "c1", "s1"]).clean();
    for compression in ["none", "zstd", "xz", "bzip2"] {
        daemon.lxc(["publish", "c1/s1", "--alias", compression, "--compression", compression]).ok();
    }
    holds(&daemon.lxc(["image", "show", "zstd"]).clean(), &["os: busybox"]);
    daemon.lxc(["launch", "zstd", "c3"]).clean();
    assert_eq!(look(&daemon, "c3"), before);
    holds(&daemon.lxc(["publish", "c1/s1", "--compression", "sh -c id"]).fails(), &["is not supported: use none, gzip"]);
}

#[test]
fn a_file_of_this_host_is_written_by_the_server_and_has_its_name_once_it_is_whole() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", PLANT]).ok();
    let before = look(&daemon, "c1");
    let scratch = daemon.scratch().join("exports");
    std::fs::create_dir(&scratch).expect("a directory");
    let path = text(&scratch.join("c1.tar"));
    std::fs::write(&path, "an older one").expect("room for a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("our own file");
    let same = |path: &str| {
        daemon.coffer(["import", path, "back"]).ok();
        daemon.coffer(["start", "back"]).ok();
        assert_eq!(look(&daemon, "back"), before, "{path}");
        daemon.coffer(["delete", "--force", "back"]).ok();
    };
    // One request, by which the file is handed over; nothing is kept that would have to be deleted.
    let done = daemon.coffer(["export", "c1", &path, "--compression", "none", "--debug"]).run();
    assert_eq!(done.code, 0, "{done}");
    let requests: Vec<_> = done.stderr.lines().map(|line| line.split(['?', ':']).next().unwrap_or_default()).collect();
    assert_eq!(requests.first(), Some(&"POST /1.0/instances/c1/backups"), "{done}");
    assert!(requests[1..].iter().all(|request| request.ends_with("/wait")), "{done}");
    assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o640);
    same(&path);
    // Through a link, into what is no file, and where descriptors do not pass.
    let link = text(&scratch.join("link"));
    std::os::unix::fs::symlink("c1.tar", &link).expect("a link");
    daemon.coffer(["export", "c1", &link]).ok();
    assert!(std::fs::symlink_metadata(&link).expect("the link").is_symlink());
    same(&path);
    daemon.coffer(["export", "c1", "/dev/null"]).ok();
    let relayed = text(&scratch.join("relayed.tar.gz"));
    daemon.client_outside(["export", "c1", &relayed]).env("COFFER_SOCKET", &crate::exec::relayed_socket(&daemon)).ok();
    same(&relayed);
    let output = daemon.coffer(["export", "c1", "-"]).run();
    std::fs::write(&relayed, &output.stdout).expect("room for a file");
    same(&relayed);
    // What fails leaves the file that was there, and nothing beside it.
    daemon.coffer(["export", "nobody", &path]).fails();
    daemon.coffer(["export", "c1", &path, "--compression", "sh"]).fails();
    daemon.coffer(["export", "c1", &text(&scratch.join("missing/c1.tar"))]).fails();
    same(&path);
    let mut names: Vec<_> = std::fs::read_dir(&scratch).expect("the directory").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["c1.tar", "link", "relayed.tar.gz"]);
    assert_eq!(daemon.api().get("/1.0/instances/c1/backups"), json!([]));
    // The server takes nothing but a file it can write to, and says so in the operation.
    let asked = daemon.api().request("POST", "/1.0/instances/c1/backups", Some(&json!({"local_file": true}))).expect("an answer").json();
    assert!(asked["metadata"]["metadata"]["fds"]["file"].is_string(), "{asked}");
}

#[test]
fn publishing_with_reuse_puts_the_new_image_in_the_place_of_the_old() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.coffer(["publish", "c1", "--alias", "mine"]).ok();
    let fingerprint = || daemon.api().get("/1.0/images/aliases/mine")["target"].as_str().unwrap().to_owned();
    let first = fingerprint();
    daemon.coffer(["publish", "c1", "--alias", "mine"]).fails();
    daemon.coffer(["publish", "c1", "--alias", "mine", "--reuse", "release=2"]).ok();
    assert_ne!(fingerprint(), first);
    assert_eq!(daemon.api().request("GET", &format!("/1.0/images/{first}"), None).unwrap().status, 404);
}

#[test]
fn the_genuine_client_exports_and_imports_with_snapshots() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", PLANT]).ok();
    let planted = look(&daemon, "c1");
    daemon.lxc(["snapshot", "c1", "with-files"]).clean();
    daemon.lxc(["exec", "c1", "--", "sh", "-c", "rm -r /srv; echo later > /root/later; sync"]).clean();
    daemon.lxc(["config", "set", "c1", "limits.memory", "128MiB"]).clean();
    let (whole, alone) = (file(&daemon, "whole.tar.gz"), file(&daemon, "alone.tar.zst"));
    // It runs on meanwhile.
    daemon.lxc(["export", "c1", &text(&whole)]).ok();
    daemon.lxc(["export", "c1", &text(&alone), "--instance-only", "--compression", "zstd"]).ok();
    assert_eq!(daemon.instance_state("c1")["status"], "Running");
    assert_eq!(daemon.api().get("/1.0/instances/c1/backups"), json!([]), "the client deletes what it fetched");
    let config = |name: &str| daemon.lxc(["config", "show", name]).clean();
    let lasting = |name: &str| {
        let text = config(name);
        text.lines().filter(|line| !line.contains("volatile.")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let before = lasting("c1");
    holds(&daemon.lxc(["import", &text(&whole)]).fails(), &["already exists"]);
    daemon.lxc(["delete", "--force", "c1"]).clean();

    daemon.lxc(["import", &text(&whole)]).ok();
    assert_eq!(lasting("c1"), before);
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(daemon.lxc(["exec", "c1", "--", "cat", "/root/later"]).clean(), "later\n");
    daemon.lxc(["stop", "--force", "c1"]).clean();
    daemon.lxc(["restore", "c1", "with-files"]).clean();
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(look(&daemon, "c1"), planted);

    daemon.lxc(["import", &text(&alone), "c2"]).ok();
    assert_eq!(daemon.api().get("/1.0/instances/c2/snapshots"), json!([]));
    daemon.lxc(["start", "c2"]).clean();
    let hwaddr = |name: &str| daemon.lxc(["config", "get", name, "volatile.eth0.hwaddr"]).clean();
    assert_ne!(hwaddr("c1"), hwaddr("c2"), "two that live side by side have two addresses");
}

#[test]
fn an_import_goes_to_the_pool_that_is_named() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["storage", "create", "fast", "btrfs", "size=1GiB"]).ok();
    daemon.create_instance("small", "c1");
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    let path = file(&daemon, "c1.tar.gz");
    daemon.coffer(["export", "c1", &text(&path)]).ok();
    daemon.coffer(["import", &text(&path), "c2", "--storage", "fast"]).ok();
    assert_eq!(daemon.api().get("/1.0/instances/c2")["devices"]["root"]["pool"], "fast");
    daemon.coffer(["restore", "c2", "s1"]).ok();
    daemon.coffer(["start", "c2"]).ok();
    assert_eq!(daemon.coffer(["exec", "c2", "--", "sh", "-c", "exit 3"]).run().code, 3);
    // And back, to the other kind of pool.
    let path = file(&daemon, "c2.tar.xz");
    daemon.coffer(["export", "c2", &text(&path), "--compression", "xz", "--optimized-storage"]).ok();
    daemon.coffer(["import", &text(&path), "c3", "--storage", "default"]).ok();
    daemon.coffer(["start", "c3"]).ok();
    holds(&daemon.coffer(["import", &text(&path), "c4", "--storage", "none"]).fails(), &["storage pool none not found"]);
    let before = daemon.api().get("/1.0/instances");
    assert_eq!(before.as_array().unwrap().len(), 3);
}

#[test]
fn backups_are_kept_renamed_and_deleted_over_the_api() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let api = daemon.api();
    api.expect("POST", "/1.0/instances/c1/backups", Some(&json!({"name": "", "compression_algorithm": "zstd"})));
    api.expect("POST", "/1.0/instances/c1/backups", Some(&json!({"name": "mine", "instance_only": true})));
    assert_eq!(api.get("/1.0/instances/c1/backups"), json!(["/1.0/instances/c1/backups/backup0", "/1.0/instances/c1/backups/mine"]));
    api.expect("POST", "/1.0/instances/c1/backups/mine", Some(&json!({"name": "yours"})));
    assert_eq!(api.get("/1.0/instances/c1/backups/yours")["instance_only"], true);
    assert_eq!(api.get("/1.0/instances/c1?recursion=1")["backups"].as_array().unwrap().len(), 2);
    let export = api.request("GET", "/1.0/instances/c1/backups/backup0/export", None).unwrap();
    assert!(export.body.starts_with(b"\x28\xb5\x2f\xfd"), "a zstd file");
    for (method, path, body, status) in [
        ("POST", "/1.0/instances/c1/backups", json!({"name": "yours"}), 409),
        ("POST", "/1.0/instances/c1/backups", json!({"name": "../x y"}), 400),
        ("POST", "/1.0/instances/c1/backups/yours", json!({"name": "../../x/y"}), 400),
        ("POST", "/1.0/instances/c1/backups/yours", json!({"name": "backup0"}), 409),
        ("GET", "/1.0/instances/c1/backups/none", json!(null), 404),
        ("DELETE", "/1.0/instances/c1/backups/none", json!(null), 404),
        ("GET", "/1.0/instances/none/backups", json!(null), 404),
    ] {
        let body = Some(&body).filter(|body| !body.is_null());
        assert_eq!(api.request(method, path, body).unwrap().status, status, "{method} {path}");
    }
    // They go along when the instance gets another name, and with it.
    api.expect("POST", "/1.0/instances/c1", Some(&json!({"name": "c2"})));
    api.expect("DELETE", "/1.0/instances/c2/backups/backup0", None);
    assert!(api.request("GET", "/1.0/instances/c2/backups/yours/export", None).unwrap().body.starts_with(b"\x1f\x8b"));
    api.expect("DELETE", "/1.0/instances/c2", None);
    let left = std::fs::read_dir(daemon.state_seen().join("backups/instances")).into_iter().flatten().count();
    assert_eq!(left, 0);
}

#[test]
fn a_backup_whose_time_is_over_goes_by_itself() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let post = |name: &str, expiry: &str| {
        daemon.api().expect("POST", "/1.0/instances/c1/backups", Some(&json!({"name": name, "expires_at": expiry})));
    };
    post("forever", "0001-01-01T00:00:00Z");
    post("later", "2199-01-01T00:00:00Z");
    post("over", "2001-01-01T00:00:00Z");
    let names = || daemon.api().get("/1.0/instances/c1/backups").to_string();
    assert!(daemon.eventually(|| !names().contains("over")), "{}", names());
    assert!(names().contains("forever") && names().contains("later"), "{}", names());
}

#[test]
fn hostile_archives_are_refused_before_anything_is_made() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    let index = |name: &str, more: &str| {
        format!(
            "name: {name}\nbackend: dir\npool: default\ntype: container\n{more}config:\n  container:\n    name: c1\n    type: container\n    \
             architecture: x86_64\n    profiles: [default]\n  pool:\n    name: default\n    driver: dir\n"
        )
    };
    let archive = |index: &str, rest: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "backup/index.yaml", index.as_bytes());
        rest(&mut builder);
        builder.into_inner().unwrap()
    };
    let root = |builder: &mut tar::Builder<Vec<u8>>| append(builder, "backup/container/rootfs/etc/hosts", b"x");
    let good = archive(&index("c1", ""), &root);
    let refuse = |bytes: &[u8], headers: &[(&str, &str)], expect: &str| {
        let mut all = vec![("Content-Type", "application/octet-stream")];
        all.extend_from_slice(headers);
        let answer = daemon.api().send("POST", "/1.0/instances", &all, bytes).unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 400 || answer.status == 404, "{} {text}", answer.status);
        assert!(text.contains(expect), "{expect}: {text}");
    };
    for name in ["../../../../tmp/x", "\"a\\0b\"", ".", "..", "1a", &"n".repeat(300), "\"\\u202eabc\""] {
        refuse(&archive(&index(name, ""), &root), &[], "invalid instance name");
    }
    refuse(&good, &[("X-LXD-name", "../x")], "invalid instance name");
    refuse(&good, &[("X-LXD-pool", "none")], "storage pool none not found");
    refuse(b"not an archive", &[], "no tar archive");
    refuse(&archive("", &root), &[], "type");
    refuse(&archive(&index("c1", "optimized: true\n"), &root), &[], "--optimized-storage");
    refuse(&archive(&index("c1", "snapshots: [s1]\n"), &root), &[], "what config describes");
    refuse(&archive("a: &a [x, x]\nb: [*a, *a]\n", &root), &[], "backup");
    refuse(&archive(&index("c1", "").replace("profiles: [default]", "profiles: [none]"), &root), &[], "profile none does not exist");
    let privileged = index("c1", "").replace("    profiles", "    config: {raw.lxc: lxc.mount.entry=/ x}\n    profiles");
    refuse(&archive(&privileged, &root), &[], "raw.lxc");
    // What is only found out while unpacking is taken back.
    for hostile in [
        &(|builder: &mut tar::Builder<Vec<u8>>| link(builder, "backup/container/rootfs", "/")) as &dyn Fn(&mut tar::Builder<Vec<u8>>),
        &|builder| link(builder, "backup/container/templates", "/root"),
        &|builder| link(builder, "backup/container/metadata.yaml", "/etc/shadow"),
        &|builder| link(builder, "backup/container/backup.yaml", "/etc/ld.so.preload"),
        &|builder| append(builder, "backup/container/metadata.yaml", b"templates: {../../x: {template: a}}"),
        &|_| (),
    ] {
        let bytes = archive(&index("c1", ""), hostile);
        let answer = daemon.api().send("POST", "/1.0/instances", &[("Content-Type", "application/octet-stream")], &bytes).unwrap().json();
        let operation = answer["operation"].as_str().unwrap().to_owned();
        let ended = daemon.api().get(&format!("{operation}/wait"));
        assert_eq!(ended["status"], "Failure", "{ended}");
    }
    assert_eq!(daemon.api().get("/1.0/instances"), json!([]));
    daemon.expect_nothing_since(&before);
    let operation = daemon.api().send("POST", "/1.0/instances", &[("Content-Type", "application/octet-stream")], &good).unwrap().json();
    let ended = daemon.api().get(&format!("{}/wait", operation["operation"].as_str().unwrap()));
    assert_eq!(ended["status"], "Success", "{ended}");
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).expect("memory takes it");
}

fn link(builder: &mut tar::Builder<Vec<u8>>, name: &str, to: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, name, to).expect("memory takes it");
}

#[test]
fn a_cut_archive_is_never_half_an_instance() {
    if !can_run() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let path = file(&daemon, "c1.tar");
    daemon.coffer(["export", "c1", &text(&path), "--compression", "none"]).ok();
    let whole = std::fs::read(&path).unwrap();
    daemon.coffer(["delete", "c1"]).ok();
    let before = daemon.world();
    for length in [1, 511, 513, 4096, whole.len() / 3, whole.len() / 2, whole.len() - 2000] {
        let headers = [("Content-Type", "application/octet-stream")];
        let answer = daemon.api().send("POST", "/1.0/instances", &headers, &whole[..length]).unwrap();
        if answer.status == 202 {
            let ended = daemon.api().get(&format!("{}/wait", answer.json()["operation"].as_str().unwrap()));
            assert_eq!(ended["status"], "Failure", "{length}: {ended}");
        } else {
            assert_eq!(answer.status, 400, "{length}");
        }
    }
    daemon.expect_nothing_since(&before);
}
