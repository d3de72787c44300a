//! The program by hand, without any daemon, as `docs/runtime.md` shows it.

#![allow(clippy::unwrap_used, reason = "a test fails that way")]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use coffer_runtime_spec::{Source, Spec};
use support::{Place, check_clean};

fn monitor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coffer-monitor")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn check(arguments: &[&str], status: i32, expect: &str) {
    let done = monitor(arguments);
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), said.as_str()), (Some(status), expect));
}

/// Writes the example spec with the paths and ids of this test.
fn spec_file(place: &Place) -> String {
    let mut spec: Spec = serde_json::from_str(include_str!("../../../docs/examples/busybox.json")).unwrap();
    spec.root.source = Source::Path(place.root());
    spec.cgroup.clone_from(&place.spec.cgroup);
    spec.idmap = place.spec.idmap.clone();
    let path = place.dir.path().join("spec.json");
    std::fs::write(&path, serde_json::to_vec(&spec).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_example_runs_executes_shows_and_stops() {
    let place = Place::new(&["/sbin/init"]);
    let (spec, socket) = (spec_file(&place), place.socket());
    let socket = socket.to_str().unwrap();
    check(&["run", "--spec", &spec, "--socket", socket, "--detach"], 0, "");
    let status = String::from_utf8(monitor(&["status", "--socket", socket]).stdout).unwrap();
    assert!(status.contains("\"state\": \"running\""), "{status}");
    check(&["exec", "--socket", socket, "--", "sh", "-c", "echo $0 $HOME; exit 7"], 7, "sh /root\n");
    check(&["exec", "--socket", socket, "--user=5", "--cwd=/tmp", "--env=A=b", "--", "sh", "-c", "id -u; pwd; echo $A"], 0, "5\n/tmp\nb\n");
    check(
        &["exec", "--socket", socket, "nothing"],
        127,
        "Error: executing the program: executing nothing: No such file or directory (os error 2)\n",
    );
    check(
        &["exec", "--socket", socket, "/etc/passwd"],
        126,
        "Error: executing the program: executing /etc/passwd: Permission denied (os error 13)\n",
    );
    check(
        &["run", "--spec", &spec, "--socket", socket, "--detach"],
        1,
        "Error: making the monitor's socket: listening on monitor: Address already in use (os error 98)\n",
    );
    check(&["stop", "--socket", socket, "--force"], 0, "");
    check_clean(&place.spec.cgroup, place.dir.path());
    check(&["status", "--socket", socket], 1, "Error: connecting to the monitor: No such file or directory (os error 2)\n");
}

#[test]
fn in_the_foreground_it_ends_as_init_does() {
    let place = Place::new(&["/sbin/init"]);
    let spec = spec_file(&place);
    let mut changed: Spec = serde_json::from_slice(&std::fs::read(&spec).unwrap()).unwrap();
    changed.init.argv = vec!["/bin/sh".into(), "-c".into(), "exit 5".into()];
    std::fs::write(&spec, serde_json::to_vec(&changed).unwrap()).unwrap();
    check(&["run", "--spec", &spec], 5, "");
    check_clean(&place.spec.cgroup, Path::new(place.dir.path()));
}

#[test]
fn wrong_lines_and_files_are_named() {
    check(&["fly"], 1, "Error: unknown verb \"fly\"; see coffer-monitor --help\n");
    check(&["run"], 1, "Error: --spec is missing; see coffer-monitor --help\n");
    check(&["run", "--spec", "/nowhere"], 1, "Error: reading spec /nowhere: No such file or directory (os error 2)\n");
    let place = Place::idle();
    let path = place.dir.path().join("bad.json");
    std::fs::write(&path, "{\"name\": 1}").unwrap();
    let path = path.to_str().unwrap();
    let expect = format!("Error: spec {path} is not understood: invalid type: integer `1`, expected a string at line 1 column 10\n");
    check(&["run", "--spec", path], 1, &expect);
    assert!(String::from_utf8(monitor(&["--help"]).stdout).unwrap().contains("coffer-monitor run --spec FILE"));
}
