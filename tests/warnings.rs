//! Warnings are counted, kept over restarts, acknowledged and deleted.

use serde_json::json;

use crate::setting::{holds, ready_for_genuine_client};

#[test]
fn what_is_wrong_is_said_once_and_kept() {
    let Some(mut daemon) = ready_for_genuine_client() else { return };
    daemon.create_instance("small", "c1");
    let keys = json!({"config": {"boot.autostart": "true", "limits.memory": "4KiB"}});
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&keys));
    let warning = |daemon: &coffer_testkit::Daemon| {
        let all = daemon.api().get("/1.0/warnings?recursion=1");
        all.as_array().into_iter().flatten().find(|warning| warning["entity_url"] == "/1.0/instances/c1").cloned().unwrap_or_default()
    };
    for round in 1..=2 {
        daemon.restart();
        assert!(daemon.eventually(|| warning(&daemon)["count"] == round), "{}", daemon.api().get("/1.0/warnings?recursion=1"));
    }
    let found = warning(&daemon);
    assert_eq!(
        (&found["type"], &found["status"], &found["severity"]),
        (&"Failed to autostart instance".into(), &"new".into(), &"low".into())
    );
    assert_eq!(found["project"], "default");
    assert!(found["first_seen_at"].as_str() < found["last_seen_at"].as_str(), "{found}");
    assert_ne!(found["last_message"], "");
    let uuid = found["uuid"].as_str().expect("a name");
    holds(&daemon.lxc(["warning", "list"]).clean(), &["Failed to autostart instance", "NEW", "LOW", "default"]);
    holds(&daemon.lxc(["warning", "show", uuid]).clean(), &["count: 2", "status: new", "entity_url: /1.0/instances/c1"]);
    daemon.lxc(["warning", "acknowledge", uuid]).clean();
    assert!(!daemon.lxc(["warning", "list"]).clean().contains("autostart"));
    holds(&daemon.lxc(["warning", "list", "--all"]).clean(), &["ACKNOWLEDGED"]);
    // It stays acknowledged while it lasts, over restarts, and is over when the instance starts.
    daemon.restart();
    assert!(daemon.eventually(|| warning(&daemon)["count"] == 3));
    assert_eq!(warning(&daemon)["status"], "acknowledged");
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"limits.memory": "64MiB"}})));
    daemon.change_state("c1", "start");
    assert_eq!(warning(&daemon)["status"], "resolved");
    daemon.lxc(["warning", "delete", uuid]).clean();
    assert!(warning(&daemon).is_null());
    daemon.lxc(["warning", "delete", uuid]).fails();
    let log = daemon.coffer(["warning", "list", "--all", "--format", "csv"]).clean();
    assert!(!log.contains("autostart"), "{log}");
}
