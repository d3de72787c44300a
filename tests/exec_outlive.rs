//! The exit status of a command is right also when the daemon went away meanwhile.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::ready_daemon;

/// Begins a command without a client that says where it is, waits until the file `/go` is there, and ends with status 7.
#[track_caller]
fn begin(daemon: &Daemon, script: &str) -> String {
    let body = json!({"command": ["sh", "-c", script], "wait-for-websocket": false, "record-output": true, "environment": {}});
    let answer = daemon.api().request("POST", "/1.0/instances/c1/exec", Some(&body)).expect("the daemon answers");
    assert_eq!(answer.status, 202);
    answer.json()["operation"].as_str().expect("an operation").to_owned()
}

const WAITING: &str = "mkfifo /run/go; echo before; echo bad >&2; read line < /run/go; echo after; exit 7";

/// Waits until the command waits.
#[track_caller]
fn waits(daemon: &Daemon) {
    assert!(daemon.eventually(|| daemon.coffer(["exec", "c1", "--", "test", "-p", "/run/go"]).run().code == 0));
}

fn go(daemon: &Daemon) {
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "echo > /run/go"]).ok();
}

#[track_caller]
fn is_right(daemon: &Daemon, operation: &str) {
    let waited = daemon.api().get(&format!("{operation}/wait?timeout=30"));
    assert_eq!((&waited["status"], &waited["metadata"]["return"]), (&json!("Success"), &json!(7)), "{waited}");
    let got = daemon.api().get(operation);
    assert_eq!((&got["id"], &got["metadata"]["return"], &got["class"]), (&waited["id"], &json!(7), &json!("task")), "{got}");
    assert_eq!(got["resources"]["instances"], json!(["/1.0/instances/c1"]));
    let output = |stream: &str| {
        let path = got["metadata"]["output"][stream].as_str().unwrap_or_else(|| panic!("no output {stream}: {got}")).to_owned();
        String::from_utf8(daemon.api().request("GET", &path, None).expect("the daemon answers").body).expect("text")
    };
    assert_eq!((output("1").as_str(), output("2").as_str()), ("before\nafter\n", "bad\n"));
}

#[test]
fn a_command_that_still_runs_after_a_restart_or_a_kill_is_waited_for() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    for killed in [true, false] {
        let operation = begin(&daemon, &format!("rm -f /run/go; {WAITING}"));
        waits(&daemon);
        if killed {
            daemon.kill9();
            daemon.launch();
        } else {
            daemon.restart();
        }
        let running = daemon.api().get(&operation);
        assert_eq!((&running["status"], &running["metadata"]["return"]), (&json!("Running"), &Value::Null), "{running}");
        let again = daemon.api().get(&format!("{operation}/wait?timeout=0"));
        assert_eq!(again["status"], "Running", "{again}");
        go(&daemon);
        is_right(&daemon, &operation);
        daemon.coffer(["exec", "c1", "--", "rm", "/run/go"]).ok();
    }
}

#[test]
fn a_command_that_ended_meanwhile_has_its_status_and_its_output() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let operation = begin(&daemon, &format!("echo $$ > /run/pid; {WAITING}"));
    waits(&daemon);
    let pid = daemon.instance_state("c1")["pid"].as_u64().unwrap();
    daemon.kill9();
    // Nobody serves the API: the command is let go from the host.
    let root = format!("/proc/{pid}/root/run");
    daemon.inside("sh", ["-c", &format!("echo > {root}/go; while [ -d /proc/{pid}/root/proc/$(cat {root}/pid) ]; do :; done")]).ok();
    daemon.launch();
    is_right(&daemon, &operation);
}

#[test]
fn a_command_that_ended_with_its_instance_meanwhile_has_its_status() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let operation = begin(&daemon, WAITING);
    waits(&daemon);
    let pid = daemon.instance_state("c1")["pid"].as_u64().unwrap();
    daemon.kill9();
    daemon.inside("kill", ["-KILL", &pid.to_string()]).ok();
    daemon.launch();
    let waited = daemon.api().get(&format!("{operation}/wait?timeout=30"));
    assert_eq!((&waited["status"], &waited["metadata"]["return"]), (&json!("Success"), &json!(137)), "{waited}");
}

#[test]
fn a_session_of_a_client_keeps_its_operation_too() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut command = daemon.coffer(["exec", "c1", "--", "sh", "-c", WAITING]).into_command();
    let mut client = command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    waits(&daemon);
    let running = daemon.api().get("/1.0/operations?recursion=1");
    let running = running["running"].as_array().into_iter().flatten().find(|operation| operation["class"] == "websocket").cloned();
    let operation = format!("/1.0/operations/{}", running.unwrap()["id"].as_str().unwrap());
    daemon.kill9();
    daemon.launch();
    assert_eq!(daemon.api().get(&operation)["status"], "Running");
    go(&daemon);
    let waited = daemon.api().get(&format!("{operation}/wait?timeout=30"));
    assert_eq!((&waited["status"], &waited["metadata"]["return"]), (&json!("Success"), &json!(7)), "{waited}");
    assert_eq!(client.wait().unwrap().code(), Some(7), "the client asks the new daemon");
}
