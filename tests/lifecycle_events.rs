//! What is done is told by LXD's names: each action with its source, its context and who asked for it.

use coffer_testkit::Daemon;
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
            Step("DELETE", "/1.0/networks/br7", no(), "network-deleted", "/1.0/networks/br7", no()),
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
