//! The instance that a monitor is there for.

use std::os::fd::OwnedFd;

use coffer_runtime_spec::{Signal, Spec};
use coffer_sys::process::Child;

use crate::attach::Door;
use crate::cgroup::{DeviceRules, Group};
use crate::link::Links;

/// A started or starting instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) spec: Box<Spec>,
    pub(super) group: Group,
    pub(super) init: Child,
    /// Network interfaces, in its namespace.
    pub(super) links: Links,
    pub(super) netns: OwnedFd,
    pub(super) userns: Option<OwnedFd>,
    /// Its `/dev`.
    pub(super) dev: OwnedFd,
    /// The root directory of its terminals; known when it is set up.
    pub(super) devpts: Option<OwnedFd>,
    /// What it takes to join it; known when it is set up.
    pub(super) door: Option<Door>,
    pub(super) halt_signal: Signal,
    pub(super) device_rules: Option<DeviceRules>,
    /// Milliseconds since 1970.
    pub(super) started_at: u64,
    /// A caller has asked for init to be killed.
    pub(super) killed: bool,
}

/// Now, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
