//! Files that an image's metadata has templates for are written before a start, and nothing else is.

use coffer_testkit::Daemon;

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

const RULES: &str = "\
templates:
  /etc/who:
    when: [create, copy]
    template: who.tpl
    properties: {default: nobody}
  /etc/started:
    when: [start]
    template: started.tpl
  /etc/renamed:
    when: [rename]
    template: started.tpl
  /deep/below/once:
    when: [start]
    create_only: true
    template: started.tpl
";

const WHO: &str = "{{ container.name }} {{ trigger }} {{ config_get(\"user.colour\", properties.default) }} {{ image.os|upper }}\n";
const STARTED: &str =
    "{{ trigger }} {{ instance.name }} {{ config_get(\"user.colour\", \"none\") }}{% if devices.root %} root{% endif %}\n";

/// An instance that has not started yet, with templates.
fn prepared() -> Option<Daemon> {
    let daemon = ready_for_genuine_client()?;
    daemon.create_instance("small", "c1");
    let with_rules = |show: String| show.replace("templates: {}\n", RULES);
    daemon.lxc(["config", "metadata", "edit", "c1"]).input(with_rules(daemon.lxc(["config", "metadata", "show", "c1"]).clean())).clean();
    daemon.lxc(["config", "template", "create", "c1", "who.tpl"]).clean();
    daemon.lxc(["config", "template", "edit", "c1", "who.tpl"]).input(WHO).clean();
    daemon.coffer(["config", "template", "create", "c1", "started.tpl"]).input(STARTED).clean();
    Some(daemon)
}

fn read(daemon: &Daemon, name: &str, file: &str) -> String {
    daemon.coffer(["exec", name, "--", "cat", file]).run().text()
}

#[test]
fn files_are_written_once_or_at_every_start() {
    let Some(daemon) = prepared() else { return };
    let volatile = |name: &str, key: &str| daemon.coffer(["config", "get", name, key]).clean().trim().to_owned();
    daemon.coffer(["config", "set", "c1", "user.colour=blue"]).clean();
    assert_eq!(volatile("c1", "volatile.apply_template"), "create");
    daemon.change_state("c1", "start");
    assert_eq!(volatile("c1", "volatile.apply_template"), "");
    assert_eq!(read(&daemon, "c1", "/etc/who"), "c1 create blue BUSYBOX\n");
    assert_eq!(read(&daemon, "c1", "/etc/started"), "start c1 blue root\n");
    assert_eq!(read(&daemon, "c1", "/deep/below/once"), "start c1 blue root\n");
    let owned = daemon.coffer(["exec", "c1", "--", "stat", "-c", "%u:%g %a", "/deep", "/deep/below/once"]).clean();
    assert_eq!(owned, "0:0 755\n0:0 644\n");

    daemon.coffer(["exec", "c1", "--", "rm", "/etc/who"]).clean();
    daemon.coffer(["config", "set", "c1", "user.colour=red"]).clean();
    daemon.change_state("c1", "stop");
    daemon.coffer(["rename", "c1", "c2"]).clean();
    assert_eq!(volatile("c2", "volatile.apply_template"), "rename");
    daemon.change_state("c2", "start");
    assert_eq!(read(&daemon, "c2", "/etc/who"), "", "it was written at a start that is not the first");
    assert_eq!(read(&daemon, "c2", "/etc/started"), "start c2 red root\n");
    assert_eq!(read(&daemon, "c2", "/etc/renamed"), "rename c2 red root\n");
    assert_eq!(read(&daemon, "c2", "/deep/below/once"), "start c1 blue root\n");
}

#[test]
fn a_template_that_is_wrong_fails_the_start_by_name() {
    let Some(daemon) = prepared() else { return };
    daemon.lxc(["config", "template", "edit", "c1", "started.tpl"]).input("\n{% include \"/etc/shadow\" %}").clean();
    let told = daemon.coffer(["start", "c1"]).fails();
    holds(&told, &["instance c1", "/deep/below/once", "started.tpl", "line 2", "tag \"include\""]);
    daemon.coffer(["config", "template", "delete", "c1", "started.tpl"]).clean();
    holds(&daemon.coffer(["start", "c1"]).fails(), &["started.tpl", "No such file"]);
    // What could not be applied is still to be applied.
    assert_eq!(daemon.coffer(["config", "get", "c1", "volatile.apply_template"]).clean().trim(), "create");
    daemon.lxc(["config", "template", "create", "c1", "started.tpl"]).clean();
    daemon.coffer(["start", "c1"]).clean();
    assert_eq!(read(&daemon, "c1", "/etc/who"), "c1 create nobody BUSYBOX\n");
}

#[test]
fn metadata_and_templates_are_listed_changed_and_removed() {
    let Some(daemon) = prepared() else { return };
    assert_eq!(daemon.lxc(["config", "template", "list", "c1", "--format", "csv"]).clean(), "started.tpl\nwho.tpl\n");
    assert_eq!(daemon.lxc(["config", "template", "show", "c1", "who.tpl"]).clean(), WHO);
    holds(
        &daemon.lxc(["config", "metadata", "show", "c1"]).clean(),
        &["/etc/started:", "create_only: true", "default: nobody", "os: busybox"],
    );
    daemon.lxc(["config", "template", "delete", "c1", "who.tpl"]).clean();
    assert_eq!(daemon.coffer(["config", "template", "list", "c1", "--format", "csv"]).clean(), "started.tpl\n");
    let api = daemon.api();
    api.expect("PATCH", "/1.0/instances/c1/metadata", Some(&serde_json::json!({"properties": {"os": "other"}})));
    let now = api.get("/1.0/instances/c1/metadata");
    assert_eq!((now["properties"]["os"].as_str(), now["properties"]["release"].as_str()), (Some("other"), Some("small")));
}

#[test]
fn bad_metadata_and_names_are_refused_before_anything_changes() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let api = daemon.api();
    let path = |name: &str| format!("/1.0/instances/c1/metadata/templates?path={name}");
    for name in ["../x.tpl", "/etc/passwd", "a//b", ".hidden", "a/../../b", "x%00y", &"n".repeat(300)] {
        let answer = api.send("POST", &path(name), &[], b"text").unwrap();
        assert_eq!(answer.status, 400, "{name}: {}", answer.json());
        assert_eq!(api.send("GET", &path(name), &[], b"").unwrap().status, 400, "{name}");
    }
    assert_eq!(api.send("POST", &path("x.tpl"), &[], &[b'x'; (64 << 10) + 1]).unwrap().status, 400);
    assert_eq!(api.send("GET", &path("missing.tpl"), &[], b"").unwrap().status, 404);
    assert_eq!(api.send("DELETE", &path("missing.tpl"), &[], b"").unwrap().status, 404);
    let before = api.get("/1.0/instances/c1/metadata");
    let rule = |target: &str, template: &str| serde_json::json!({"templates": {target: {"when": ["start"], "template": template}}});
    for (body, word) in [
        (rule("/../../etc/cron.d/x", "x.tpl"), "leaves the instance root"),
        (rule("/etc/x", "../../backup.yaml"), "not a file beneath templates/"),
        (serde_json::json!({"architecture": "vax"}), "unknown architecture"),
    ] {
        let told = api.refused("PATCH", "/1.0/instances/c1/metadata", Some(&body), 400);
        assert!(told.contains(word), "{told}");
    }
    assert_eq!(api.get("/1.0/instances/c1/metadata"), before);
}
