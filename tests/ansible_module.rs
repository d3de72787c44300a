//! Ansible's module `community.general.lxd_container` from PyPI works with our daemon unchanged: each state, told once, and not
//! changed when it is there already.

use coffer_testkit::{Daemon, python_files};
use serde_json::{Value, json};

use crate::setting::ready_daemon;

/// Runs the module as Ansible does on a host: its arguments on standard input, its answer on standard output.
#[track_caller]
fn module(daemon: &Daemon, arguments: &Value) -> Value {
    let (python, files) = python_files().expect("looked for before");
    let mut all = json!({"name": "web", "url": format!("unix:{}", daemon.state_seen().join("unix.socket").display()), "timeout": 30});
    for (key, value) in arguments.as_object().expect("arguments") {
        all[key] = value.clone();
    }
    let words = ["-m", "ansible_collections.community.general.plugins.modules.lxd_container"];
    let run = daemon.inside(&python.display().to_string(), words).env("PYTHONPATH", &files.display().to_string()).env("HOME", "/root");
    let said = run.input(json!({"ANSIBLE_MODULE_ARGS": all}).to_string()).ok();
    serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn each_state_is_reached_and_kept() {
    if python_files().is_none() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    let source = json!({"type": "image", "mode": "pull", "alias": "small"});
    let played = |arguments: &Value, actions: &Value| {
        let first = module(&daemon, arguments);
        assert_eq!((&first["changed"], &first["actions"]), (&json!(true), actions), "{first}");
        first
    };
    let kept = |arguments: &Value| {
        let again = module(&daemon, arguments);
        assert_eq!((&again["changed"], &again["actions"]), (&json!(false), &json!([])), "{again}");
    };
    let started = json!({"state": "started", "source": source, "profiles": ["default"], "wait_for_ipv4_addresses": true});
    let first = played(&started, &json!(["create", "start"]));
    assert_eq!(first["addresses"]["eth0"][0], daemon.ipv4("web", "eth0"), "{first}");
    kept(&started);
    // Configuration and devices, as playbooks have them.
    let config = json!({
        "state": "started",
        "config": {"limits.memory": "128MiB", "user.role": "web"},
        "devices": {"data": {"type": "disk", "path": "/data", "source": "/srv"}},
    });
    played(&config, &json!(["apply_instance_configs"]));
    kept(&config);
    let web = daemon.api().get("/1.0/instances/web");
    assert_eq!((&web["config"]["user.role"], &web["devices"]["data"]["path"]), (&json!("web"), &json!("/data")), "{web}");
    played(&json!({"state": "frozen"}), &json!(["freeze"]));
    // The module asks again to freeze what is frozen, which is refused, as LXD does.
    played(&json!({"state": "started"}), &json!(["unfreeze"]));
    played(&json!({"state": "restarted", "force_stop": true}), &json!(["restart"]));
    played(&json!({"state": "stopped", "force_stop": true}), &json!(["stop"]));
    kept(&json!({"state": "stopped"}));
    played(&json!({"state": "absent"}), &json!(["delete"]));
    kept(&json!({"state": "absent"}));
    daemon.expect_nothing_since(&before);
}
