//! `boot.autorestart`.

use super::{set, state};
use crate::setting::{holds, ready_daemon};

/// Kills an instance's init from outside, which nobody asked the daemon for.
#[track_caller]
fn kill_init(daemon: &coffer_testkit::Daemon, name: &str) -> String {
    let pid = state(daemon, name, "pid");
    daemon.inside("kill", ["-KILL", &pid]).ok();
    pid
}

#[test]
fn an_instance_that_ends_by_itself_is_started_again_and_one_that_is_stopped_is_not() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    kill_init(&daemon, "c1");
    assert!(daemon.eventually(|| state(&daemon, "c1", "status") == "Stopped"), "without the key it stays stopped");
    daemon.change_state("c1", "start");
    set(&daemon, "c1", &["boot.autorestart=true"]);
    let pid = kill_init(&daemon, "c1");
    // Both from one answer: a second one may be of a later state.
    let again = |daemon: &coffer_testkit::Daemon, pid: &str| {
        let state = daemon.instance_state("c1");
        let now = state["pid"].as_i64().unwrap_or_default();
        state["status"] == "Running" && now > 0 && now.to_string() != pid
    };
    assert!(daemon.eventually(|| again(&daemon, &pid)), "{}", daemon.log());
    daemon.change_state("c1", "stop");
    assert_eq!(state(&daemon, "c1", "status"), "Stopped");
    // Also one that ended while no daemon was there.
    daemon.change_state("c1", "start");
    let pid = state(&daemon, "c1", "pid");
    daemon.kill9();
    daemon.inside("kill", ["-KILL", &pid]).ok();
    daemon.launch();
    assert!(daemon.eventually(|| again(&daemon, &pid)), "{}", daemon.log());
}

#[test]
fn one_that_ends_again_and_again_is_given_up_with_a_warning_and_can_be_started_by_hand() {
    let Some(daemon) = ready_daemon() else { return };
    for name in ["c1", "c2"] {
        daemon.run_instance("small", name);
        set(&daemon, name, &["boot.autorestart=true"]);
        daemon
            .coffer([
                "exec",
                name,
                "--",
                "sh",
                "-c",
                "cp -P /sbin/init /init.good; rm /sbin/init; printf '#!/bin/sh\\nexit 3\\n' > /sbin/init; chmod 755 /sbin/init",
            ])
            .ok();
        kill_init(&daemon, name);
    }
    // Somebody who stops it while it waits for its next start has it stopped.
    assert!(daemon.eventually(|| daemon.coffer(["stop", "--force", "c2"]).run().code == 0), "{}", daemon.log());
    let warnings = || daemon.coffer(["warning", "list"]).ok();
    assert!(daemon.eventually(|| warnings().contains("ended too often")), "{}\n{}", warnings(), daemon.log());
    assert_eq!(state(&daemon, "c1", "status"), "Stopped");
    assert_eq!(state(&daemon, "c2", "status"), "Stopped");
    let list = daemon.api().get("/1.0/warnings?recursion=1");
    let all = list.as_array().cloned().unwrap_or_default();
    assert_eq!(all.len(), 1, "{list}");
    holds(&list.to_string(), &["/1.0/instances/c1", "10 times within a minute"]);
}
