//! The requests of Ansible's module `community.general.lxd_container`, one after the other as it sends them, for each state it
//! knows: also where PyPI cannot be reached. The module itself runs in `ansible_module`.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::ready_daemon;

/// The module as it stands in a playbook, bound to one instance.
struct Module<'d> {
    daemon: &'d Daemon,
    endpoint: &'static str,
    name: &'static str,
}

/// What one call of the module did.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    old_state: &'static str,
    actions: Vec<&'static str>,
}

impl Module<'_> {
    /// Sends a request as the module does: an operation is waited for by its own URL, and must have ended in success.
    #[track_caller]
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.daemon.api().request(method, path, body).expect("an answer").json();
        if answer["type"] != "async" {
            assert_eq!(answer["type"], "sync", "{method} {path}: {answer}");
            return answer;
        }
        let operation = answer["operation"].as_str().expect("an operation");
        let end = self.daemon.api().request("GET", &format!("{operation}/wait"), None).expect("an answer").json();
        assert_eq!(end["metadata"]["status"], "Success", "{method} {path}: {end}");
        end
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/{}{rest}", self.endpoint, self.name)
    }

    /// What there is of the instance, and the module's word for its state. A missing one is told by the code in the answer.
    fn look(&self) -> (Value, &'static str) {
        let answer = self.daemon.api().request("GET", &self.url(""), None).expect("an answer").json();
        if answer["type"] == "error" {
            assert_eq!(answer["error_code"], 404, "{answer}");
            return (Value::Null, "absent");
        }
        let state = match answer["metadata"]["status"].as_str() {
            Some("Running") => "started",
            Some("Stopped") => "stopped",
            Some("Frozen") => "frozen",
            other => panic!("the module has no word for {other:?}"),
        };
        (answer["metadata"].clone(), state)
    }

    fn change_state(&self, action: &str, force: bool) {
        let mut body = json!({"action": action, "timeout": 30});
        if force {
            body["force"] = json!(true);
        }
        self.send("PUT", &self.url("/state"), Some(&body));
    }

    /// Brings the instance to a state with a configuration, by the module's own table.
    #[track_caller]
    fn run(&self, wanted: &str, config: &Value) -> Outcome {
        let (old, old_state) = self.look();
        let mut actions = Vec::new();
        let mut act = |action: &'static str| {
            match action {
                "create" => {
                    let mut body = config.clone();
                    body["name"] = json!(self.name);
                    self.send("POST", self.endpoint, Some(&body));
                }
                "delete" => drop(self.send("DELETE", &self.url(""), None)),
                "stop" => self.change_state("stop", true),
                other => self.change_state(other, false),
            }
            actions.push(action);
        };
        match (old_state, wanted) {
            ("absent", "absent") | ("started", "started") | ("stopped", "stopped") | ("frozen", "frozen") => {}
            ("absent", "started" | "restarted") => ["create", "start"].into_iter().for_each(&mut act),
            ("absent", "stopped") => act("create"),
            ("absent", "frozen") => ["create", "start", "freeze"].into_iter().for_each(&mut act),
            ("frozen", "started") => act("unfreeze"),
            ("frozen", "stopped") => ["unfreeze", "stop"].into_iter().for_each(&mut act),
            ("frozen", "absent") => ["unfreeze", "stop", "delete"].into_iter().for_each(&mut act),
            ("frozen", "restarted") => ["unfreeze", "restart"].into_iter().for_each(&mut act),
            ("started", "absent") => ["stop", "delete"].into_iter().for_each(&mut act),
            ("stopped", "absent") => act("delete"),
            ("started", "restarted") => act("restart"),
            ("stopped", "started" | "restarted") => act("start"),
            ("started", "stopped") => act("stop"),
            ("started", "frozen") => act("freeze"),
            ("stopped", "frozen") => ["start", "freeze"].into_iter().for_each(&mut act),
            other => panic!("the module has no way for {other:?}"),
        }
        if !old.is_null() && wanted != "absent" && needs_change(&old, config) {
            self.send("PUT", &self.url(""), Some(&changed(&old, config)));
            actions.push("apply_instance_configs");
        }
        Outcome { old_state, actions }
    }

    /// `wait_for_ipv4_addresses`: every interface but the loopback has one.
    fn addresses(&self) -> Vec<(String, Vec<String>)> {
        let state = self.send("GET", &self.url("/state"), None);
        let network = state["metadata"]["network"].as_object().cloned().unwrap_or_default();
        let of = |interface: &Value| {
            let addresses = interface["addresses"].as_array().cloned().unwrap_or_default();
            let ipv4 = addresses.iter().filter(|address| address["family"] == "inet");
            ipv4.map(|address| address["address"].as_str().expect("an address").to_owned()).collect()
        };
        network.iter().filter(|(name, _)| *name != "lo").map(|(name, interface)| (name.clone(), of(interface))).collect()
    }
}

