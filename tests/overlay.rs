//! Instances in layers: all that is done with instances, on a pool of the driver `overlay`.

use std::path::Path;

use coffer_testkit::{Daemon, Options, can_run};
use serde_json::json;

use crate::setting::holds;

fn daemon() -> Option<Daemon> {
    if !can_run() {
        return None;
    }
    let daemon = Daemon::start();
    daemon.initialise("overlay");
    daemon.import_busybox();
    Some(daemon)
}

fn sh(daemon: &Daemon, name: &str, script: &str) -> String {
    daemon.coffer(["exec", name, "--", "sh", "-c", script]).ok()
}

fn layers(daemon: &Daemon) -> usize {
    std::fs::read_dir(daemon.state_seen().join("storage-pools/default/layers")).expect("the pool's layers").count()
}

#[test]
fn instances_in_layers_live_as_others_do() {
    let Some(daemon) = daemon() else { return };
    // The image stays unpacked in the pool.
    daemon.create_instance("small", "first");
    daemon.coffer(["delete", "first"]).ok();
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    assert_eq!(sh(&daemon, "c1", "stat -c %u:%g / /etc/passwd; id -u"), "0:0\n0:0\n0\n");
    sh(&daemon, "c1", "echo one > /root/file; rm /etc/passwd; mkdir /etc/new; mv /etc/new /root/moved; chown 5:6 /root/file");
    // While it runs, and it goes on.
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    sh(&daemon, "c1", "echo two > /root/file; echo later > /root/later");
    daemon.coffer(["copy", "c1", "c2"]).ok();
    daemon.coffer(["copy", "c1/s1", "c3"]).ok();
    for name in ["c2", "c3"] {
        daemon.change_state(name, "start");
    }
    assert_eq!(sh(&daemon, "c2", "cat /root/file /root/later; ls /etc/passwd 2>&1 | grep -c No"), "two\nlater\n1\n");
    assert_eq!(sh(&daemon, "c3", "cat /root/file; stat -c %u:%g /root/file; ls -d /root/moved"), "one\n5:6\n/root/moved\n");
    daemon.coffer(["restore", "c1", "s1"]).ok();
    assert_eq!(sh(&daemon, "c1", "cat /root/file; ls /root/later 2>&1 | grep -c No"), "one\n1\n");
    // The host sees the root where LXD's users look for it.
    let root = daemon.state_seen().join("storage-pools/default/containers/c1/rootfs");
    assert!(daemon.inside("ls", [&root.display().to_string()]).ok().contains("bin"), "the merged root is mounted at its place");
    daemon.change_state("c1", "stop");
    daemon.coffer(["rename", "c1", "k1"]).ok();
    daemon.change_state("k1", "start");
    assert_eq!(sh(&daemon, "k1", "cat /root/file"), "one\n");
    for name in ["k1", "c2", "c3"] {
        daemon.coffer(["delete", "--force", name]).ok();
    }
    assert_eq!(layers(&daemon), 1, "the image's layer alone");
    daemon.expect_nothing_since(&before);
}

#[test]
fn what_was_changed_goes_into_images_backups_and_other_pools() {
    let Some(daemon) = daemon() else { return };
    daemon.run_instance("small", "c1");
    sh(&daemon, "c1", "echo mine > /root/file; rm /etc/passwd; chown 7:8 /root/file; mkdir -p /opt/deep/er");
    let looks =
        |name: &str| sh(&daemon, name, "cat /root/file; stat -c %u:%g /root/file; ls -d /opt/deep/er; ls /etc/passwd 2>&1 | grep -c No");
    let expect = looks("c1");
    // A backup of one that runs holds what it is just then.
    let file = daemon.scratch().join("c1.tar.gz").display().to_string();
    daemon.coffer(["export", "c1", &file]).ok();
    daemon.coffer(["import", &file, "imported"]).ok();
    daemon.coffer(["storage", "create", "plain", "dir"]).ok();
    daemon.coffer(["copy", "c1", "elsewhere", "--storage", "plain"]).ok();
    daemon.coffer(["copy", "elsewhere", "back", "--storage", "default"]).ok();
    daemon.change_state("c1", "stop");
    daemon.coffer(["publish", "c1", "--alias", "mine"]).ok();
    daemon.create_instance("mine", "published");
    for name in ["imported", "elsewhere", "back", "published", "c1"] {
        daemon.change_state(name, "start");
        assert_eq!(looks(name), expect, "{name}");
    }
}

