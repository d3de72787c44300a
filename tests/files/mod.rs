//! Files inside instances: the API's headers, the genuine client, hostile roots, and the server that stands between.

mod api;
mod command;
mod genuine;
mod hostile;
mod listen;
mod mount;
mod server;

use coffer_testkit::{Answer, Daemon};

/// Sends a request about a path inside an instance.
#[track_caller]
fn ask(daemon: &Daemon, method: &str, instance: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let path = format!("/1.0/instances/{instance}/files?path={path}");
    daemon.api().send(method, &path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// Writes a file that must be accepted.
#[track_caller]
fn put(daemon: &Daemon, instance: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let answer = ask(daemon, "POST", instance, path, headers, body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.json());
}

/// Sends what must be refused; the answer is the error's text.
#[track_caller]
fn refused(daemon: &Daemon, method: &str, instance: &str, path: &str, headers: &[(&str, &str)], status: u16) -> String {
    let answer = ask(daemon, method, instance, path, headers, b"content");
    assert_eq!(answer.status, status, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()["error"].as_str().unwrap_or_default().to_owned()
}

/// Runs a script inside that must succeed.
#[track_caller]
fn inside(daemon: &Daemon, instance: &str, script: &str) -> String {
    daemon.coffer(["exec", instance, "--", "sh", "-c", script]).ok()
}