/// Whether the module sees a difference: in keys of the configuration that it was given, devices, profiles, ephemerality.
fn needs_change(old: &Value, config: &Value) -> bool {
    let differs = |field: &str| config.get(field).is_some_and(|wanted| *wanted != old[field]);
    let keys = config.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    keys.iter().any(|(key, value)| old["config"][key] != *value)
        || ["devices", "profiles", "ephemeral", "architecture"].into_iter().any(differs)
}

/// What the module puts: the old object's parts, with its own over them.
fn changed(old: &Value, config: &Value) -> Value {
    let mut body = json!({"ephemeral": old["ephemeral"]});
    for field in ["architecture", "config", "devices", "profiles"] {
        body[field] = old[field].clone();
        match (field, config.get(field)) {
            ("config", Some(Value::Object(keys))) => keys.iter().for_each(|(key, value)| body[field][key] = value.clone()),
            (_, Some(wanted)) => body[field] = wanted.clone(),
            (_, None) => {}
        }
    }
    body
}

#[track_caller]
fn check(outcome: &Outcome, old_state: &'static str, actions: &[&'static str]) {
    assert_eq!((outcome.old_state, outcome.actions.as_slice()), (old_state, actions));
}

#[test]
fn the_module_brings_an_instance_to_each_of_its_states() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    daemon.coffer(["profile", "create", "more"]).ok();
    for endpoint in ["/1.0/instances", "/1.0/containers"] {
        let module = Module { daemon: &daemon, endpoint, name: "mycontainer" };
        let mut config = json!({
            "source": {"type": "image", "mode": "pull", "alias": "small"},
            "architecture": "x86_64",
            "profiles": ["default"],
            "config": {"limits.cpu": "1", "user.note": "one"},
            "devices": {"shared": {"type": "disk", "path": "/shared", "source": "/usr", "readonly": "true"}},
            "type": "container",
            "ephemeral": false,
        });
        check(&module.run("started", &config), "absent", &["create", "start"]);
        assert!(daemon.eventually(|| {
            let all = module.addresses();
            !all.is_empty() && all.iter().all(|(_, addresses)| !addresses.is_empty())
        }));
        check(&module.run("started", &config), "started", &[]);
        check(&module.run("restarted", &config), "started", &["restart"]);
        check(&module.run("frozen", &config), "started", &["freeze"]);
        check(&module.run("started", &config), "frozen", &["unfreeze"]);
        check(&module.run("stopped", &config), "started", &["stop"]);
        check(&module.run("stopped", &config), "stopped", &[]);
        check(&module.run("frozen", &config), "stopped", &["start", "freeze"]);
        check(&module.run("absent", &config), "frozen", &["unfreeze", "stop", "delete"]);
        check(&module.run("absent", &config), "absent", &[]);
        check(&module.run("stopped", &config), "absent", &["create"]);
        config["config"]["limits.cpu"] = json!("2");
        config["profiles"] = json!(["default", "more"]);
        config["devices"] = json!({"other": {"type": "unix-char", "source": "/dev/null", "path": "/dev/other"}});
        check(&module.run("started", &config), "stopped", &["start", "apply_instance_configs"]);
        let (now, _) = module.look();
        assert_eq!((&now["config"]["limits.cpu"], &now["config"]["user.note"]), (&json!("2"), &json!("one")));
        assert_eq!(now["profiles"], json!(["default", "more"]));
        assert_eq!(daemon.coffer(["exec", "mycontainer", "--", "sh", "-c", "[ -c /dev/other ] && [ ! -e /shared/bin ]"]).run().code, 0);
        check(&module.run("started", &config), "started", &[]);
        check(&module.run("absent", &config), "started", &["stop", "delete"]);
    }
    daemon.coffer(["profile", "delete", "more"]).ok();
    daemon.expect_nothing_since(&before);
}
