//! What is done is told by LXD's names: each action with its source, its context and who asked for it.

use coffer_testkit::{Authority, Daemon, Events};
use serde_json::{Value, json};

use crate::setting::ready_daemon;

/// A request, and what is to be told of it.
struct Step(&'static str, &'static str, Value, &'static str, &'static str, Value);

#[track_caller]
fn walk(daemon: &Daemon, steps: &[Step]) {
    let mut listener = daemon.api().events("type=lifecycle&all-projects=true");
    for Step(method, path, body, action, source, context) in steps {
        daemon.api().expect(method, path, (!body.is_null()).then_some(body));
        let event = listener.lifecycle(action);
        let told = &event["metadata"];
        assert_eq!(told["source"], *source, "{event}");
        assert_eq!(told["requestor"], json!({"username": "root", "protocol": "unix", "address": "@"}), "{event}");
        assert_eq!(told.get("context").unwrap_or(&Value::Null), context, "{event}");
    }
}

#[test]
fn instances_snapshots_and_backups() {
    let Some(daemon) = ready_daemon() else { return };
    let source = json!({"type": "image", "alias": "small"});
    let no = || Value::Null;
    let state = |action: &str| json!({"action": action, "timeout": 30, "force": true});
    let c1 = "/1.0/instances/c1";
    walk(
        &daemon,
        &[
            Step("POST", "/1.0/instances", json!({"name": "c0", "source": source}), "instance-created", "/1.0/instances/c0", no()),
            Step("POST", "/1.0/instances/c0", json!({"name": "c1"}), "instance-renamed", c1, json!({"old_name": "c0"})),
            Step("PATCH", c1, json!({"config": {"user.a": "b"}}), "instance-updated", c1, no()),
            Step(
                "POST",
                "/1.0/instances/c1/snapshots",
                json!({"name": "s0"}),
                "instance-snapshot-created",
                "/1.0/instances/c1/snapshots/s0",
                no(),
            ),
            Step(
                "POST",
                "/1.0/instances/c1/snapshots/s0",
                json!({"name": "s1"}),
                "instance-snapshot-renamed",
                "/1.0/instances/c1/snapshots/s1",
                json!({"old_name": "s0"}),
            ),
            Step(
                "PUT",
                "/1.0/instances/c1/snapshots/s1",
                json!({"expires_at": "2099-01-01T00:00:00Z"}),
                "instance-snapshot-updated",
                "/1.0/instances/c1/snapshots/s1",
                no(),
            ),
            Step("PUT", c1, json!({"restore": "s1"}), "instance-restored", c1, json!({"snapshot": "s1"})),
            Step("DELETE", "/1.0/instances/c1/snapshots/s1", no(), "instance-snapshot-deleted", "/1.0/instances/c1/snapshots/s1", no()),
            Step(
                "POST",
                "/1.0/instances/c1/backups",
                json!({"name": "b0"}),
                "instance-backup-created",
                "/1.0/instances/c1/backups/b0",
                no(),
            ),
            Step(
                "POST",
                "/1.0/instances/c1/backups/b0",
                json!({"name": "b1"}),
                "instance-backup-renamed",
                "/1.0/instances/c1/backups/b1",
                json!({"old_name": "b0"}),
            ),
            Step("DELETE", "/1.0/instances/c1/backups/b1", no(), "instance-backup-deleted", "/1.0/instances/c1/backups/b1", no()),
            Step("PUT", "/1.0/instances/c1/state", state("start"), "instance-started", c1, no()),
            Step("PUT", "/1.0/instances/c1/state", state("freeze"), "instance-paused", c1, no()),
            Step("PUT", "/1.0/instances/c1/state", state("unfreeze"), "instance-resumed", c1, no()),
            Step("PUT", "/1.0/instances/c1/state", state("restart"), "instance-restarted", c1, no()),
            Step("PUT", "/1.0/instances/c1/state", state("stop"), "instance-stopped", c1, no()),
            Step("DELETE", c1, no(), "instance-deleted", c1, no()),
        ],
    );
}

