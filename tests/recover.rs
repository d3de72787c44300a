//! After a disaster: records rebuilt from pools, configuration from a dump, and a check that finds what is amiss.

use std::fs;

use coffer_testkit::{Daemon, can_run, has_genuine_lxd};
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

#[test]
fn everything_comes_back_from_directories_after_the_database_was_lost() {
    comes_back(&Ground::of("dir"));
}

#[test]
fn everything_comes_back_from_a_btrfs_pool_after_the_database_was_lost() {
    comes_back(&Ground::of("btrfs"));
}

#[test]
fn everything_comes_back_from_an_overlay_pool_after_the_database_was_lost() {
    comes_back(&Ground::of("overlay"));
}

/// What the pool is that everything comes back from.
pub struct Ground {
    pub driver: &'static str,
    /// Its keys, which nobody has to remember but those that say what it is made of.
    pub config: Value,
    /// Whether volumes in it can be shared with unprivileged instances.
    pub maps_ids: bool,
}

impl Ground {
    fn of(driver: &'static str) -> Self {
        let config = if driver == "btrfs" { json!({"size": "2GiB"}) } else { json!({}) };
        Self { driver, config, maps_ids: true }
    }
}

/// Loses the database while one instance runs and one is stopped, and has both back.
pub fn comes_back(ground: &Ground) {
    if !can_run() {
        return;
    }
    let mut daemon = Daemon::start();
    daemon.initialise_with(ground.driver, &ground.config);
    daemon.import_busybox();
    daemon.coffer(["profile", "create", "web"]).ok();
    daemon.coffer(["launch", "small", "c1", "--profile", "default", "--profile", "web"]).ok();
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo kept > /root/kept; sync"]).ok();
    daemon.coffer(["config", "set", "c1", "limits.memory=64MiB"]).ok();
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    daemon.coffer(["storage", "volume", "create", "default", "data"]).ok();
    if ground.maps_ids {
        daemon.coffer(["storage", "volume", "attach", "default", "data", "c1", "/data"]).ok();
    }
    daemon.coffer(["stop", "--force", "c1"]).ok();
    daemon.run_instance("small", "r1");
    let (pid, address) = (daemon.instance_state("r1")["pid"].clone(), daemon.ipv4("r1", "eth0"));
    let dump = daemon.scratch().join("dump.yaml").display().to_string();
    daemon.coffer(["admin", "dump", "--output", &dump]).ok();

    daemon.stop();
    fs::remove_dir_all(daemon.state_seen().join("database")).expect("a database to lose");
    daemon.launch();
    assert_eq!(daemon.api().get("/1.0/instances"), json!([]));
    holds(&kinds(&daemon).join(" "), &["orphan-monitor", "orphan-link", "orphan-dnsmasq", "orphan-firewall-rules"]);

    let refused = match ground.config["lvm.use_thinpool"].as_str() {
        None => daemon.coffer(["admin", "recover", "--pool", &format!("default,{}", ground.driver), "--yes"]).run(),
        // That there is no thin pool has to be said.
        Some(_) => {
            let pools = json!([{"name": "default", "driver": ground.driver, "config": ground.config}]).to_string();
            daemon.coffer(["admin", "recover", "--preseed", "--yes"]).input(pools).run()
        }
    };
    assert_ne!(refused.code, 0, "{refused}");
    let words = [
        r#"Container "c1" on pool "default" in project "default" (includes 1 snapshots)"#,
        r#"Volume "data" on pool "default" in project "default""#,
        r#"Profile "web" in project "default""#,
    ];
    holds(&refused.text(), &words);
    assert_eq!(daemon.api().get("/1.0/storage-pools"), json!([]), "a refusal leaves nothing");

    daemon.coffer(["admin", "restore", "--recover", &dump]).ok();
    assert_eq!(kinds(&daemon), [""; 0], "all is as it was");
    assert_eq!(daemon.api().get("/1.0/instances"), json!(["/1.0/instances/c1", "/1.0/instances/r1"]));
    let state = daemon.instance_state("r1");
    assert_eq!((&state["status"], &state["pid"]), (&json!("Running"), &pid), "the one that ran is under control again");
    assert_eq!(daemon.ipv4("r1", "eth0"), address);
    daemon.coffer(["exec", "r1", "--", "ping", "-c", "1", "-W", "5", "10.99.7.1"]).ok();
    assert_eq!(daemon.api().get("/1.0/instances/c1")["config"]["limits.memory"], "64MiB");
    assert_eq!(daemon.api().get("/1.0/storage-pools/default/volumes/custom"), json!(["/1.0/storage-pools/default/volumes/custom/data"]));
    daemon.change_state("c1", "start");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", "/root/kept"]).ok(), "kept\n");
    assert_ne!(daemon.ipv4("c1", "eth0"), address, "nobody gets an address twice");
    daemon.change_state("c1", "stop");
    daemon.coffer(["restore", "c1", "s1"]).ok();
    holds(&daemon.coffer(["admin", "recover", "--yes"]).clean(), &["No unknown volumes found."]);
    daemon.restart();
    assert_eq!(daemon.instance_state("r1")["pid"], pid);
    daemon.coffer(["delete", "--force", "c1", "r1"]).ok();
    daemon.coffer(["storage", "volume", "delete", "default", "data"]).ok();
    daemon.expect_no_trace("c1");
    daemon.expect_no_trace("r1");
    assert_eq!(kinds(&daemon), [""; 0]);
}

