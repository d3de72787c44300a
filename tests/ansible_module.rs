//! Ansible's modules `community.general.lxd_container`, `lxd_profile` and `lxd_project` from PyPI work with our daemon unchanged: each
//! state, told once, and not changed when it is there already.

use coffer_testkit::{Daemon, Done, python_files};
use serde_json::{Value, json};

use crate::setting::{client_certificate, holds, ready_daemon};

/// What a module of Ansible is run on.
struct Host<'a> {
    daemon: &'a Daemon,
    /// The name of the module, without its collection.
    module: &'a str,
    /// What all of its tasks have.
    always: Value,
}

impl<'a> Host<'a> {
    /// Tasks of this module, over the socket.
    fn local(daemon: &'a Daemon, module: &'a str) -> Self {
        let url = format!("unix:{}", daemon.state_seen().join("unix.socket").display());
        Self { daemon, module, always: json!({"name": "web", "url": url}) }
    }

    /// Runs a task as Ansible does on a host: arguments on standard input, the answer on standard output.
    #[track_caller]
    fn run(&self, arguments: &Value) -> Done {
        let (python, files) = python_files().expect("looked for before");
        let mut all = self.always.clone();
        for (key, value) in arguments.as_object().expect("arguments") {
            all[key] = value.clone();
        }
        let module = format!("ansible_collections.community.general.plugins.modules.{}", self.module);
        // As an administrator would have it who trusts the server's own certificate.
        let trusted = self.daemon.state_seen().join("server.crt").display().to_string();
        let run = self.daemon.inside(&python.display().to_string(), ["-m", &module]).env("PYTHONPATH", &files.display().to_string());
        run.env("HOME", "/root").env("SSL_CERT_FILE", &trusted).input(json!({"ANSIBLE_MODULE_ARGS": all}).to_string()).run()
    }

    #[track_caller]
    fn answer(&self, arguments: &Value) -> Value {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{done}");
        serde_json::from_str(done.text().trim()).unwrap_or_else(|error| panic!("{error}: {done}"))
    }

    /// Expects that a task does this.
    #[track_caller]
    fn does(&self, arguments: &Value, actions: &Value) -> Value {
        let first = self.answer(arguments);
        assert_eq!((&first["changed"], &first["actions"]), (&json!(true), actions), "{first}");
        first
    }

    /// Expects that a task finds nothing to do.
    #[track_caller]
    fn keeps(&self, arguments: &Value) {
        let again = self.answer(arguments);
        assert_eq!((&again["changed"], &again["actions"]), (&json!(false), &json!([])), "{again}");
    }
}

#[test]
fn each_state_is_reached_and_kept() {
    if python_files().is_none() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    let source = json!({"type": "image", "mode": "pull", "alias": "small"});
    let host = Host::local(&daemon, "lxd_container");
    let started = json!({"state": "started", "source": source, "profiles": ["default"], "wait_for_ipv4_addresses": true});
    let first = host.does(&started, &json!(["create", "start"]));
    assert_eq!(first["addresses"]["eth0"][0], daemon.ipv4("web", "eth0"), "{first}");
    host.keeps(&started);
    // Configuration and devices, as playbooks have them.
    let config = json!({
        "state": "started",
        "config": {"limits.memory": "128MiB", "user.role": "web"},
        "devices": {"data": {"type": "disk", "path": "/data", "source": "/srv"}},
    });
    host.does(&config, &json!(["apply_instance_configs"]));
    host.keeps(&config);
    let web = daemon.api().get("/1.0/instances/web");
    assert_eq!((&web["config"]["user.role"], &web["devices"]["data"]["path"]), (&json!("web"), &json!("/data")), "{web}");
    host.does(&json!({"state": "frozen"}), &json!(["freeze"]));
    // The module asks again to freeze what is frozen, which is refused, as LXD does.
    host.does(&json!({"state": "started"}), &json!(["unfreeze"]));
    host.does(&json!({"state": "restarted", "force_stop": true}), &json!(["restart"]));
    host.does(&json!({"state": "stopped", "force_stop": true}), &json!(["stop"]));
    host.keeps(&json!({"state": "stopped"}));
    host.does(&json!({"state": "absent"}), &json!(["delete"]));
    host.keeps(&json!({"state": "absent"}));
    daemon.expect_nothing_since(&before);
}