#[test]
fn what_instances_are_made_of() {
    let Some(daemon) = ready_daemon() else { return };
    let no = || Value::Null;
    let image = daemon.api().get("/1.0/images")[0].as_str().expect("an image").to_owned();
    let fingerprint = image.trim_start_matches("/1.0/images/");
    let target = || json!({ "target": fingerprint });
    let image: &'static str = Box::leak(image.clone().into_boxed_str());
    let volumes = "/1.0/storage-pools/default/volumes/custom";
    walk(
        &daemon,
        &[
            Step(
                "POST",
                "/1.0/images/aliases",
                json!({"name": "a0", "target": fingerprint}),
                "image-alias-created",
                "/1.0/images/aliases/a0",
                target(),
            ),
            Step(
                "PUT",
                "/1.0/images/aliases/a0",
                json!({"target": fingerprint}),
                "image-alias-updated",
                "/1.0/images/aliases/a0",
                target(),
            ),
            Step(
                "POST",
                "/1.0/images/aliases/a0",
                json!({"name": "a1"}),
                "image-alias-renamed",
                "/1.0/images/aliases/a1",
                json!({"old_name": "a0"}),
            ),
            Step("DELETE", "/1.0/images/aliases/a1", no(), "image-alias-deleted", "/1.0/images/aliases/a1", target()),
            Step("PATCH", image, json!({"properties": {"a": "b"}}), "image-updated", image, no()),
            Step("POST", "/1.0/profiles", json!({"name": "p0"}), "profile-created", "/1.0/profiles/p0", no()),
            Step("PATCH", "/1.0/profiles/p0", json!({"description": "x"}), "profile-updated", "/1.0/profiles/p0", no()),
            Step("POST", "/1.0/profiles/p0", json!({"name": "p1"}), "profile-renamed", "/1.0/profiles/p1", json!({"old_name": "p0"})),
            Step("DELETE", "/1.0/profiles/p1", no(), "profile-deleted", "/1.0/profiles/p1", no()),
            Step("POST", "/1.0/projects", json!({"name": "q0"}), "project-created", "/1.0/projects/q0", no()),
            Step("PATCH", "/1.0/projects/q0", json!({"description": "x"}), "project-updated", "/1.0/projects/q0", no()),
            Step("POST", "/1.0/projects/q0", json!({"name": "q1"}), "project-renamed", "/1.0/projects/q1", json!({"old_name": "q0"})),
            Step("POST", "/1.0/profiles?project=q1", json!({"name": "p0"}), "profile-created", "/1.0/profiles/p0?project=q1", no()),
            Step("DELETE", "/1.0/profiles/p0?project=q1", no(), "profile-deleted", "/1.0/profiles/p0?project=q1", no()),
            Step("DELETE", "/1.0/projects/q1", no(), "project-deleted", "/1.0/projects/q1", no()),
            Step("POST", "/1.0/networks", json!({"name": "br7", "type": "bridge"}), "network-created", "/1.0/networks/br7", no()),
            Step("PATCH", "/1.0/networks/br7", json!({"description": "x"}), "network-updated", "/1.0/networks/br7", no()),
            Step("POST", "/1.0/networks/br7", json!({"name": "br8"}), "network-renamed", "/1.0/networks/br8", json!({"old_name": "br7"})),
            Step("DELETE", "/1.0/networks/br8", no(), "network-deleted", "/1.0/networks/br8", no()),
            Step(
                "POST",
                "/1.0/storage-pools",
                json!({"name": "two", "driver": "dir"}),
                "storage-pool-created",
                "/1.0/storage-pools/two",
                no(),
            ),
            Step("PATCH", "/1.0/storage-pools/two", json!({"description": "x"}), "storage-pool-updated", "/1.0/storage-pools/two", no()),
            Step("DELETE", "/1.0/storage-pools/two", no(), "storage-pool-deleted", "/1.0/storage-pools/two", no()),
            Step("POST", volumes, json!({"name": "v1"}), "storage-volume-created", "/1.0/storage-pools/default/volumes/custom/v1", no()),
            Step(
                "PATCH",
                "/1.0/storage-pools/default/volumes/custom/v1",
                json!({"description": "x"}),
                "storage-volume-updated",
                "/1.0/storage-pools/default/volumes/custom/v1",
                no(),
            ),
            Step(
                "DELETE",
                "/1.0/storage-pools/default/volumes/custom/v1",
                no(),
                "storage-volume-deleted",
                "/1.0/storage-pools/default/volumes/custom/v1",
                no(),
            ),
            Step("PATCH", "/1.0", json!({"config": {"user.a": "b"}}), "config-updated", "/1.0", no()),
            Step("DELETE", image, no(), "image-deleted", image, no()),
        ],
    );
}

