//! Backups of users' volumes: kept, handed out, imported; and volumes from ISO images.

use std::path::PathBuf;

use coffer_testkit::{Daemon, tree};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

const VOLUMES: &str = "/1.0/storage-pools/default/volumes/custom";

fn file(daemon: &Daemon, name: &str) -> String {
    daemon.scratch().join(name).display().to_string()
}

fn place(daemon: &Daemon, pool: &str, volume: &str) -> PathBuf {
    daemon.state_seen().join(format!("storage-pools/{pool}/custom/default_{volume}"))
}

#[test]
fn the_genuine_client_exports_and_imports_volumes_across_drivers() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.lxc(["storage", "create", "fast", "btrfs", "size=512MiB"]).clean();
    daemon.lxc(["storage", "create", "thin", "overlay"]).clean();
    daemon.lxc(["storage", "volume", "create", "default", "data", "user.note=mine", "size=100MiB"]).ok();
    let top = place(&daemon, "default", "data");
    tree::plant(&top);
    tree::settle_times(&top);
    daemon.lxc(["storage", "volume", "snapshot", "default", "data", "early"]).clean();
    std::fs::write(top.join("later"), "later").unwrap();
    tree::settle_times(&top);
    let planted = tree::describe(&top);
    let mut from = "default";
    for to in ["fast", "thin", "default"] {
        let path = file(&daemon, &format!("to-{to}"));
        daemon.lxc(["storage", "volume", "export", from, "data", &path, "--compression", "zstd"]).ok();
        assert_eq!(daemon.api().get(&format!("/1.0/storage-pools/{from}/volumes/custom/data/backups")), json!([]), "the client deletes it");
        holds(&daemon.lxc(["storage", "volume", "import", from, &path]).fails(), &["already exists"]);
        daemon.lxc(["storage", "volume", "delete", from, "data"]).clean();
        daemon.lxc(["storage", "volume", "import", to, &path]).ok();
        assert_eq!(tree::describe(&place(&daemon, to, "data")), planted, "{from} to {to}");
        assert_eq!(daemon.lxc(["storage", "volume", "get", to, "data", "user.note"]).clean(), "mine\n");
        daemon.lxc(["storage", "volume", "copy", &format!("{to}/data/early"), &format!("{to}/old")]).clean();
        assert!(!place(&daemon, to, "old").join("later").exists() && place(&daemon, to, "old").join("file").exists());
        daemon.lxc(["storage", "volume", "delete", to, "old"]).clean();
        from = to;
    }
}

#[test]
fn backups_of_volumes_are_kept_renamed_carried_along_and_deleted() {
    let Some(daemon) = ready_daemon() else { return };
    let api = daemon.api();
    api.expect("POST", "/1.0/storage-pools", Some(&json!({"name": "other", "driver": "dir", "config": {}})));
    api.expect("POST", VOLUMES, Some(&json!({"name": "v1"})));
    let of = |rest: &str| format!("{VOLUMES}/v1/backups{rest}");
    let done = api.expect("POST", &of(""), Some(&json!({"name": "", "compression_algorithm": "zstd"})));
    assert_eq!(done["resources"]["backups"], json!(["/1.0/backups/backup0"]));
    api.expect("POST", &of(""), Some(&json!({"name": "v1/mine", "volume_only": true})));
    api.expect("POST", &of(""), Some(&json!({"name": "over", "expires_at": "2001-01-01T00:00:00Z"})));
    assert!(daemon.eventually(|| api.get(&of("")) == json!([of("/backup0"), of("/mine")])), "{}", api.get(&of("")));
    api.expect("POST", &of("/mine"), Some(&json!({"name": "yours"})));
    let read = api.get(&of("/yours"));
    assert_eq!((&read["name"], &read["volume_only"], &read["optimized_storage"]), (&json!("yours"), &json!(true), &json!(false)));
    assert_eq!(api.get(&of("?recursion=1")).as_array().unwrap().len(), 2);
    for (method, path, body, status) in [
        ("POST", of(""), json!({"name": "yours"}), 409),
        ("POST", of(""), json!({"name": "x y"}), 400),
        ("POST", of(""), json!({"compression_algorithm": "sh -c id"}), 400),
        ("POST", of("/yours"), json!({"name": "../../x"}), 400),
        ("POST", of("/yours"), json!({"name": "backup0"}), 409),
        ("GET", of("/none"), json!(null), 404),
        ("GET", of("/none/export"), json!(null), 404),
        ("DELETE", of("/none"), json!(null), 404),
        ("GET", format!("{VOLUMES}/none/backups"), json!(null), 404),
        ("GET", "/1.0/storage-pools/default/volumes/container/v1/backups".to_owned(), json!(null), 400),
    ] {
        let body = Some(&body).filter(|body| !body.is_null());
        assert_eq!(api.request(method, &path, body).unwrap().status, status, "{method} {path}");
    }
    // They go along when the volume gets another name or pool, and with it.
    api.expect("POST", &format!("{VOLUMES}/v1"), Some(&json!({"name": "v2"})));
    api.expect("POST", &format!("{VOLUMES}/v2"), Some(&json!({"name": "v3", "pool": "other"})));
    let moved = "/1.0/storage-pools/other/volumes/custom/v3";
    assert!(api.request("GET", &format!("{moved}/backups/yours/export"), None).unwrap().body.starts_with(b"\x1f\x8b"), "a gzip file");
    assert!(
        api.request("GET", &format!("{moved}/backups/backup0/export"), None).unwrap().body.starts_with(b"\x28\xb5\x2f\xfd"),
        "a zstd file"
    );
    assert_eq!(api.get("/internal/fsck"), json!([]));
    api.expect("DELETE", &format!("{moved}/backups/backup0"), None);
    api.expect("DELETE", moved, None);
    let files = walk(&daemon.state_seen().join("backups"));
    assert!(files.is_empty(), "{files:?}");
}

