//! Snapshots of instances: taken while they run, restored, renamed, deleted, and what clients see of them.

use coffer_testkit::Daemon;
use serde_json::{Value, json};

use crate::setting::{holds, ready_daemon, ready_for_genuine_client};

/// Writes a word into a file of a running instance.
#[track_caller]
fn write(daemon: &Daemon, word: &str) {
    daemon.coffer(["exec", "c1", "--", "sh", "-c", &format!("echo {word} > /root/word")]).ok();
}

/// Reads the word again.
#[track_caller]
fn read(daemon: &Daemon) -> String {
    daemon.coffer(["exec", "c1", "--", "cat", "/root/word"]).ok().trim().to_owned()
}

#[test]
fn the_genuine_client_takes_shows_restores_renames_and_deletes() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    let before = daemon.world();
    daemon.run_instance("small", "c1");
    let pid = daemon.instance_state("c1")["pid"].clone();
    write(&daemon, "first");
    daemon.lxc(["snapshot", "c1"]).clean();
    daemon.lxc(["snapshot", "c1", "before-upgrade"]).clean();
    assert_eq!(daemon.instance_state("c1")["pid"], pid, "a snapshot does not stop it");
    assert_eq!(daemon.instance_state("c1")["status"], "Running");
    holds(&daemon.lxc(["info", "c1"]).clean(), &["Snapshots:", "snap0", "before-upgrade", "STATEFUL", "NO"]);
    assert_eq!(daemon.lxc(["list", "c1", "--format", "csv", "-c", "S"]).clean().trim(), "2");
    holds(
        &daemon.lxc(["config", "show", "c1/snap0"]).clean(),
        &["architecture: ", "image.os: busybox", "expires_at: 0001-01-01T00:00:00Z"],
    );
    daemon.lxc(["snapshot", "c1", "snap0"]).fails();
    daemon.lxc(["snapshot", "c1", "with-memory", "--stateful"]).fails();

    write(&daemon, "second");
    daemon.lxc(["config", "set", "c1", "user.colour", "blue"]).clean();
    daemon.lxc(["restore", "c1", "snap0"]).clean();
    assert_eq!(daemon.instance_state("c1")["status"], "Running");
    assert_ne!(daemon.instance_state("c1")["pid"], pid, "a restore of a running instance starts it anew");
    assert_eq!(read(&daemon), "first");
    assert_eq!(daemon.lxc(["config", "get", "c1", "user.colour"]).clean().trim(), "");

    daemon.lxc(["mv", "c1/snap0", "c1/kept"]).clean();
    daemon.lxc(["stop", "--force", "c1"]).clean();
    daemon.lxc(["delete", "c1/before-upgrade"]).clean();
    daemon.lxc(["restore", "c1", "snap0"]).fails();
    daemon.lxc(["restore", "c1", "kept"]).clean();
    assert_eq!(daemon.instance_state("c1")["status"], "Stopped");
    daemon.lxc(["move", "c1", "c2"]).clean();
    assert_eq!(daemon.api().get("/1.0/instances/c2/snapshots"), json!(["/1.0/instances/c2/snapshots/kept"]));
    daemon.lxc(["restore", "c2", "kept"]).clean();
    daemon.lxc(["delete", "c2"]).clean();
    daemon.expect_nothing_since(&before);
}

#[test]
fn our_own_client_does_the_same_on_btrfs() {
    let Some(daemon) = ready_daemon() else { return };
    let before = daemon.world();
    daemon.coffer(["storage", "create", "fast", "btrfs", "size=1GiB"]).ok();
    daemon.coffer(["init", "small", "c1", "--storage", "fast"]).ok();
    daemon.change_state("c1", "start");
    write(&daemon, "first");
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    write(&daemon, "second");
    daemon.coffer(["snapshot", "c1", "s1", "--reuse"]).ok();
    write(&daemon, "third");
    holds(&daemon.coffer(["info", "c1"]).clean(), &["Snapshots:", "s1", "TAKEN AT", "EXPIRES AT"]);
    holds(&daemon.coffer(["list", "-c", "nS"]).clean(), &["SNAPSHOTS", "1"]);
    daemon.coffer(["restore", "c1", "s1"]).ok();
    assert_eq!(read(&daemon), "second");
    daemon.coffer(["rename", "c1/s1", "c1/s2"]).ok();
    holds(&daemon.coffer(["config", "show", "c1/s2"]).clean(), &["name: s2"]);
    holds(&daemon.coffer(["restore", "c1", "s1"]).fails(), &["snapshot c1/s1 not found"]);
    holds(&daemon.coffer(["snapshot", "c1", "--stateful"]).fails(), &["running state", "leave out --stateful"]);
    daemon.coffer(["delete", "c1/s2"]).ok();
    daemon.coffer(["snapshot", "c1", "left"]).ok();
    daemon.coffer(["delete", "--force", "c1"]).ok();
    daemon.coffer(["storage", "delete", "fast"]).ok();
    daemon.expect_nothing_since(&before);
}