/// The genuine `lxd recover` asks its questions, and our daemon does what it says.
#[test]
fn the_genuine_command_recovers_too() {
    if !has_genuine_lxd() {
        return;
    }
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.stop();
    fs::remove_dir_all(daemon.state_seen().join("database")).unwrap();
    daemon.launch();
    let source = daemon.state().join("storage-pools/default").display().to_string();
    // Another pool, its name, driver and source, no more keys, no more pools; scan; first without, then with the network.
    let answers = format!("yes\ndefault\ndir\n{source}\n\nno\nyes\nyes\n");
    let said = daemon.inside("/usr/bin/lxd", ["recover"]).input(answers).ok();
    holds(&said, &[r#"Container "c1" on pool "default" in project "default" (includes 0 snapshots)"#]);
    daemon.change_state("c1", "start");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
}

#[test]
fn a_dump_sets_up_another_server() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["profile", "create", "web"]).ok();
    daemon.coffer(["profile", "set", "web", "limits.memory", "1GiB"]).ok();
    daemon.coffer(["project", "create", "dev"]).ok();
    daemon.coffer(["profile", "create", "own", "--project", "dev"]).ok();
    daemon.api().expect("PATCH", "/1.0", Some(&json!({"config": {"core.trust_password": "sesame", "user.note": "here"}})));
    let dump = daemon.coffer(["admin", "dump"]).clean();
    assert!(!dump.contains("trust_password") && !dump.contains("sesame"), "{dump}");
    holds(&dump, &["user.note: here", "name: own", "project: dev", "name: testbr0", "name: small"]);
    let other = Daemon::start();
    let file = other.scratch().join("dump.yaml");
    fs::write(&file, &dump).unwrap();
    let done = other.coffer(["admin", "restore", &file.display().to_string()]).run();
    assert_eq!(done.code, 0, "{done}");
    holds(&done.stderr, &["Alias small was left out"]);
    let without_aliases = |dump: &str| dump.split("image_aliases:").next().map(str::to_owned).unwrap_or_default();
    assert_eq!(without_aliases(&other.coffer(["admin", "dump"]).clean()), without_aliases(&dump));
    other.import_busybox();
    // It may be said twice.
    other.coffer(["admin", "restore", &file.display().to_string()]).ok();
    assert_eq!(other.coffer(["admin", "dump"]).clean(), dump);
    let kept = other.scratch().join("kept.yaml");
    other.coffer(["admin", "dump", "--output", &kept.display().to_string()]).ok();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&kept).unwrap().permissions()) & 0o777, 0o600);
}