#[test]
fn files_of_a_stopped_instance_in_layers_are_served() {
    let Some(daemon) = daemon() else { return };
    daemon.create_instance("small", "c1");
    let file = daemon.scratch().join("file");
    std::fs::write(&file, "pushed\n").unwrap();
    daemon.coffer(["file", "push", "--uid=5", "--gid=6", &file.display().to_string(), "c1/root/file"]).ok();
    assert_eq!(daemon.coffer(["file", "pull", "c1/root/file", "-"]).ok(), "pushed\n");
    // The server of a stopped instance's files ends before somebody else changes what it stands on.
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    daemon.coffer(["file", "delete", "c1/root/file"]).ok();
    daemon.change_state("c1", "start");
    assert!(sh(&daemon, "c1", "ls /root/file 2>&1 || true").contains("No such file"));
    daemon.coffer(["restore", "c1", "s1"]).ok();
    assert_eq!(sh(&daemon, "c1", "cat /root/file; stat -c %u:%g /root/file"), "pushed\n5:6\n");
}

#[test]
fn a_privileged_instance_in_layers_is_snapshotted_while_it_runs() {
    let Some(daemon) = daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.coffer(["config", "set", "c1", "security.privileged=true"]).ok();
    daemon.change_state("c1", "start");
    sh(&daemon, "c1", "echo one > /root/file");
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    sh(&daemon, "c1", "echo two > /root/file");
    assert_eq!(sh(&daemon, "c1", "cat /root/file"), "two\n");
    daemon.coffer(["restore", "c1", "s1"]).ok();
    assert_eq!(sh(&daemon, "c1", "cat /root/file"), "one\n");
}

#[test]
fn an_instance_in_layers_outlives_the_daemon() {
    let Some(mut daemon) = daemon() else { return };
    daemon.run_instance("small", "c1");
    sh(&daemon, "c1", "echo one > /root/file");
    daemon.kill9();
    daemon.launch();
    sh(&daemon, "c1", "echo two > /root/file");
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    sh(&daemon, "c1", "echo three > /root/file");
    daemon.coffer(["restore", "c1", "s1"]).ok();
    assert_eq!(sh(&daemon, "c1", "cat /root/file"), "two\n");
    daemon.coffer(["delete", "--force", "c1"]).ok();
}

#[test]
fn layers_inside_need_a_volume_of_their_own() {
    let Some(daemon) = daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.coffer(["config", "set", "c1", "security.nesting=true"]).ok();
    daemon.coffer(["storage", "volume", "create", "default", "docker"]).ok();
    daemon.coffer(["storage", "volume", "attach", "default", "docker", "c1", "/var/lib/docker"]).ok();
    daemon.change_state("c1", "start");
    let nest = |place: &str| {
        format!(
            "mkdir -p {place}/low {place}/up {place}/work {place}/merged && echo low > {place}/low/file && \
             mount -t overlay -o userxattr,lowerdir={place}/low,upperdir={place}/up,workdir={place}/work none {place}/merged && \
             echo high > {place}/merged/file && cat {place}/low/file {place}/up/file"
        )
    };
    assert_eq!(sh(&daemon, "c1", &nest("/var/lib/docker")), "low\nhigh\n");
    let refused = daemon.coffer(["exec", "c1", "--", "sh", "-c", &nest("/root")]).run();
    assert_ne!(refused.code, 0, "the kernel takes no layers of layers: the manual says what to do");
}