/// The files below a directory.
fn walk(top: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn hostile_archives_of_volumes_are_refused_and_leave_nothing() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    let index = |name: &str, more: &str| {
        format!(
            "name: {name}\nbackend: dir\npool: default\ntype: custom\nconfig:\n  volume:\n    name: v1\n    type: custom\n    content_type: filesystem\n{more}"
        )
    };
    let archive = |index: &str, rest: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "backup/index.yaml", index.as_bytes());
        rest(&mut builder);
        builder.into_inner().unwrap()
    };
    let content = |builder: &mut tar::Builder<Vec<u8>>| append(builder, "backup/volume/file", b"x");
    let send = |bytes: &[u8], headers: &[(&str, &str)]| {
        let mut all = vec![("Content-Type", "application/octet-stream")];
        all.extend_from_slice(headers);
        daemon.api().send("POST", VOLUMES, &all, bytes).unwrap()
    };
    let refuse = |bytes: &[u8], headers: &[(&str, &str)], expect: &str| {
        let answer = send(bytes, headers);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 400, "{text}");
        assert!(text.contains(expect), "{expect}: {text}");
    };
    let good = archive(&index("v1", ""), &content);
    for name in ["../../x", ".", "..", "\"a\\0b\"", "a/b"] {
        refuse(&archive(&index(name, ""), &content), &[], "invalid storage volume name");
    }
    refuse(&good, &[("X-LXD-name", "../x")], "invalid storage volume name");
    refuse(&good, &[("X-LXD-type", "qcow2")], "it must be backup or iso");
    refuse(&good, &[("X-LXD-type", "iso")], "name it");
    refuse(b"not an archive", &[], "no tar archive");
    refuse(
        &archive(&index("v1", "").replace("type: custom\nconfig", "type: container\nconfig"), &content),
        &[],
        "only custom is supported",
    );
    refuse(&archive(&index("v1", "    config: {security.strange: 1}\n"), &content), &[], "security.strange");
    refuse(&archive(&index("v1", "    config: {volatile.idmap.last: '[1]'}\n"), &content), &[], "only one range of ids");
    refuse(&archive(&index("v1", "  volume_snapshots: [{name: s1}]\n"), &content), &[], "what config describes");
    let twice = index("v1", "  volume_snapshots: [{name: s1}, {name: s1}]\n")
        .replace("type: custom\nconfig", "type: custom\nsnapshots: [s1, s1]\nconfig");
    refuse(&archive(&twice, &content), &[], "two snapshots that are called s1");
    // What is only found out while unpacking is taken back.
    let disk = index("v1", "").replace("filesystem", "block");
    let with_snapshot =
        index("v1", "  volume_snapshots: [{name: s1}]\n").replace("type: custom\nconfig", "type: custom\nsnapshots: [s1]\nconfig");
    for (index, rest) in [
        (index("v1", ""), &(|_: &mut tar::Builder<Vec<u8>>| ()) as &dyn Fn(&mut tar::Builder<Vec<u8>>)),
        (index("v1", ""), &|builder| link(builder, "backup/volume", "/")),
        (index("v1", ""), &|builder| append(builder, "backup/volume.img", b"x")),
        (with_snapshot, &content),
        (disk.clone(), &|builder| link(builder, "backup/volume.img", "/etc/shadow")),
        (disk.clone(), &|builder| append(builder, "backup/volume.img/x", b"x")),
        (disk, &|builder| {
            append(builder, "backup/volume.img", b"x");
            append(builder, "backup/volume.img", b"y");
        }),
    ] {
        let answer = send(&archive(&index, rest), &[]).json();
        let ended = daemon.api().get(&format!("{}/wait", answer["operation"].as_str().unwrap()));
        assert_eq!(ended["status"], "Failure", "{ended}");
    }
    assert_eq!(daemon.api().get(VOLUMES), json!([]));
    daemon.expect_nothing_since(&before);
    // Files whose owners went through a map get back those that they have inside.
    let map = r#"[{"Isuid":true,"Isgid":false,"Hostid":1000000,"Nsid":0,"Maprange":65536},{"Isuid":false,"Isgid":true,"Hostid":1000000,"Nsid":0,"Maprange":65536}]"#;
    let shifted = index("v1", &format!("    config: {{volatile.idmap.last: '{map}', zfs.blocksize: 4KiB, user.note: a}}\n"));
    let owned = |builder: &mut tar::Builder<Vec<u8>>| {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o4755);
        header.set_uid(1_000_033);
        header.set_gid(1_000_000);
        builder.append_data(&mut header, "backup/volume/file", &b"x"[..]).unwrap();
    };
    let answer = send(&archive(&shifted, &owned), &[]).json();
    assert_eq!(daemon.api().get(&format!("{}/wait", answer["operation"].as_str().unwrap()))["status"], "Success");
    let lines = tree::describe(&place(&daemon, "default", "v1"));
    assert!(lines.iter().any(|line| line.starts_with("\"file\" 104755 33:0 ")), "{lines:?}");
    assert_eq!(daemon.api().get(&format!("{VOLUMES}/v1"))["config"]["user.note"], "a");
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
fn an_iso_image_becomes_a_volume_that_keeps_its_bytes() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    let image: Vec<u8> = (0..3_000_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let path = file(&daemon, "installer.iso");
    std::fs::write(&path, &image).unwrap();
    daemon.coffer(["storage", "volume", "import", "default", &path]).ok();
    let read = daemon.api().get(&format!("{VOLUMES}/installer"));
    assert_eq!((&read["content_type"], &read["config"]["size"]), (&json!("iso"), &json!("3000000")));
    let disk = |volume: &str| std::fs::read(place(&daemon, "default", volume).join("root.img")).unwrap();
    assert!(disk("installer") == image);
    // Its size is what it came with, nothing else makes one, and containers have no use for one.
    holds(
        &daemon.coffer(["storage", "volume", "set", "default", "installer", "size=1GiB"]).fails(),
        &["installer", "size that it came with"],
    );
    holds(&daemon.coffer(["storage", "volume", "create", "default", "x", "--type", "iso"]).fails(), &["storage volume import --type=iso"]);
    daemon.create_instance("small", "c1");
    let device = json!({"devices": {"cd": {"type": "disk", "pool": "default", "source": "installer", "path": "/mnt"}}});
    holds(&daemon.api().refused("PATCH", "/1.0/instances/c1", Some(&device), 400), &["volume installer is an ISO volume"]);
    // It is copied, exported and imported like any other.
    let archive = file(&daemon, "installer.tar");
    daemon.coffer(["storage", "volume", "copy", "default/installer", "default/copy"]).ok();
    daemon.coffer(["storage", "volume", "export", "default", "installer", &archive, "--compression", "none"]).ok();
    daemon.coffer(["storage", "volume", "import", "default", &archive, "again", "--type", "backup"]).ok();
    assert!(disk("copy") == image && disk("again") == image);
    assert_eq!(daemon.api().get(&format!("{VOLUMES}/again"))["content_type"], "iso");
    holds(&daemon.coffer(["storage", "volume", "import", "default", &path]).fails(), &["already exists"]);
    daemon.coffer(["delete", "c1"]).ok();
    for name in ["installer", "copy", "again"] {
        daemon.coffer(["storage", "volume", "delete", "default", name]).ok();
    }
    daemon.expect_nothing_since(&before);
}

#[test]
fn a_cut_archive_is_never_half_a_volume() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["storage", "volume", "create", "default", "v1"]).ok();
    tree::plant(&place(&daemon, "default", "v1"));
    let path = file(&daemon, "v1.tar");
    daemon.coffer(["storage", "volume", "export", "default", "v1", &path, "--compression", "none"]).ok();
    daemon.coffer(["storage", "volume", "delete", "default", "v1"]).ok();
    let whole = std::fs::read(&path).unwrap();
    let before = daemon.world();
    for length in [1, 513, whole.len() / 3, whole.len() / 2, whole.len() - 2000] {
        let answer = daemon.api().send("POST", VOLUMES, &[("Content-Type", "application/octet-stream")], &whole[..length]).unwrap();
        if answer.status == 202 {
            let ended: Value = daemon.api().get(&format!("{}/wait", answer.json()["operation"].as_str().unwrap()));
            assert_eq!(ended["status"], "Failure", "{length}: {ended}");
        } else {
            assert_eq!(answer.status, 400, "{length}");
        }
    }
    daemon.expect_nothing_since(&before);
}
