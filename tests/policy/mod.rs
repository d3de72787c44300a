//! What is done with instances without being asked at that moment: restarts, dependencies, health, waiting, starts with the daemon.

mod autorestart;
mod boot;
mod depends;
mod health;
mod wait;

use coffer_testkit::Daemon;

/// One word of an instance's state.
fn state(daemon: &Daemon, name: &str, word: &str) -> String {
    match &daemon.instance_state(name)[word] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Sets keys of an instance.
#[track_caller]
fn set(daemon: &Daemon, name: &str, keys: &[&str]) {
    daemon.coffer(["config", "set", name].iter().chain(keys)).clean();
}

/// When an instance was started last, as text that sorts.
fn started_at(daemon: &Daemon, name: &str) -> String {
    daemon.api().get(&format!("/1.0/instances/{name}"))["last_used_at"].as_str().unwrap_or_default().to_owned()
}

/// Runs a script inside.
#[track_caller]
fn inside(daemon: &Daemon, name: &str, script: &str) -> String {
    daemon.coffer(["exec", name, "--", "sh", "-c", script]).ok()
}