/// Expects that something is told next, by its name.
#[track_caller]
fn expect_told(listener: &mut Events, action: &str, source: &str, context: &Value) {
    let event = listener.lifecycle(action);
    let told = &event["metadata"];
    assert_eq!((&told["source"], told.get("context").unwrap_or(&Value::Null)), (&json!(source), context), "{event}");
    assert_eq!(told["requestor"]["username"], "root", "{event}");
}

#[test]
fn volumes_their_snapshots_and_backups() {
    let Some(daemon) = ready_daemon() else { return };
    let no = || Value::Null;
    let volumes = "/1.0/storage-pools/default/volumes/custom";
    const V1: &str = "/1.0/storage-pools/default/volumes/custom/v1";
    const S0: &str = "/1.0/storage-pools/default/volumes/custom/v1/snapshots/s0";
    const S1: &str = "/1.0/storage-pools/default/volumes/custom/v1/snapshots/s1";
    const B0: &str = "/1.0/storage-pools/default/volumes/custom/v1/backups/b0";
    const B1: &str = "/1.0/storage-pools/default/volumes/custom/v1/backups/b1";
    const SNAPSHOTS: &str = "/1.0/storage-pools/default/volumes/custom/v1/snapshots";
    const BACKUPS: &str = "/1.0/storage-pools/default/volumes/custom/v1/backups";
    let named = |name: &str| json!({ "name": name });
    walk(
        &daemon,
        &[
            Step("POST", volumes, named("v0"), "storage-volume-created", "/1.0/storage-pools/default/volumes/custom/v0", no()),
            Step(
                "POST",
                "/1.0/storage-pools/default/volumes/custom/v0",
                named("v1"),
                "storage-volume-renamed",
                V1,
                json!({"old_name": "v0"}),
            ),
            Step("POST", SNAPSHOTS, named("s0"), "storage-volume-snapshot-created", S0, no()),
            Step("POST", S0, named("s1"), "storage-volume-snapshot-renamed", S1, json!({"old_name": "s0"})),
            Step("PUT", S1, json!({"description": "x"}), "storage-volume-snapshot-updated", S1, no()),
            Step("PUT", V1, json!({"restore": "s1"}), "storage-volume-restored", V1, json!({"snapshot": "s1"})),
            Step("DELETE", S1, no(), "storage-volume-snapshot-deleted", S1, no()),
            Step("POST", BACKUPS, named("b0"), "storage-volume-backup-created", B0, no()),
            Step("POST", B0, named("b1"), "storage-volume-backup-renamed", B1, json!({"old_name": "b0"})),
        ],
    );
    let mut listener = daemon.api().events("type=lifecycle");
    daemon.api().request("GET", &format!("{B1}/export"), None).expect("an answer");
    expect_told(&mut listener, "storage-volume-backup-retrieved", B1, &no());
    walk(&daemon, &[Step("DELETE", B1, no(), "storage-volume-backup-deleted", B1, no())]);
}

