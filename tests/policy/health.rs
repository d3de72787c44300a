//! `health.*`.

use coffer_testkit::Daemon;

use super::{inside, set, state};
use crate::setting::{holds, ready_daemon};

#[track_caller]
fn becomes(daemon: &Daemon, name: &str, health: &str) {
    assert!(daemon.eventually(|| state(daemon, name, "health") == health), "{name} is {}: {}", state(daemon, name, "health"), daemon.log());
}

#[test]
fn commands_ports_and_http_servers_are_checked() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    assert_eq!(state(&daemon, "c1", "health"), "");
    let mut events = daemon.on_terminal(daemon.coffer(["monitor", "--type", "lifecycle", "--format", "json"]), 250, 60);
    set(&daemon, "c1", &["health.tcp=8080", "health.interval=1", "health.retries=2"]);
    becomes(&daemon, "c1", "unhealthy");
    inside(&daemon, "c1", "mkdir -p /www; echo fine > /www/ok; busybox httpd -p 127.0.0.1:8080 -h /www");
    becomes(&daemon, "c1", "healthy");
    events.expect("instance-healthy");
    holds(&daemon.coffer(["list"]).ok(), &["HEALTH", "healthy"]);
    assert_eq!(daemon.coffer(["list", "-c", "nh", "--format", "csv"]).ok(), "c1,healthy\n");
    assert_eq!(daemon.coffer(["list", "-c", "n", "--format", "csv"]).ok(), "c1\n");
    // All that are set must pass.
    set(&daemon, "c1", &["health.http=http://localhost:8080/missing"]);
    becomes(&daemon, "c1", "unhealthy");
    holds(&daemon.log(), &["http://localhost:8080/missing answered 404"]);
    set(&daemon, "c1", &["health.http=http://localhost:8080/ok", "health.exec=test -e '/a file'"]);
    becomes(&daemon, "c1", "unhealthy");
    inside(&daemon, "c1", "touch '/a file'");
    becomes(&daemon, "c1", "healthy");
    // The next daemon goes on.
    daemon.restart();
    becomes(&daemon, "c1", "healthy");
    for key in ["health.tcp", "health.http", "health.exec"] {
        daemon.coffer(["config", "unset", "c1", key]).clean();
    }
    assert_eq!(state(&daemon, "c1", "health"), "");
    for (bad, why) in [("health.tcp=web:80", "port"), ("health.http=https://localhost/", "URL"), ("health.exec='", "quote")] {
        holds(&daemon.coffer(["config", "set", "c1", bad]).fails(), &[why]);
    }
}

#[test]
fn a_check_that_hangs_is_ended_and_an_unhealthy_instance_is_restarted_where_wanted() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let pid = state(&daemon, "c1", "pid");
    // The first run hangs; after the restart all is fine.
    inside(&daemon, "c1", "touch /hang");
    let check = "health.exec=sh -c 'test -e /hang && rm /hang && exec sleep 1000; true'";
    set(&daemon, "c1", &[check, "health.timeout=1", "health.retries=1", "health.restart=true"]);
    // Both from one answer: a second one may be of a later state.
    let again = || {
        let state = daemon.instance_state("c1");
        state["pid"].as_i64().is_some_and(|now| now > 0 && now.to_string() != pid) && state["health"] == "healthy"
    };
    assert!(daemon.eventually(again), "{}", daemon.log());
    holds(&daemon.log(), &["took longer than 1 seconds"]);
}
