//! Events are told to who listens, in order, and to who comes back as far as they are kept.

use serde_json::json;

use crate::setting::ready_daemon;

#[test]
fn who_comes_back_hears_what_was_missed() {
    let Some(mut daemon) = ready_daemon() else { return };
    let mut listener = daemon.api().events("type=lifecycle");
    daemon.create_instance("small", "c1");
    let known = listener.lifecycle("instance-created")["sequence"].as_u64().expect("a number");
    drop(listener);
    daemon.change_state("c1", "start");
    daemon.change_state("c1", "stop");
    let mut back = daemon.api().events(&format!("type=lifecycle&since={known}"));
    let told: Vec<_> = (0..2).map(|_| back.one()["metadata"]["action"].clone()).collect();
    assert_eq!(told, ["instance-started", "instance-stopped"]);
    // What happens from then on comes after it, with growing numbers, each once.
    daemon.change_state("c1", "start");
    let mut all = daemon.api().events("since=0");
    assert_eq!(all.one()["type"], "gap");
    let mut last = 0;
    loop {
        let event = all.one();
        let sequence = event["sequence"].as_u64().expect("a number");
        assert!(last == 0 || sequence == last + 1, "{sequence} after {last}");
        last = sequence;
        if event["metadata"]["action"] == "instance-started" && sequence > known + 1 && event["type"] == "lifecycle" {
            break;
        }
    }
    // A number of another life is not mistaken for one of this: that what came since is not known is said.
    daemon.restart();
    let mut after = daemon.api().events(&format!("since={known}"));
    let gap = after.one();
    assert_eq!((&gap["type"], &gap["metadata"]["since"]), (&"gap".into(), &known.into()), "{gap}");
    assert!(gap["metadata"]["first"].as_u64() > Some(known), "{gap}");
}

#[test]
fn the_command_replays() {
    let Some(daemon) = ready_daemon() else { return };
    let mut listener = daemon.api().events("type=lifecycle");
    daemon.create_instance("small", "c1");
    let known = listener.lifecycle("instance-created")["sequence"].to_string();
    daemon.api().expect("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"user.a": "b"}})));
    let watching = daemon.coffer(["monitor", "--pretty", "--type=lifecycle", "--since", &known]);
    let mut terminal = daemon.on_terminal(watching, 200, 50);
    terminal.expect("Action: instance-updated, Source: /1.0/instances/c1");
    assert!(!terminal.screen().contains("instance-created"), "{}", terminal.screen());
}

#[test]
fn what_is_done_with_an_instance_is_told() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.run_instance("small", "c1");
    let mut listener = daemon.api().events("type=lifecycle");
    let mut told = |action: &str, source: &str| {
        let event = listener.lifecycle(action);
        assert_eq!(event["metadata"]["source"], source, "{event}");
        assert_eq!(event["metadata"]["requestor"]["username"], "root", "{event}");
        event["metadata"]["context"].clone()
    };
    daemon.coffer(["exec", "c1", "--", "true"]).ok();
    assert_eq!(told("instance-exec", "/1.0/instances/c1"), json!({"command": ["true"]}));
    daemon.coffer(["console", "c1", "--show-log"]).ok();
    told("instance-console-retrieved", "/1.0/instances/c1/console");
    daemon.api().expect("DELETE", "/1.0/instances/c1/console", None);
    told("instance-console-reset", "/1.0/instances/c1/console");
    daemon.api().get("/1.0/instances/c1/metadata");
    told("instance-metadata-retrieved", "/1.0/instances/c1/metadata");
    let backup = daemon.scratch().join("c1.tar");
    daemon.coffer(["export", "c1", &backup.display().to_string(), "--compression=none"]).ok();
    told("instance-backup-retrieved", "/1.0/instances/c1/backups");
    daemon.coffer(["export", "c1", "-", "--compression=none"]).run();
    told("instance-backup-created", "/1.0/instances/c1/backups/backup0");
    told("instance-backup-retrieved", "/1.0/instances/c1/backups/backup0");
    daemon.coffer(["image", "export", "small", &daemon.scratch().join("image").display().to_string()]).ok();
    let fingerprint = daemon.api().get("/1.0/images")[0].clone();
    told("image-retrieved", fingerprint.as_str().expect("a URL"));
}
