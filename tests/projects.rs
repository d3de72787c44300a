//! Projects: what is in one is not in the other, unless it has none of its own.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// Puts a root disk, and no NIC, into a project's own default profile.
fn give_root(daemon: &Daemon, project: &str) {
    let devices = json!({"root": {"type": "disk", "path": "/", "pool": "default"}});
    daemon.api().expect("PATCH", &format!("/1.0/profiles/default?project={project}"), Some(&json!({ "devices": devices })));
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|url| url.as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn two_projects_have_an_instance_of_the_same_name() {
    let Some(mut daemon) = ready_daemon() else { return };
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    // Images of the default project, all else of its own.
    daemon.api().expect("POST", "/1.0/projects", Some(&json!({"name": "dev", "config": {"features.images": "false"}})));
    give_root(&daemon, "dev");
    let body = json!({"name": "c1", "source": {"type": "image", "alias": "small"}, "config": {"user.here": "dev"}});
    daemon.api().expect("POST", "/1.0/instances?project=dev", Some(&body));
    daemon.api().expect("PUT", "/1.0/instances/c1/state?project=dev", Some(&json!({"action": "start", "timeout": 30})));
    assert!(daemon.state_seen().join("storage-pools/default/containers/dev_c1/rootfs").exists());
    assert_eq!(names(&daemon.api().get("/1.0/instances")), ["/1.0/instances/c1"]);
    assert_eq!(names(&daemon.api().get("/1.0/instances?project=dev")), ["/1.0/instances/c1?project=dev"]);
    assert_eq!(names(&daemon.api().get("/1.0/instances?all-projects=true")).len(), 2);
    daemon.coffer(["exec", "c1", "--project", "dev", "--", "sh", "-c", "echo dev > /where"]).ok();
    daemon.coffer(["exec", "c1", "--", "sh", "-c", "test ! -e /where"]).ok();
    daemon.coffer(["snapshot", "c1", "s1", "--project", "dev"]).ok();
    assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots"), json!([]));
    // Volumes, profiles, operations and logs are each project's own too.
    daemon.coffer(["storage", "volume", "create", "default", "vol", "--project", "dev"]).ok();
    daemon.coffer(["storage", "volume", "create", "default", "vol"]).ok();
    assert!(daemon.state_seen().join("storage-pools/default/custom/dev_vol").exists());
    let custom = names(&daemon.api().get("/1.0/storage-pools/default/volumes/custom?project=dev"));
    assert_eq!(custom, ["/1.0/storage-pools/default/volumes/custom/vol?project=dev"]);
    let log = daemon.api().get("/1.0/operations/log?project=dev&instance=c1");
    assert!(log.as_array().is_some_and(|log| log.iter().all(|entry| entry["project"] == "dev") && log.len() == 4), "{log}");
    assert_eq!(daemon.api().get("/1.0/projects/dev/state")["resources"]["instances"], json!({"Limit": -1, "Usage": 1}));
    // Both live on over a restart of the daemon, and each goes alone.
    daemon.restart();
    for project in ["dev", "default"] {
        assert_eq!(daemon.api().get(&format!("/1.0/instances/c1/state?project={project}"))["status"], "Running", "{project}");
    }
    assert_eq!(daemon.coffer(["exec", "c1", "--project", "dev", "--", "cat", "/where"]).ok(), "dev\n");
    let text = daemon.api().refused("DELETE", "/1.0/projects/dev", None, 400);
    holds(&text, &["dev", "in use", "/1.0/instances/c1?project=dev"]);
    daemon.coffer(["delete", "--force", "c1", "--project", "dev"]).ok();
    assert_eq!(daemon.api().get("/1.0/instances/c1/state")["status"], "Running");
    daemon.coffer(["storage", "volume", "delete", "default", "vol", "--project", "dev"]).ok();
    daemon.api().expect("DELETE", "/1.0/projects/dev", None);
    daemon.coffer(["delete", "--force", "c1"]).ok();
    daemon.coffer(["storage", "volume", "delete", "default", "vol"]).ok();
    daemon.expect_nothing_since(&before);
}

#[test]
fn features_say_what_a_project_shares() {
    let Some(daemon) = ready_daemon() else { return };
    let create = |name: &str, config: Value| daemon.api().expect("POST", "/1.0/projects", Some(&json!({"name": name, "config": config})));
    create("own", json!({}));
    create("shared", json!({"features.images": "false", "features.profiles": "false", "features.storage.volumes": "false"}));
    assert_eq!(daemon.api().get("/1.0/images?project=own"), json!([]));
    assert_eq!(names(&daemon.api().get("/1.0/images?project=shared")).len(), 1);
    assert_eq!(daemon.api().get("/1.0/profiles/default?project=own")["devices"], json!({}));
    assert!(daemon.api().get("/1.0/profiles/default?project=shared")["devices"]["root"].is_object());
    assert_eq!(names(&daemon.api().get("/1.0/networks?project=own")).len(), names(&daemon.api().get("/1.0/networks")).len());
    daemon.api().expect(
        "POST",
        "/1.0/instances?project=shared",
        Some(&json!({"name": "c1", "source": {"type": "image", "alias": "small"}})),
    );
    assert_eq!(names(&daemon.api().get("/1.0/projects/shared")["used_by"]), ["/1.0/instances/c1?project=shared"]);
    // Features change while the project is empty, and its own default profile comes and goes with them.
    let change = |project: &str, status: u16| {
        let body = json!({"config": {"features.profiles": "false"}});
        let answer = daemon.api().request("PATCH", &format!("/1.0/projects/{project}"), Some(&body)).expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.json());
    };
    change("own", 200);
    assert!(daemon.api().get("/1.0/profiles/default?project=own")["devices"]["root"].is_object());
    daemon.api().expect("PATCH", "/1.0/projects/own", Some(&json!({"config": {"features.profiles": "true"}})));
    assert_eq!(daemon.api().get("/1.0/profiles/default?project=own")["devices"], json!({}));
    change("default", 400);
    let text = daemon.api().refused("PATCH", "/1.0/projects/shared", Some(&json!({"config": {"features.profiles": "true"}})), 400);
    holds(&text, &["features.profiles", "empty"]);
    // What is not held is refused by its name.
    for key in ["limits.instances", "restricted", "restricted.devices.disk", "images.auto_update_interval", "features.storage.buckets"] {
        let text = daemon.api().refused("PATCH", "/1.0/projects/own", Some(&json!({"config": {key: "1"}})), 400);
        holds(&text, &[key]);
    }
    for bad in ["", "a b", "a/b", "a_b", "..", "default"] {
        let answer = daemon.api().request("POST", "/1.0/projects", Some(&json!({"name": bad}))).expect("an answer");
        assert!((400..500).contains(&answer.status), "{bad:?}: {}", answer.json());
    }
    daemon.api().refused("GET", "/1.0/instances?project=nowhere", None, 404);
}

