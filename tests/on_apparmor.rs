//! Instances where the kernel has AppArmor: the bed's does.

use coffer_testkit::{Daemon, can_run, skipped};
use serde_json::json;

use crate::setting::holds;

/// A daemon with a pool and an image whose host confines instances, if this one does.
fn daemon() -> Option<Daemon> {
    if !can_run() {
        return None;
    }
    let daemon = Daemon::start();
    if daemon.api().get("/1.0")["environment"]["kernel_features"]["apparmor"] != "true" {
        skipped("this host has no AppArmor");
        return None;
    }
    daemon.initialise_storage();
    daemon.import_busybox();
    Some(daemon)
}

/// The profiles of this daemon's instances that the kernel has, with their modes.
fn profiles(daemon: &Daemon) -> Vec<String> {
    let identity = std::fs::read_to_string(daemon.state_seen().join("server.id")).expect("the daemon's identity");
    let prefix = format!("coffer-{}-", identity.trim());
    let list = daemon.inside("cat", ["/sys/kernel/security/apparmor/profiles"]).ok();
    let mut own: Vec<String> = list.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect();
    own.sort();
    own
}

fn sh(daemon: &Daemon, name: &str, script: &str) -> String {
    daemon.coffer(["exec", name, "--", "sh", "-c", script]).ok()
}

#[test]
fn every_instance_has_a_profile_of_its_own() {
    let Some(mut daemon) = daemon() else { return };
    daemon.run_instance("small", "c1");
    assert_eq!(profiles(&daemon), ["c1 (enforce)"]);
    // Init and every command are under it.
    let label = sh(&daemon, "c1", "cat /proc/self/attr/current /proc/1/attr/current");
    let (own, init) = label.trim().split_once('\n').expect("two labels");
    assert!(own.starts_with("coffer-") && own.ends_with("-c1 (enforce)") && own == init, "{label}");

    daemon.restart();
    assert_eq!(sh(&daemon, "c1", "cat /proc/self/attr/current").trim(), own, "it is under its profile whoever serves it");
    daemon.change_state("c1", "stop");
    for length in [100, 0] {
        // What was compiled is cut off, as when the power goes.
        for kept in std::fs::read_dir(daemon.state_seen().join("security")).expect("compiled profiles").flatten() {
            let file = std::fs::File::options().write(true).open(kept.path()).expect("a compiled profile");
            file.set_len(length).expect("a shorter one");
        }
        daemon.restart();
        daemon.change_state("c1", "start");
        assert_eq!(sh(&daemon, "c1", "cat /proc/self/attr/current").trim(), own);
        daemon.change_state("c1", "stop");
    }
    daemon.coffer(["rename", "c1", "k1"]).ok();
    daemon.change_state("k1", "start");
    assert!(sh(&daemon, "k1", "cat /proc/self/attr/current").trim().ends_with("-k1 (enforce)"));
    assert_eq!(profiles(&daemon), ["k1 (enforce)"]);
    daemon.coffer(["delete", "--force", "k1"]).ok();
    assert_eq!(profiles(&daemon), [""; 0]);
    let kept = std::fs::read_dir(daemon.state_seen().join("security")).expect("a directory of compiled profiles").count();
    assert_eq!(kept, 0);
}

#[test]
fn rules_of_the_users_are_added_and_taken_away_while_it_runs() {
    let Some(daemon) = daemon() else { return };
    daemon.run_instance("small", "c1");
    let write = || daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo x > /root/locked"]).run();
    assert_eq!(write().code, 0);
    daemon.coffer(["config", "set", "c1", "raw.apparmor=audit deny /root/locked wl,"]).ok();
    let refused = write();
    assert_ne!(refused.code, 0);
    holds(&refused.stderr, &["Permission denied"]);
    // The kernel says who said no.
    let said = daemon.inside("dmesg", [] as [&str; 0]).ok();
    let denied =
        said.lines().filter(|line| line.contains("apparmor=\"DENIED\"") && line.contains("-c1\"") && line.contains("/root/locked"));
    assert!(denied.count() > 0, "{said}");
    daemon.coffer(["config", "unset", "c1", "raw.apparmor"]).ok();
    assert_eq!(write().code, 0);

    let body = json!({"config": {"raw.apparmor": "} profile /usr/bin/x { file,"}});
    let text = daemon.api().refused("PATCH", "/1.0/instances/c1", Some(&body), 400);
    holds(&text, &["raw.apparmor", "braces or quotes that do not match"]);
    // What only the compiler can know is said as well, and changes nothing.
    let body = json!({"config": {"raw.apparmor": "capability no_such_thing,"}});
    let text = daemon.api().refused("PATCH", "/1.0/instances/c1", Some(&body), 400);
    holds(&text, &["raw.apparmor", "no_such_thing"]);
    assert_eq!(daemon.api().get("/1.0/instances/c1")["config"]["raw.apparmor"], json!(null));
    assert_eq!(write().code, 0);
}

#[test]
fn what_is_the_hosts_stays_closed_to_root_whose_mounts_are_open() {
    let Some(daemon) = daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.coffer(["config", "set", "c1", "security.privileged=true"]).ok();
    daemon.change_state("c1", "start");
    // Root of the host, in effect: it opens the masked place again, and is refused there all the same.
    let before = daemon.inside("cat", ["/proc/sys/kernel/core_pattern"]).ok();
    let tries =
        "mount -o remount,bind,rw /proc/sys && touch /proc/sys/kernel/core_pattern; echo \"|/bin/x\" > /proc/sys/kernel/core_pattern";
    let refused = daemon.coffer(["exec", "c1", "--", "sh", "-c", tries]).run();
    holds(&refused.stderr, &["core_pattern: Permission denied"]);
    assert_eq!(daemon.inside("cat", ["/proc/sys/kernel/core_pattern"]).ok(), before);
    let mount = daemon.coffer(["exec", "c1", "--", "sh", "-c", "mkdir -p /mnt && mount -t tracefs none /mnt"]).run();
    holds(&mount.stderr, &["ermission denied"]);
    assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "mount -t tmpfs none /mnt && umount /mnt"]).run().code, 0);
}
