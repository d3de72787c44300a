//! What operations did is remembered: who, what, when, and how it ended.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon};

#[test]
fn who_had_what_done_is_found_again() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.create_instance("small", "c2");
    daemon.coffer(["exec", "c1", "--", "true"]).ok();
    daemon.coffer(["copy", "c2", "c3"]).ok();
    daemon.change_state("c1", "stop");
    let words = |log: &Value| -> Vec<String> {
        log.as_array().into_iter().flatten().map(|entry| entry["description"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let c1 = daemon.api().get("/1.0/operations/log?instance=c1");
    assert_eq!(words(&c1), ["Stopping instance", "Executing command", "Starting instance", "Creating instance"]);
    let first = &c1[3];
    assert_eq!((&first["status"], &first["status_code"], &first["project"]), (&"Success".into(), &200.into(), &"default".into()));
    assert_eq!(first["requestor"], json!({"username": "root", "protocol": "unix", "address": "@"}));
    assert_eq!(first["resources"]["instances"], json!(["/1.0/instances/c1"]));
    assert!(first["ended_at"].as_str() > first["created_at"].as_str(), "{first}");
    // A failure with its reason; found by its status.
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"limits.memory": "4KiB"}})));
    daemon.coffer(["start", "c1"]).fails();
    let failed = daemon.api().get("/1.0/operations/log?status=failure");
    assert_eq!(words(&failed), ["Starting instance"], "{failed}");
    assert_ne!(failed[0]["err"], "");
    let csv = daemon.coffer(["operation", "log", "--instance", "c2", "--user", "root", "--since", "1h", "--format", "csv"]).clean();
    holds(&csv, &["Creating instance", "SUCCESS", "root", "c2"]);
    assert_eq!(daemon.coffer(["operation", "log", "--user", "nobody", "-f", "csv"]).clean(), "");
    assert_eq!(daemon.coffer(["operation", "log", "--since", "2099-01-01", "-f", "csv"]).clean(), "");
    holds(&daemon.coffer(["operation", "log", "--status", "doubtful"]).fails(), &["doubtful"]);
    // It is there after a restart, and has no more than was asked for.
    daemon.restart();
    let again = daemon.api().get("/1.0/operations/log?instance=c1&status=success");
    assert!(words(&again).ends_with(&words(&c1)), "{again}");
    daemon.coffer(["config", "set", "operations.log.entries=3"]).ok();
    daemon.create_instance("small", "c4");
    let few = daemon.api().get("/1.0/operations/log?all-projects=true");
    assert_eq!(few.as_array().map(Vec::len), Some(3), "{few}");
    // The genuine client's own list is what it was.
    assert!(daemon.api().get("/1.0/operations").is_object());
}

#[test]
fn who_would_wait_anyway_gets_the_end_in_the_first_answer() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let put = |action: &str, headers: &[(&str, &str)]| {
        let body = json!({"action": action, "timeout": -1}).to_string();
        daemon.api().send("PUT", "/1.0/instances/c1/state", headers, body.as_bytes()).expect("an answer")
    };
    let held = put("start", &[("Prefer", "respond-async, wait=20")]);
    assert_eq!((held.status, held.header("preference-applied")), (202, Some("wait")));
    assert_eq!((&held.json()["type"], &held.json()["metadata"]["status"]), (&"async".into(), &"Success".into()));
    assert_eq!(held.header("location"), held.json()["operation"].as_str());
    let failed = put("freeze", &[("Prefer", "wait=20")]);
    assert_eq!(failed.json()["metadata"]["status"], "Success", "{}", failed.json());
    // Nobody connects to the sockets of this one: it is told of at once.
    let exec = json!({"command": ["true"], "wait-for-websocket": true}).to_string();
    assert_eq!(put("unfreeze", &[("Prefer", "wait=20")]).json()["metadata"]["status"], "Success");
    let socket = daemon.api().send("POST", "/1.0/instances/c1/exec", &[("Prefer", "wait=3600")], exec.as_bytes()).expect("an answer");
    assert_eq!((socket.json()["metadata"]["status"].as_str(), socket.header("preference-applied")), (Some("Running"), None));
    // What takes longer than the client would wait is told of as ever.
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "kill -STOP 1"]).ok();
    let slow = put("stop", &[("Prefer", "wait=1")]);
    assert_eq!((slow.status, slow.json()["metadata"]["status"].as_str()), (202, Some("Running")));
    assert_eq!(put("stop", &[]).header("preference-applied"), None);
}