#[test]
fn the_genuine_client_manages_projects() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.lxc(["project", "create", "dev", "-c", "features.images=false"]).clean();
    holds(&daemon.lxc(["project", "list"]).clean(), &["default (current)", "dev"]);
    holds(
        &daemon.lxc(["project", "show", "dev"]).clean(),
        &["name: dev", "features.images: \"false\"", "/1.0/profiles/default?project=dev"],
    );
    daemon.lxc(["project", "set", "dev", "user.owner", "ann"]).clean();
    assert_eq!(daemon.lxc(["project", "get", "dev", "user.owner"]).clean().trim(), "ann");
    let show = daemon.lxc(["project", "show", "dev"]).clean();
    daemon.lxc(["project", "edit", "dev"]).input(show.replace("ann", "bob")).clean();
    assert_eq!(daemon.lxc(["project", "get", "dev", "user.owner"]).clean().trim(), "bob");
    daemon.lxc(["project", "unset", "dev", "user.owner"]).clean();
    daemon.lxc(["project", "rename", "dev", "work"]).clean();
    daemon.lxc(["project", "show", "dev"]).fails();
    daemon.lxc(["project", "switch", "work"]).clean();
    holds(&daemon.lxc(["project", "list"]).clean(), &["work (current)"]);
    // From now on everything is in that project.
    daemon.lxc(["profile", "device", "add", "default", "root", "disk", "path=/", "pool=default"]).clean();
    // It says that there is no network.
    daemon.lxc(["launch", "small", "c1"]).ok();
    daemon.lxc(["init", "small", "c1", "--project", "default"]).clean();
    holds(&daemon.lxc(["list", "--all-projects"]).clean(), &["PROJECT", "work", "default", "RUNNING", "STOPPED"]);
    assert!(!daemon.lxc(["list"]).clean().contains("STOPPED"));
    holds(&daemon.lxc(["project", "info", "work"]).clean(), &["INSTANCES", "UNLIMITED", "1"]);
    holds(&daemon.lxc(["storage", "volume", "list", "default", "--all-projects"]).clean(), &["work", "c1"]);
    daemon.lxc(["project", "delete", "work"]).fails();
    daemon.lxc(["project", "rename", "work", "play"]).fails();
    daemon.lxc(["move", "c1", "c2", "--target-project", "default"]).fails();
    daemon.lxc(["stop", "--force", "c1"]).clean();
    daemon.lxc(["move", "c1", "c2", "--target-project", "default"]).ok();
    holds(&daemon.lxc(["list", "--project", "default"]).clean(), &["c1", "c2"]);
    daemon.lxc(["project", "switch", "default"]).clean();
    daemon.lxc(["project", "delete", "work"]).clean();
    daemon.lxc(["project", "delete", "default"]).fails();
}

#[test]
fn our_command_switches_too() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["project", "create", "dev"]).ok();
    daemon.coffer(["project", "switch", "nowhere"]).fails();
    assert_eq!(daemon.coffer(["project", "get-current"]).clean(), "default\n");
    daemon.coffer(["project", "switch", "dev"]).clean();
    assert_eq!(daemon.coffer(["project", "get-current"]).clean(), "dev\n");
    holds(&daemon.coffer(["project", "list"]).clean(), &["dev (current)"]);
    assert_eq!(daemon.coffer(["image", "list", "--format", "csv"]).clean(), "");
    holds(&daemon.coffer(["image", "list", "--project", "default", "--format", "csv"]).clean(), &["small"]);
    daemon.coffer(["project", "switch", "default"]).clean();
    daemon.coffer(["project", "rename", "dev", "work"]).ok();
    daemon.coffer(["project", "delete", "work"]).ok();
}
