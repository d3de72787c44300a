//! Devices: added, changed and removed while the instance runs, with their effect inside.

mod disk;
mod gpu;
mod hotplug;
mod nic;
mod proxy;
mod share;
mod table;
mod unix;

use coffer_testkit::Daemon;
use serde_json::json;

/// Runs a command inside and returns what it wrote; it must end well.
#[track_caller]
fn inside(daemon: &Daemon, instance: &str, script: &str) -> String {
    daemon.coffer(["exec", instance, "--", "sh", "-c", script]).ok().trim().to_owned()
}

/// Adds a device with a change of the instance that must succeed.
#[track_caller]
fn add(daemon: &Daemon, instance: &str, device: &str, keys: &serde_json::Value) {
    daemon.api().expect("PATCH", &format!("/1.0/instances/{instance}"), Some(&json!({"devices": {device: keys}})));
}

/// Removes a device with a change of the instance that must succeed.
#[track_caller]
fn remove(daemon: &Daemon, instance: &str, device: &str) {
    daemon.api().expect("PATCH", &format!("/1.0/instances/{instance}"), Some(&json!({"devices": {device: {}}})));
}

/// Expects that adding a device is refused, and returns what is said.
#[track_caller]
fn refused(daemon: &Daemon, instance: &str, keys: &serde_json::Value) -> String {
    daemon.api().refused("PATCH", &format!("/1.0/instances/{instance}"), Some(&json!({"devices": {"dev": keys}})), 400)
}
