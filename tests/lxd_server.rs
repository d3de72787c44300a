//! Our command drives a server that is genuine LXD 5.0.2: what it asks of our own server alone it does there as LXD's client does.

use coffer_testkit::{Daemon, can_run, has_genuine_lxd, images};

use crate::setting::holds;

#[test]
fn our_command_drives_genuine_lxd() {
    if !can_run() || !has_genuine_lxd() {
        return;
    }
    let lxd = Daemon::start_genuine_lxd();
    let ours = |words: &[&str]| lxd.coffer(words).ok();
    ours(&["storage", "create", "default", "dir"]);
    ours(&["profile", "device", "add", "default", "root", "disk", "path=/", "pool=default"]);
    ours(&["image", "import", &images::busybox().unified.display().to_string(), "--alias", "small"]);
    ours(&["launch", "small", "c1", "-c", "user.note=a"]);
    let state = || ours(&["list", "-c", "s", "-f", "csv"]).trim().to_owned();
    assert_eq!(state(), "RUNNING");
    // One that is paused is woken, one that is stopped is started; here nothing has to be asked before.
    ours(&["pause", "c1"]);
    assert_eq!(state(), "FROZEN");
    ours(&["start", "c1"]);
    assert_eq!(state(), "RUNNING");
    holds(&lxd.coffer(["start", "c1"]).fails(), &["running"]);
    let done = lxd.coffer(["exec", "c1", "--", "sh", "-c", "cat; exit 7"]).input("through websockets").run();
    assert_eq!((done.code, done.text().as_str()), (7, "through websockets"), "{}", done.stderr);
    let file = lxd.scratch().join("file");
    std::fs::write(&file, "content").expect("room for a file");
    let there = |path: &str| format!("c1/{path}");
    ours(&["file", "push", &file.display().to_string(), &there("srv/file")]);
    assert_eq!(ours(&["file", "pull", &there("srv/file"), "-"]), "content");
    ours(&["snapshot", "c1", "s1"]);
    ours(&["config", "set", "c1", "user.note=b"]);
    ours(&["restore", "c1", "s1"]);
    assert_eq!(ours(&["config", "get", "c1", "user.note"]).trim(), "a");
    ours(&["stop", "--force", "c1"]);
    ours(&["start", "c1"]);
    ours(&["restart", "--force", "c1"]);
    ours(&["stop", "--force", "c1"]);
    // It keeps the backup, which is fetched and deleted.
    let archive = lxd.scratch().join("c1.tar.gz").display().to_string();
    ours(&["export", "c1", &archive]);
    assert_eq!(lxd.api().get("/1.0/instances/c1/backups"), serde_json::json!([]));
    ours(&["copy", "c1", "c2"]);
    ours(&["delete", "c1/s1", "c1", "c2"]);
    ours(&["import", &archive]);
    assert_eq!(state(), "STOPPED");
    ours(&["delete", "c1"]);
}