#[test]
fn profiles_are_made_changed_renamed_and_deleted() {
    if python_files().is_none() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    let host = Host::local(&daemon, "lxd_profile");
    let root = json!({"root": {"type": "disk", "path": "/", "pool": "default"}});
    let made = json!({"state": "present", "description": "of a test", "config": {"limits.memory": "64MiB"}, "devices": root});
    host.does(&made, &json!(["create"]));
    host.keeps(&made);
    let changed = json!({"state": "present", "description": "of a test", "config": {"user.role": "web"}, "devices": root});
    host.does(&changed, &json!(["apply_profile_configs"]));
    host.keeps(&changed);
    let profile = daemon.api().get("/1.0/profiles/web");
    assert_eq!((&profile["config"], &profile["devices"]), (&json!({"user.role": "web"}), &root), "{profile}");
    let merged = json!({"state": "present", "merge_profile": true, "config": {"user.more": "one"}});
    host.does(&merged, &json!(["apply_profile_configs"]));
    assert_eq!(daemon.api().get("/1.0/profiles/web")["config"], json!({"user.role": "web", "user.more": "one"}));
    host.does(&json!({"state": "present", "new_name": "other"}), &json!(["rename"]));
    // What a bad key is called is told to who played it.
    let bad = host.run(&json!({"name": "bad", "state": "present", "config": {"no.such.key": "1"}}));
    assert_ne!(bad.code, 0, "{bad}");
    holds(&bad.text(), &["no.such.key"]);
    let absent = json!({"name": "other", "state": "absent"});
    host.does(&absent, &json!(["delete"]));
    host.keeps(&absent);
}

#[test]
fn projects_are_made_changed_renamed_and_deleted() {
    if python_files().is_none() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    let host = Host::local(&daemon, "lxd_project");
    let made = json!({"state": "present", "description": "of a test", "config": {"features.images": "false", "features.profiles": "true"}});
    host.does(&made, &json!(["create"]));
    host.keeps(&json!({"state": "present"}));
    // `merge_project` is left out: this module compares what it has merged with itself, and never sends it. What a task does not name
    // is off from then on.
    let wanted = json!({"features.images": "false", "features.profiles": "true", "user.note": "one"});
    let changed = json!({"state": "present", "description": "of a test", "config": wanted});
    host.does(&changed, &json!(["apply_projects_configs"]));
    host.keeps(&changed);
    let project = daemon.api().get("/1.0/projects/web");
    let config = (&project["config"]["user.note"], &project["config"]["features.images"]);
    assert_eq!(config, (&json!("one"), &json!("false")), "{project}");
    host.does(&json!({"state": "present", "new_name": "other"}), &json!(["rename"]));
    let absent = json!({"name": "other", "state": "absent"});
    host.does(&absent, &json!(["delete"]));
    host.keeps(&absent);
}

#[test]
fn another_machine_plays_over_https_with_a_certificate() {
    if python_files().is_none() {
        return;
    }
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["config", "set", "core.https_address", "127.0.0.1:8443"]).ok();
    let (certificate, key) = client_certificate(&daemon, "ansible");
    let always = json!({"name": "web", "url": "https://127.0.0.1:8443", "client_key": key, "client_cert": certificate});
    let host = Host { daemon: &daemon, module: "lxd_container", always };
    let started = json!({"state": "started", "source": {"type": "image", "mode": "pull", "alias": "small"}});
    let stranger = host.run(&started);
    assert_ne!(stranger.code, 0, "{stranger}");
    daemon.coffer(["config", "trust", "add", &certificate]).ok();
    host.does(&started, &json!(["create", "start"]));
    host.keeps(&started);
    host.does(&json!({"state": "absent", "force_stop": true}), &json!(["stop", "delete"]));
    host.keeps(&json!({"state": "absent"}));
}