#[test]
fn the_api_shows_what_the_instance_was() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let api = daemon.api();
    api.expect("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"user.colour": "red"}})));
    api.expect("POST", "/1.0/instances/c1/snapshots", Some(&json!({"name": "s1", "expires_at": "2100-01-01T00:00:00Z"})));
    api.expect("PATCH", "/1.0/instances/c1", Some(&json!({"config": {"user.colour": "blue"}})));
    let one = api.get("/1.0/instances/c1/snapshots/s1");
    assert_eq!(one["config"]["user.colour"], "red");
    assert_eq!(one["expanded_devices"]["root"]["pool"], "default");
    assert_eq!(one["expires_at"], "2100-01-01T00:00:00Z");
    assert_eq!((&one["name"], &one["stateful"]), (&json!("s1"), &json!(false)));
    assert_eq!(api.get("/1.0/instances/c1/snapshots?recursion=1"), json!([one]));
    assert_eq!(api.get("/1.0/containers/c1/snapshots"), json!(["/1.0/containers/c1/snapshots/s1"]));
    assert_eq!(api.get("/1.0/instances?recursion=2")[0]["snapshots"], json!([one]));
    assert_eq!(api.get("/1.0/instances/c1?recursion=1")["snapshots"], json!([one]));

    api.expect("PATCH", "/1.0/instances/c1/snapshots/s1", Some(&json!({"expires_at": "2101-01-01T00:00:00Z"})));
    assert_eq!(api.get("/1.0/instances/c1/snapshots/s1")["expires_at"], "2101-01-01T00:00:00Z");
    api.expect("PUT", "/1.0/instances/c1/snapshots/s1", Some(&json!({"expires_at": "0001-01-01T00:00:00Z"})));
    assert_eq!(api.get("/1.0/instances/c1/snapshots/s1")["expires_at"], "0001-01-01T00:00:00Z");
    let stale = api.send("PUT", "/1.0/instances/c1/snapshots/s1", &[("If-Match", "\"old\"")], b"{}").unwrap();
    assert_eq!(stale.status, 412);

    // What would rebuild the database knows the snapshot too.
    let yaml = daemon.state().join("storage-pools/default/containers/c1/backup.yaml");
    holds(&daemon.inside("cat", [&yaml.display().to_string()]).ok(), &["snapshots:", "name: s1", "user.colour: red"]);
}

#[test]
fn bad_requests_are_refused_before_anything_is_done() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let api = daemon.api();
    let check = |method: &str, path: &str, body: Value, status: u16, expect: &str| {
        let said = api.refused(method, path, Some(&body), status);
        assert!(said.contains(expect), "{method} {path} {body}: {said}");
    };
    check("POST", "/1.0/instances/c1/snapshots", json!({"name": "../../x"}), 400, "invalid snapshot name");
    check("POST", "/1.0/instances/c1/snapshots", json!({"name": "a/b"}), 400, "invalid snapshot name");
    check("POST", "/1.0/instances/no/snapshots", json!({"name": "x"}), 404, "instance no not found");
    check("POST", "/1.0/instances/c1/snapshots", json!({"name": "x", "stateful": true}), 400, "running state");
    check("PUT", "/1.0/instances/c1", json!({"restore": "c1/x"}), 404, "snapshot c1/x not found");
    check("PUT", "/1.0/instances/c1", json!({"restore": "c2/x"}), 400, "c2/x is a snapshot of instance c2");
    check("DELETE", "/1.0/instances/c1/snapshots/x", json!({}), 404, "snapshot c1/x not found");
    check("POST", "/1.0/instances/c1/snapshots/x", json!({"name": "y"}), 404, "snapshot c1/x not found");
    api.expect("POST", "/1.0/instances/c1/snapshots", Some(&json!({"name": "x"})));
    api.expect("POST", "/1.0/instances/c1/snapshots", Some(&json!({"name": "y"})));
    check("POST", "/1.0/instances/c1/snapshots", json!({"name": "x"}), 409, "snapshot c1/x already exists");
    check("POST", "/1.0/instances/c1/snapshots/x", json!({"name": "y"}), 409, "snapshot c1/y already exists");
    assert_eq!(api.get("/1.0/instances/c1/snapshots").as_array().map(Vec::len), Some(2));
}

#[test]
fn an_ephemeral_instance_outlives_its_restore() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.coffer(["launch", "small", "c1", "--ephemeral"]).ok();
    write(&daemon, "first");
    daemon.coffer(["snapshot", "c1", "s1"]).ok();
    write(&daemon, "second");
    daemon.coffer(["pause", "c1"]).ok();
    daemon.coffer(["restore", "c1", "s1"]).ok();
    assert_eq!(read(&daemon), "first");
    daemon.coffer(["stop", "--force", "c1"]).ok();
    assert!(daemon.eventually(|| daemon.api().request("GET", "/1.0/instances/c1", None).unwrap().status == 404));
}

