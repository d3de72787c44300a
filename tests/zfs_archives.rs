//! Streams of `zfs send`: instances that go between two ZFS pools, and optimized backups.

use coffer_testkit::{Daemon, images};

use crate::on_drivers::daemon_with;
use crate::setting::holds;

/// A daemon with a pool on ZFS, and an instance on it whose files have the owners that it sees: old ZFS has no idmapped mounts, and what
/// was shifted on disk is packed as files.
fn daemon(pool: &str) -> Option<Daemon> {
    let daemon = daemon_with("zfs")?;
    daemon.lxc(["storage", "create", "fast", "zfs", "size=1GiB", &format!("zfs.pool_name=coffer-{pool}")]).clean();
    daemon.lxc(["profile", "device", "add", "default", "root", "disk", "path=/", "pool=fast"]).clean();
    daemon.lxc(["image", "import", &images::busybox().unified.display().to_string(), "--alias", "small"]).clean();
    daemon.lxc(["init", "small", "c1", "--config", "security.privileged=true"]).ok();
    for (word, snapshot) in [("one", Some("s1")), ("two", Some("s2")), ("three", None)] {
        say(&daemon, "c1", word);
        if let Some(snapshot) = snapshot {
            daemon.lxc(["snapshot", "c1", snapshot]).clean();
        }
    }
    Some(daemon)
}

#[track_caller]
fn say(daemon: &Daemon, instance: &str, word: &str) {
    daemon.lxc(["file", "push", "-", &format!("{instance}/root/word")]).input(word).clean();
}

#[track_caller]
fn word(daemon: &Daemon, instance: &str) -> String {
    daemon.lxc(["file", "pull", &format!("{instance}/root/word"), "-"]).clean()
}

/// Every state of the instance is what it was.
#[track_caller]
fn check(daemon: &Daemon, instance: &str) {
    assert_eq!(word(daemon, instance), "three");
    for (snapshot, expect) in [("s1", "one"), ("s2", "two")] {
        daemon.lxc(["restore", instance, snapshot]).clean();
        assert_eq!(word(daemon, instance), expect);
    }
    say(daemon, instance, "three");
}

#[track_caller]
fn refused(daemon: &Daemon, words: &[&str], expect: &[&str]) {
    let before = daemon.api().get("/1.0/instances");
    holds(&daemon.lxc(words.iter().copied()).fails(), expect);
    assert_eq!(daemon.api().get("/1.0/instances"), before);
}

#[test]
fn an_optimized_backup_comes_back_once_the_server_allows_it() {
    let Some(daemon) = daemon("archives") else { return };
    daemon.lxc(["storage", "create", "plain", "dir"]).clean();
    let path = daemon.scratch().join("c1.tar").display().to_string();
    daemon.lxc(["export", "c1", &path, "--optimized-storage", "--compression", "none"]).clean();
    let listed = daemon.inside("tar", ["--list", "--verbose", "--file", &path]).ok();
    let size = |name: &str| {
        let line = listed.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("no {name} in\n{listed}"));
        line.split_whitespace().nth(2).and_then(|size| size.parse::<u64>().ok()).expect("a size")
    };
    assert!(size("backup/snapshots/s2.bin") * 4 < size("backup/snapshots/s1.bin"), "{listed}");
    assert!(size("backup/container.bin") * 4 < size("backup/snapshots/s1.bin"), "{listed}");
    assert!(!listed.contains("optimized_header"), "LXD writes none for ZFS\n{listed}");
    daemon.lxc(["delete", "c1"]).clean();

    refused(&daemon, &["import", &path], &["set backups.zfs_streams=true on the server", "export it without --optimized-storage"]);
    daemon.lxc(["config", "set", "backups.zfs_streams=true"]).clean();
    refused(&daemon, &["import", &path, "--storage", "plain"], &["which a pool of driver zfs alone can receive"]);
    daemon.lxc(["import", &path]).clean();
    check(&daemon, "c1");
    daemon.lxc(["import", &path, "c2"]).clean();
    check(&daemon, "c2");
    daemon.lxc(["start", "c2"]).clean();
    assert_eq!(daemon.lxc(["exec", "c2", "--", "cat", "/root/word"]).clean(), "three");
    daemon.lxc(["delete", "--force", "c1", "c2"]).clean();

    // A user's volume, as files and as a disk.
    for (name, options) in [("files", None), ("disk", Some("--type=block"))] {
        let words = ["storage", "volume", "create", "fast", name, "size=16MiB"].into_iter().chain(options);
        daemon.lxc(words).clean();
        daemon.lxc(["storage", "volume", "snapshot", "fast", name, "s0"]).clean();
        let path = daemon.scratch().join(format!("{name}.tar")).display().to_string();
        daemon.lxc(["storage", "volume", "export", "fast", name, &path, "--optimized-storage"]).clean();
        daemon.lxc(["storage", "volume", "delete", "fast", name]).clean();
        daemon.lxc(["storage", "volume", "import", "fast", &path, name]).clean();
        daemon.lxc(["storage", "volume", "restore", "fast", name, "s0"]).clean();
        daemon.lxc(["storage", "volume", "delete", "fast", name]).clean();
    }
    daemon.lxc(["image", "delete", "small"]).clean();
    daemon.lxc(["profile", "device", "remove", "default", "root"]).clean();
    for pool in ["fast", "plain"] {
        daemon.lxc(["storage", "delete", pool]).clean();
    }
}

#[test]
fn an_instance_goes_to_another_zfs_pool_and_is_brought_up_to_date() {
    let Some(daemon) = daemon("here") else { return };
    daemon.lxc(["storage", "create", "there", "zfs", "size=1GiB", "zfs.pool_name=coffer-there"]).clean();
    daemon.lxc(["copy", "c1", "c2", "--storage", "there"]).clean();
    check(&daemon, "c2");
    daemon.lxc(["snapshot", "c1", "s3"]).clean();
    say(&daemon, "c1", "four");
    daemon.lxc(["copy", "c1", "c2", "--refresh", "--storage", "there"]).clean();
    assert_eq!(word(&daemon, "c2"), "four");
    daemon.lxc(["restore", "c2", "s3"]).clean();
    assert_eq!(word(&daemon, "c2"), "three");
    daemon.lxc(["delete", "c2"]).clean();
    say(&daemon, "c1", "three");
    daemon.lxc(["move", "c1", "--storage", "there"]).clean();
    assert_eq!(daemon.api().get("/1.0/instances/c1")["devices"]["root"]["pool"], "there");
    check(&daemon, "c1");
    daemon.lxc(["start", "c1"]).clean();
    assert_eq!(daemon.lxc(["exec", "c1", "--", "cat", "/root/word"]).clean(), "three");
    daemon.lxc(["delete", "--force", "c1"]).clean();
    daemon.lxc(["image", "delete", "small"]).clean();
    daemon.lxc(["profile", "device", "remove", "default", "root"]).clean();
    for pool in ["fast", "there"] {
        daemon.lxc(["storage", "delete", pool]).clean();
    }
}