#[test]
fn what_is_looked_at_and_changed_inside() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut listener = daemon.api().events("type=lifecycle");
    let mut use_it = |method: &str, path: &str, body: &[u8], action: &str, source: &str, context: Value| {
        let answer = daemon.api().send(method, path, &[], body).expect("an answer");
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        expect_told(&mut listener, action, source, &context);
        answer
    };
    let (c1, file) = ("/1.0/instances/c1", "/1.0/instances/c1/files?path=/tmp/x");
    use_it("POST", file, b"hello", "instance-file-pushed", c1, json!({"path": "/tmp/x"}));
    use_it("GET", file, b"", "instance-file-retrieved", c1, json!({"path": "/tmp/x"}));
    use_it("DELETE", file, b"", "instance-file-deleted", c1, json!({"path": "/tmp/x"}));
    let metadata = "/1.0/instances/c1/metadata";
    let text = use_it("GET", metadata, b"", "instance-metadata-retrieved", metadata, Value::Null).json()["metadata"].to_string();
    use_it("PUT", metadata, text.as_bytes(), "instance-metadata-updated", metadata, Value::Null);
    let template = "/1.0/instances/c1/metadata/templates?path=t.tpl";
    use_it("POST", template, b"text", "instance-metadata-template-created", template, Value::Null);
    use_it("GET", template, b"", "instance-metadata-template-retrieved", template, Value::Null);
    use_it("DELETE", template, b"", "instance-metadata-template-deleted", template, Value::Null);
    let console = "/1.0/instances/c1/console";
    use_it("GET", console, b"", "instance-console-retrieved", console, Value::Null);
    use_it("DELETE", console, b"", "instance-console-reset", console, Value::Null);
    let command = json!({"command": ["true"], "record-output": true, "interactive": false, "wait-for-websocket": false});
    let exec = use_it("POST", "/1.0/instances/c1/exec", command.to_string().as_bytes(), "instance-exec", c1, json!({"command": ["true"]}));
    let operation = exec.json()["operation"].as_str().expect("an operation").to_owned();
    let done = daemon.api().get(&format!("{operation}/wait"));
    let log = done["metadata"]["output"]["1"].as_str().expect("recorded output").to_owned();
    use_it("GET", &log, b"", "instance-log-retrieved", &log, Value::Null);
    use_it("DELETE", &log, b"", "instance-log-deleted", &log, Value::Null);
    let image = daemon.api().get("/1.0/images")[0].as_str().expect("an image").to_owned();
    use_it("POST", &format!("{image}/secret"), b"", "image-secret-created", &image, Value::Null);
    use_it("GET", &format!("{image}/export"), b"", "image-retrieved", &image, Value::Null);
}

#[test]
fn certificates_and_warnings() {
    let Some(mut daemon) = ready_daemon() else { return };
    let (file, _) = Authority::new(&daemon.scratch()).files("me");
    let text = std::fs::read_to_string(file).expect("a certificate");
    let der: String = text.lines().filter(|line| !line.starts_with("---")).collect();
    let mut listener = daemon.api().events("type=lifecycle");
    daemon.api().expect("POST", "/1.0/certificates", Some(&json!({"name": "n0", "type": "client", "certificate": der})));
    let certificate = daemon.api().get("/1.0/certificates")[0].as_str().expect("a certificate").to_owned();
    expect_told(&mut listener, "certificate-created", &certificate, &Value::Null);
    daemon.api().expect("PATCH", &certificate, Some(&json!({"name": "n1"})));
    expect_told(&mut listener, "certificate-updated", &certificate, &Value::Null);
    daemon.api().expect("DELETE", &certificate, None);
    expect_told(&mut listener, "certificate-deleted", &certificate, &Value::Null);

    daemon.create_instance("small", "c1");
    let keys = json!({"config": {"boot.autostart": "true", "limits.memory": "4KiB"}});
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&keys));
    daemon.restart();
    let warning = || {
        let all = daemon.api().get("/1.0/warnings?recursion=1");
        let found = all.as_array().into_iter().flatten().find(|warning| warning["entity_url"] == "/1.0/instances/c1");
        found.map(|warning| format!("/1.0/warnings/{}", warning["uuid"].as_str().unwrap_or_default()))
    };
    assert!(daemon.eventually(|| warning().is_some()), "{}", daemon.api().get("/1.0/warnings?recursion=1"));
    let warning = warning().expect("it was there");
    let mut listener = daemon.api().events("type=lifecycle");
    for (status, action) in [("acknowledged", "warning-acknowledged"), ("new", "warning-reset")] {
        daemon.api().expect("PUT", &warning, Some(&json!({ "status": status })));
        expect_told(&mut listener, action, &warning, &Value::Null);
    }
    daemon.api().expect("DELETE", &warning, None);
    expect_told(&mut listener, "warning-deleted", &warning, &Value::Null);
}