#[test]
fn a_server_that_is_well_is_clean_and_what_is_amiss_is_found_and_mended() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.create_instance("small", "c2");
    daemon.coffer(["snapshot", "c2", "s1"]).ok();
    daemon.coffer(["storage", "volume", "create", "default", "data"]).ok();
    daemon.api().expect("POST", "/1.0/instances/c2/backups", Some(&json!({"name": "b1"})));
    assert_eq!(daemon.coffer(["admin", "fsck"]).clean(), "clean\n");

    let state = daemon.state_seen();
    let pool = state.join("storage-pools/default");
    fs::remove_file(pool.join("containers/c2/backup.yaml")).unwrap();
    fs::remove_dir_all(pool.join("containers-snapshots/c2/s1")).unwrap();
    fs::write(state.join("backups/instances/c2/stray"), "somebody's").unwrap();
    fs::create_dir(state.join("logs/gone")).unwrap();
    fs::write(state.join("images").join("ab".repeat(32)), "somebody's").unwrap();
    fs::create_dir(pool.join("containers/lost")).unwrap();
    fs::create_dir(state.join("storage-pools/odd")).unwrap();
    let odd = daemon.state().join("storage-pools/odd").display().to_string();
    daemon.inside("mount", ["-t", "tmpfs", "none", &odd]).ok();
    daemon.inside("ip", ["link", "add", "veth0badcafe", "type", "veth", "peer", "name", "odd1"]).ok();
    daemon.inside("ip", ["link", "set", "veth0badcafe", "master", "testbr0"]).ok();
    let expect = [
        "file-without-record",
        "file-without-record",
        "orphan-directory",
        "orphan-link",
        "orphan-mount",
        "record-without-volume",
        "stale-backup-yaml",
        "volume-without-record",
    ];
    assert_eq!(kinds(&daemon), expect);
    let said = daemon.coffer(["admin", "fsck"]).run();
    assert_eq!(said.code, 1, "{said}");
    holds(&said.text(), &["its volume has no backup.yaml", "snapshot s1 of instance c2", "logs/gone", "instance volume lost"]);
    holds(&said.stderr, &["8 things are not as they should be"]);
    // Looking changes nothing.
    assert!(state.join("logs/gone").exists());
    let mended = daemon.coffer(["admin", "fsck", "--repair", "--format", "json"]).run();
    assert_eq!(mended.code, 1, "a volume that may be somebody's stays: {mended}");
    let findings: Value = serde_json::from_slice(&mended.stdout).unwrap();
    let left: Vec<&Value> = findings.as_array().unwrap().iter().filter(|finding| finding["repaired"] == false).collect();
    assert_eq!((left.len(), &left[0]["kind"]), (1, &json!("volume-without-record")), "{mended}");
    assert!(pool.join("containers/c2/backup.yaml").exists() && pool.join("containers/lost").exists());
    assert_eq!(fs::read_to_string(state.join("images/lost").join("ab".repeat(32))).unwrap(), "somebody's");
    assert_eq!(fs::read_to_string(state.join("backups/lost/c2_stray")).unwrap(), "somebody's");
    fs::remove_dir(pool.join("containers/lost")).unwrap();
    assert_eq!(daemon.coffer(["admin", "fsck"]).clean(), "clean\n");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3, "nobody was disturbed");
}

/// The kinds of what is amiss, sorted.
#[track_caller]
fn kinds(daemon: &Daemon) -> Vec<String> {
    let found = daemon.api().get("/internal/fsck");
    let mut kinds: Vec<String> =
        found.as_array().expect("a list").iter().map(|finding| finding["kind"].as_str().expect("a word").to_owned()).collect();
    kinds.sort();
    kinds
}
