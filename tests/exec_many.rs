//! Commands without a client, many at a time, and with clients that do not read.

use std::io::Read;
use std::process::{Child, Stdio};

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

/// Runs a command in the background and answers its operation once it has ended.
#[track_caller]
fn background(daemon: &Daemon, script: &str, more: Value) -> Value {
    let mut body = json!({"command": ["sh", "-c", script], "wait-for-websocket": false, "record-output": true, "environment": {}});
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    daemon.api().expect("POST", "/1.0/instances/c1/exec", Some(&body))["metadata"].clone()
}

/// What a stream of a recorded command holds.
#[track_caller]
fn recorded(daemon: &Daemon, metadata: &Value, stream: &str) -> Vec<u8> {
    let path = metadata["output"][stream].as_str().unwrap_or_else(|| panic!("no recorded output {stream}: {metadata}"));
    let answer = daemon.api().request("GET", path, None).unwrap_or_else(|error| panic!("GET {path}: {error}"));
    assert_eq!(answer.status, 200, "{path}");
    answer.body
}

#[test]
fn output_is_recorded_with_status_user_and_directory() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let more = json!({"user": 1000, "group": 1001, "cwd": "/tmp", "environment": {"COLOUR": "blue"}});
    let metadata = background(&daemon, "echo $COLOUR; pwd; id -u; id -g; echo oops >&2; exit 5", more);
    assert_eq!(metadata["return"], 5);
    assert_eq!(recorded(&daemon, &metadata, "1"), b"blue\n/tmp\n1000\n1001\n");
    assert_eq!(recorded(&daemon, &metadata, "2"), b"oops\n");
    // Newer clients look for them elsewhere.
    let listed = daemon.api().get("/1.0/instances/c1/logs/exec-output");
    let listed: Vec<&str> = listed.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    for path in listed {
        assert_eq!(daemon.api().request("GET", path, None).map(|answer| answer.status).ok(), Some(200), "{path}");
        daemon.api().expect("DELETE", path, None);
        daemon.api().refused("GET", path, None, 404);
    }
    daemon.api().refused("GET", "/1.0/instances/c1/logs/exec-output/console.log", None, 404);
    assert_eq!(background(&daemon, "kill -9 $$", json!({}))["return"], 137);
}

#[test]
fn a_flood_is_recorded_up_to_a_limit_and_does_not_hold_up_the_command() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let metadata = background(&daemon, "head -c 100000000 /dev/zero; exit 3", json!({}));
    assert_eq!(metadata["return"], 3);
    let name = metadata["output"]["1"].as_str().and_then(|path| path.rsplit('/').next()).unwrap().to_owned();
    let file = daemon.state_seen().join("logs/c1").join(name);
    let size = std::fs::metadata(&file).unwrap().len();
    assert!((64 << 20..65 << 20).contains(&size), "{size}");
}

#[test]
fn a_hundred_at_once_each_get_their_own() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    std::thread::scope(|scope| {
        for number in 0..100_i32 {
            let daemon = &daemon;
            scope.spawn(move || {
                let script = format!("cat; echo {number}; exit {}", number % 50);
                let done = daemon.client_outside(["exec", "c1", "--", "sh", "-c", &script]).input(format!("input {number}\n")).run();
                assert_eq!((done.code, done.text()), (number % 50, format!("input {number}\n{number}\n")), "{}", done.stderr);
            });
        }
    });
    let left = daemon.coffer(["exec", "c1", "--", "sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).ok();
    assert!(left.trim().parse::<u32>().is_ok_and(|count| count < 15), "{left}");
}

/// The memory of a process that is its own, in KiB.
fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn a_client_that_stops_reading_stops_its_command_and_costs_no_memory() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let before = memory(daemon.pid());
    let mut clients: Vec<Child> = Vec::new();
    for _ in 0..10 {
        let mut command = daemon.client_outside(["exec", "c1", "--", "cat", "/dev/zero"]).into_command();
        let mut client = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        // The first bytes are through: from here on nobody reads.
        client.stdout.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
        clients.push(client);
    }
    // Each command has written what fits on the way, and waits: what it wrote grows no more.
    let written = || daemon.coffer(["exec", "c1", "--", "sh", "-c", "cat /proc/[0-9]*/io 2>/dev/null | grep wchar | sort"]).ok();
    let waiting = || {
        daemon.coffer(["exec", "c1", "--", "sh", "-c", "grep -l '^State:.S' /proc/[0-9]*/status | xargs grep -l '^Name:.cat' | wc -l"]).ok()
    };
    assert!(daemon.eventually(|| waiting().trim() == "10"), "{}\n{}", waiting(), written());
    let grown = memory(daemon.pid()).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
    for mut client in clients {
        let _ = client.kill();
        let _ = client.wait();
    }
    assert!(daemon.eventually(|| waiting().trim() == "0"), "{}", waiting());
    holds(&daemon.coffer(["exec", "c1", "--", "echo", "fine"]).ok(), &["fine"]);
}
