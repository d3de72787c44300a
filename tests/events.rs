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