#[test]
fn two_hundred_instances_cost_about_one_image() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start();
    let supported = daemon.api().get("/1.0")["environment"]["storage_supported_drivers"].to_string();
    for driver in ["overlay", "btrfs"] {
        if !supported.contains(driver) {
            coffer_testkit::skipped(&format!("no {driver} on this host"));
            continue;
        }
        cost_about_one_image(&daemon, driver, &if driver == "btrfs" { json!({"size": "2GiB"}) } else { json!({}) });
    }
}

/// Makes two hundred instances of one image in a new pool and says what they take there.
#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
pub fn cost_about_one_image(daemon: &Daemon, driver: &str, config: &serde_json::Value) {
    const INSTANCES: usize = 200;
    if daemon.api().get("/1.0/images").as_array().is_some_and(Vec::is_empty) {
        daemon.import_busybox();
    }
    daemon.api().expect("POST", "/1.0/storage-pools", Some(&json!({"name": driver, "driver": driver, "config": config})));
    let place = daemon.state_seen().join("storage-pools").join(driver);
    let used = || used(daemon, driver, &place);
    let devices = json!({"root": {"type": "disk", "path": "/", "pool": driver}});
    let create = |number: usize| {
        let name = format!("{driver}-{number}");
        let body = json!({"name": name, "source": {"type": "image", "alias": "small"}, "devices": devices, "profiles": []});
        daemon.api().expect("POST", "/1.0/instances", Some(&body));
    };
    let empty = used();
    create(0);
    let first = used();
    (1..INSTANCES).for_each(create);
    let all = used();
    let (image, each) = (first - empty, (all - first) / (INSTANCES as u64 - 1));
    println!("{driver}: the image takes {image} KiB, {INSTANCES} instances of it {} KiB, each one more {each} KiB", all - empty);
    // A thin volume has a file system of its own, whose books are written anew when it is mounted: a few chunks of 64 KiB.
    let books = if driver == "lvm" { 512 } else { 0 };
    // On btrfs 98 or 130 KiB are seen: a node more of 16 KiB, which is kept twice. Why is not known.
    let books = if driver == "btrfs" { 192 } else { books };
    assert!(each < (image / 20).max(books), "{driver}: an instance costs {each} KiB of an image of {image} KiB");
}

/// What a pool holds on disk, in KiB.
fn used(daemon: &Daemon, driver: &str, place: &Path) -> u64 {
    if driver != "overlay" {
        // What is still to be written is not counted yet.
        daemon.inside("sync", [] as [&str; 0]).ok();
        if driver == "btrfs" {
            return used_on_btrfs(daemon, place);
        }
        let space = daemon.api().get(&format!("/1.0/storage-pools/{driver}/resources"))["space"]["used"].as_u64();
        // A number that is nothing is left out.
        return space.unwrap_or_default() / 1024;
    }
    let text = daemon.inside("du", ["--summarize", "--block-size=1024", "--one-file-system", &place.display().to_string()]).ok();
    text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// What a btrfs holds, in KiB: its free room also lacks what it reserves for itself, which grows in leaps.
fn used_on_btrfs(daemon: &Daemon, place: &Path) -> u64 {
    let text = daemon.inside("btrfs", ["filesystem", "df", "--kbytes", &place.display().to_string()]).ok();
    let kinds = text.lines().filter(|line| !line.starts_with("GlobalReserve"));
    kinds
        .map(|line| {
            let used = line.rsplit("used=").next().and_then(|used| used.split('.').next()?.parse::<u64>().ok());
            used.unwrap_or_else(|| panic!("no figure: {text}")) * if line.contains(", DUP") { 2 } else { 1 }
        })
        .sum()
}

#[test]
fn a_host_that_makes_no_btrfs_gets_layers_at_first_use() {
    if !can_run() {
        return;
    }
    let daemon = Daemon::start_with(Options::default().empty_file("/usr/sbin/mkfs.btrfs"));
    daemon.import_busybox();
    let body = json!({"name": "c1", "source": {"type": "image", "alias": "small"}});
    daemon.api().expect("POST", "/1.0/instances", Some(&body));
    assert_eq!(daemon.api().get("/1.0/storage-pools/default")["driver"], "overlay");
    holds(&daemon.coffer(["storage", "list"]).clean(), &["default", "overlay"]);
}