#[test]
fn our_client_starts_and_resumes_in_one_request() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let requests = |words: &[&str]| {
        let done = daemon.coffer([words, &["--debug"]].concat()).run();
        assert_eq!(done.code, 0, "{done}");
        done.stderr
    };
    let one = "PUT /1.0/instances/c1/state: 202\n";
    assert_eq!(requests(&["start", "c1"]), one);
    assert_eq!(requests(&["pause", "c1"]), one);
    assert_eq!(requests(&["start", "c1"]), one);
    assert_eq!(daemon.api().get("/1.0/instances/c1")["status"], "Running");
    assert_eq!(requests(&["stop", "--force", "c1"]), one);
    assert_eq!(requests(&["snapshot", "c1", "s1"]), "POST /1.0/instances/c1/snapshots: 202\n");
}

#[test]
fn an_operation_that_died_with_the_daemon_is_said_to_be_cancelled() {
    let Some(mut daemon) = ready_daemon() else { return };
    let fingerprint = daemon.api().get("/1.0/images")[0].as_str().expect("an image").to_owned();
    // A secret works until somebody uses it.
    let answer = daemon.api().request("POST", &format!("{fingerprint}/secret"), None).expect("an answer").json();
    let id = answer["metadata"]["id"].clone();
    let entry = |daemon: &Daemon| daemon.api().get("/1.0/operations/log?limit=1")[0].clone();
    assert_eq!((&entry(&daemon)["id"], &entry(&daemon)["status"]), (&id, &"Running".into()));
    daemon.kill9();
    daemon.launch();
    let ended = entry(&daemon);
    assert_eq!((&ended["id"], &ended["status"], &ended["status_code"]), (&id, &"Cancelled".into(), &401.into()));
    holds(ended["err"].as_str().unwrap_or_default(), &["the daemon ended"]);
}

#[test]
fn a_cancelled_operation_is_told_and_remembered() {
    let Some(daemon) = ready_daemon() else { return };
    let fingerprint = daemon.api().get("/1.0/images")[0].as_str().expect("an image").to_owned();
    let mut listener = daemon.api().events("type=lifecycle");
    let answer = daemon.api().request("POST", &format!("{fingerprint}/secret"), None).expect("an answer").json();
    let url = answer["operation"].as_str().expect("an operation").to_owned();
    daemon.api().expect("DELETE", &url, None);
    let told = listener.lifecycle("operation-cancelled");
    assert_eq!((&told["metadata"]["source"], &told["metadata"]["requestor"]["username"]), (&url.into(), &"root".into()));
    assert_eq!(daemon.api().get("/1.0/operations/log?limit=1")[0]["status"], "Cancelled");
}

#[test]
fn a_long_step_shows_its_progress_and_can_be_cancelled() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "head -c 48000000 /dev/urandom > /large"]).ok();
    daemon.change_state("c1", "stop");
    let before = daemon.api().get("/1.0/images");
    let mut listener = daemon.api().events("type=operation");
    // The slowest compressor there is: it takes seconds.
    let body = json!({"source": {"type": "instance", "name": "c1"}, "compression_algorithm": "xz -9"});
    let answer = daemon.api().request("POST", "/1.0/images", Some(&body)).expect("an answer").json();
    let url = answer["operation"].as_str().expect("an operation").to_owned();
    loop {
        let event = listener.one();
        let operation = &event["metadata"];
        assert_eq!(operation["status"], "Running", "{operation}");
        if operation["metadata"]["create_image_from_container_pack_progress"].is_string() {
            assert_eq!(operation["may_cancel"], true, "{operation}");
            assert!(operation["metadata"]["progress"]["processed"].is_string(), "{operation}");
            break;
        }
    }
    daemon.api().expect("DELETE", &url, None);
    assert_eq!(daemon.api().get(&url)["status"], "Cancelled");
    // The instance is free again as soon as the packing has ended, and nothing was published.
    assert!(daemon.eventually(|| daemon.coffer(["start", "c1"]).run().code == 0));
    assert_eq!(daemon.api().get("/1.0/images"), before);
    assert_eq!(daemon.api().get("/1.0/operations/log?status=cancelled")[0]["description"], "Publishing instance");
}
