//! `coffer wait`, `launch --wait` and `start --wait`.

use std::process::{Child, Stdio};

use coffer_testkit::Daemon;

use super::{inside, set};
use crate::setting::{holds, ready_daemon};

/// Begins to wait, and answers once the daemon does.
#[track_caller]
fn waiting(daemon: &Daemon, condition: &str) -> Child {
    let mut command = daemon.client_outside(["wait", "c1", condition, "--timeout", "60"]).into_command();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a client");
    let begun = || daemon.api().get("/1.0/operations?recursion=1")["running"].to_string().contains("Waiting for instance");
    assert!(daemon.eventually(begun), "{}", daemon.log());
    child
}

#[track_caller]
fn ends(child: Child, code: i32) -> String {
    let done = child.wait_with_output().expect("the client's end");
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(code), "{errors}");
    errors
}

#[test]
fn ports_commands_health_and_cloud_init_are_waited_for() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["launch", "small", "c1", "--wait", "network", "--wait", "init", "--wait-timeout", "60"]).ok();
    daemon.coffer(["wait", "c1", "ip", "ipv4", "cmd:test -d /proc/1"]).clean();
    let child = waiting(&daemon, "port:8081");
    inside(&daemon, "c1", "busybox httpd -p 127.0.0.1:8081");
    ends(child, 0);
    let child = waiting(&daemon, "cmd:test -e '/run/a file'");
    inside(&daemon, "c1", "touch '/run/a file'");
    ends(child, 0);
    holds(&daemon.coffer(["wait", "c1", "healthy"]).fails(), &["health.exec"]);
    set(&daemon, "c1", &["health.exec=test -e /run/well", "health.interval=1"]);
    let child = waiting(&daemon, "healthy");
    inside(&daemon, "c1", "touch /run/well");
    ends(child, 0);
    let done = |errors: &str| {
        let script = format!(
            "mkdir -p /run/cloud-init; echo '{{\"v1\": {{\"errors\": [{errors}]}}}}' > /run/c; mv /run/c /run/cloud-init/result.json"
        );
        inside(&daemon, "c1", &script);
    };
    let child = waiting(&daemon, "cloud-init");
    done("");
    ends(child, 0);
    done("\"no such module\"");
    holds(&daemon.coffer(["wait", "c1", "cloud-init"]).fails(), &["cloud-init ended with errors: no such module"]);
}

#[test]
fn time_that_is_over_and_instances_that_end_are_told_apart() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    holds(&daemon.coffer(["wait", "c1", "network"]).fails(), &["c1", "stopped", "start it first"]);
    let late = daemon.coffer(["start", "c1", "--wait", "port:9", "--wait-timeout", "1"]).run();
    assert_eq!(late.code, 124, "{}", late.stderr);
    holds(&late.stderr, &["instance c1: waited 1 seconds in vain for port 9"]);
    holds(&daemon.coffer(["wait", "c1", "agent"]).fails(), &["agent", "cloud-init", "port:N"]);
    daemon.api().refused("POST", "/1.0/instances/c1/wait", Some(&serde_json::json!({"conditions": []})), 400);
    daemon.api().refused("POST", "/1.0/instances/nobody/wait", Some(&serde_json::json!({"conditions": ["init"]})), 404);
    let child = waiting(&daemon, "port:9");
    daemon.change_state("c1", "stop");
    holds(&ends(child, 1), &["instance c1 ended while it was waited for"]);
}

#[test]
fn a_wait_can_be_cancelled() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let body = serde_json::json!({"conditions": ["port:9"], "timeout": 0});
    let begun = daemon.api().request("POST", "/1.0/instances/c1/wait", Some(&body)).expect("the daemon answers").json();
    let operation = begun["operation"].as_str().expect("an operation");
    assert_eq!(begun["metadata"]["may_cancel"], true, "{begun}");
    daemon.api().expect("DELETE", operation, None);
    assert_eq!(daemon.api().get(&format!("{operation}/wait?timeout=10"))["status"], "Cancelled");
}
