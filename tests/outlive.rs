//! Instances live on when the daemon does not, and the next daemon finds them.

use coffer_testkit::Daemon;

use crate::setting::ready_daemon;

/// Looks at a running instance from all sides.
#[track_caller]
fn is_under_control(daemon: &Daemon, pid: &serde_json::Value) {
    let state = daemon.instance_state("c1");
    assert_eq!(state["status"], "Running", "{state}");
    assert_eq!(&state["pid"], pid, "another process than before");
    assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
}

#[test]
fn a_stop_of_the_daemon_stops_no_instance() {
    let Some(mut daemon) = ready_daemon() else { return };
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    let pid = daemon.instance_state("c1")["pid"].clone();
    daemon.restart();
    is_under_control(&daemon, &pid);
    daemon.restart();
    is_under_control(&daemon, &pid);
    daemon.change_state("c1", "stop");
    assert_eq!(daemon.instance_state("c1")["status"], "Stopped");
    daemon.api().expect("DELETE", "/1.0/instances/c1", None);
    daemon.expect_nothing_since(&before);
}

#[test]
fn a_killed_daemon_is_replaced_without_anyone_noticing() {
    let Some(mut daemon) = ready_daemon() else { return };
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    let address = daemon.ipv4("c1", "eth0");
    let pid = daemon.instance_state("c1")["pid"].clone();
    daemon.kill9();
    daemon.launch();
    is_under_control(&daemon, &pid);
    assert_eq!(daemon.ipv4("c1", "eth0"), address);
    daemon.coffer(["exec", "c1", "--", "ping", "-c", "1", "-W", "5", "10.99.7.1"]).ok();
    daemon.coffer(["restart", "--force", "c1"]).clean();
    daemon.coffer(["delete", "--force", "c1"]).clean();
    daemon.expect_nothing_since(&before);
}

#[test]
fn a_command_that_runs_in_an_instance_runs_on() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut session = daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo $$ > /run/session; exec sleep 100000"]).into_command();
    let mut session = session.stdin(std::process::Stdio::null()).spawn().unwrap();
    let started = || daemon.coffer(["exec", "c1", "--", "cat", "/run/session"]).run();
    assert!(daemon.eventually(|| !started().text().trim().is_empty()));
    let number = started().text().trim().to_owned();
    daemon.kill9();
    let _ = session.kill();
    let _ = session.wait();
    daemon.launch();
    assert_eq!(daemon.coffer(["exec", "c1", "--", "cat", &format!("/proc/{number}/comm")]).ok(), "sleep\n");
}

#[test]
fn an_instance_that_ended_meanwhile_is_found_stopped() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let pid = daemon.instance_state("c1")["pid"].as_u64().unwrap();
    daemon.kill9();
    daemon.inside("kill", ["-KILL", &pid.to_string()]).ok();
    daemon.launch();
    assert!(daemon.eventually(|| daemon.instance_state("c1")["status"] == "Stopped"), "{}", daemon.instance_state("c1"));
    daemon.change_state("c1", "start");
    assert_eq!(daemon.instance_state("c1")["status"], "Running");
}

#[test]
fn the_console_log_spans_daemons() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo before-the-restart > /dev/console"]).ok();
    daemon.kill9();
    daemon.launch();
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo after-the-restart > /dev/console"]).ok();
    let log = || daemon.coffer(["console", "c1", "--show-log"]).ok();
    assert!(daemon.eventually(|| log().contains("after-the-restart")), "{}", log());
    assert!(log().contains("before-the-restart"), "{}", log());
}

#[test]
fn a_shutdown_stops_the_instances_too() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["admin", "shutdown", "--timeout", "60"]).ok();
    assert!(daemon.wait_end(std::time::Duration::from_secs(30)), "{}", daemon.log());
    assert!(daemon.world().about("coffer-monitor").is_empty(), "{:?}", daemon.world().about("coffer-monitor"));
    let left: Vec<_> = daemon.pen().cgroups().into_iter().map(|group| group.join("coffer")).filter(|group| group.exists()).collect();
    assert!(left.is_empty(), "control groups stay: {left:?}");
    daemon.launch();
    // What ran before the shutdown runs again after it, as after a reboot of the host.
    let state = daemon.instance_state("c1")["status"].clone();
    assert!(state == "Running" || state == "Stopped", "{state}");
}

#[test]
fn the_database_can_be_rebuilt_from_the_instances() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    daemon.coffer(["config", "set", "c1", "user.colour=blue"]).clean();
    let backup = daemon.state_seen().join("storage-pools/default/containers/c1/backup.yaml");
    let text = std::fs::read_to_string(&backup).unwrap_or_else(|error| panic!("{}: {error}", backup.display()));
    crate::setting::holds(&text, &["name: c1", "user.colour: blue", "image.os: busybox", "name: default"]);
}

#[test]
fn files_of_what_runs_are_in_memory_once_and_gone_with_the_last_instance() {
    let Some(mut daemon) = ready_daemon() else { return };
    let mounts = |daemon: &Daemon| {
        let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", daemon.pen().pid())).unwrap();
        let state = daemon.state();
        let on = |line: &&str| ["run", "devlxd"].iter().any(|name| line.contains(&format!(" {} ", state.join(name).display())));
        table.lines().filter(on).filter(|line| line.contains(" - tmpfs ")).count()
    };
    daemon.run_instance("small", "c1");
    let pid = daemon.instance_state("c1")["pid"].clone();
    assert_eq!(mounts(&daemon), 2);
    daemon.kill9();
    daemon.launch();
    is_under_control(&daemon, &pid);
    assert_eq!(mounts(&daemon), 2);
    daemon.api().expect("PUT", "/internal/shutdown", None);
    assert!(daemon.wait_end(std::time::Duration::from_secs(60)));
    assert_eq!(mounts(&daemon), 0);
}