/// The names of an instance's snapshots.
fn names(daemon: &Daemon) -> Vec<String> {
    let all = daemon.api().get("/1.0/instances/c1/snapshots?recursion=1");
    all.as_array().into_iter().flatten().filter_map(|snapshot| snapshot["name"].as_str().map(str::to_owned)).collect()
}

/// A moment some milliseconds from now, as the API has it.
fn soon(milliseconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_millis(milliseconds)).to_string()
}

#[test]
fn expired_snapshots_go_by_themselves_also_those_that_expired_while_no_daemon_ran() {
    let Some(mut daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let take = |daemon: &Daemon, name: &str, expires_at: Value| {
        daemon.api().expect("POST", "/1.0/instances/c1/snapshots", Some(&json!({"name": name, "expires_at": expires_at})));
    };
    take(&daemon, "stays", Value::Null);
    take(&daemon, "goes", json!(soon(300)));
    assert!(daemon.eventually(|| names(&daemon) == ["stays"]), "{:?}", names(&daemon));
    take(&daemon, "changed", json!("2100-01-01T00:00:00Z"));
    daemon.api().expect("PUT", "/1.0/instances/c1/snapshots/changed", Some(&json!({"expires_at": soon(300)})));
    assert!(daemon.eventually(|| names(&daemon) == ["stays"]), "{:?}", names(&daemon));

    let end = soon(1500);
    take(&daemon, "meanwhile", json!(end));
    daemon.kill9();
    assert!(daemon.eventually(|| jiff::Timestamp::now() > end.parse().unwrap()));
    daemon.launch();
    assert!(daemon.eventually(|| names(&daemon) == ["stays"]), "{:?}", names(&daemon));
}

#[test]
fn configuration_names_dates_and_takes_snapshots() {
    let Some(daemon) = ready_for_genuine_client() else { return };
    daemon.create_instance("small", "c1");
    let set = |pair: &str| daemon.lxc(["config", "set", "c1", pair]).clean();
    set("snapshots.pattern=auto-{{ creation_date|date:'2006' }}-%d");
    set("snapshots.expiry=1y");
    daemon.lxc(["snapshot", "c1"]).clean();
    daemon.lxc(["snapshot", "c1", "kept", "--no-expiry"]).clean();
    let year = jiff::ZonedDateTime::now().year();
    let first = daemon.api().get("/1.0/instances/c1/snapshots?recursion=1")[0].clone();
    assert!(first["name"] == format!("auto-{year}-0") || first["name"] == format!("auto-{}-0", year + 1), "{first}");
    let expires: jiff::Timestamp = first["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(expires > jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 364));
    assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots/kept")["expires_at"], "0001-01-01T00:00:00Z");
    let info = daemon.lxc(["config", "show", "c1/kept"]).clean();
    daemon.lxc(["config", "edit", "c1/kept"]).input(info.replace("0001-01-01", "2100-01-01")).clean();
    assert_eq!(daemon.api().get("/1.0/instances/c1/snapshots/kept")["expires_at"], "2100-01-01T00:00:00Z");
    for bad in ["snapshots.schedule=@sometimes", "snapshots.schedule=60 * * * *", "snapshots.expiry=soon", "snapshots.pattern=%d%d"] {
        daemon.lxc(["config", "set", "c1", bad]).fails();
    }

    set("snapshots.schedule=@startup");
    let before = names(&daemon).len();
    daemon.lxc(["start", "c1"]).clean();
    assert!(daemon.eventually(|| names(&daemon).len() == before + 1), "{:?}", names(&daemon));
    assert_eq!(daemon.coffer(["exec", "c1", "--", "sh", "-c", "exit 3"]).run().code, 3);
}

#[test]
fn a_schedule_is_kept() {
    let Some(daemon) = ready_daemon() else { return };
    daemon.create_instance("small", "c1");
    let expiring = ["snapshots.schedule=* * * * *", "snapshots.expiry=1d", "snapshots.pattern=auto%d"];
    daemon.coffer([&["storage", "volume", "create", "default", "data"][..], &expiring].concat()).ok();
    daemon.coffer(["config", "set", "c1", "snapshots.schedule=* * * * *", "snapshots.schedule.stopped=true"]).ok();
    // The next full minute is at most sixty seconds away.
    let mut taken = false;
    for _ in 0..4 {
        taken = taken || daemon.eventually(|| !names(&daemon).is_empty());
    }
    assert!(taken, "{}", daemon.log());
    let at: jiff::Timestamp = daemon.api().get("/1.0/instances/c1/snapshots/snap0")["created_at"].as_str().unwrap().parse().unwrap();
    assert!(at.as_second() % 60 < 20, "{at}: it is taken when the minute begins");
    let of_volume = "/1.0/storage-pools/default/volumes/custom/data/snapshots/auto0";
    assert!(
        daemon.eventually(|| daemon.api().request("GET", of_volume, None).is_ok_and(|answer| answer.status == 200)),
        "{}",
        daemon.log()
    );
    let of_volume = daemon.api().get(of_volume);
    let moment = |key: &str| of_volume[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(moment("expires_at") - moment("created_at"), jiff::SignedDuration::from_hours(24));
}
