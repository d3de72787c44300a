//! The model's words turned into the wire's.

mod backup;
mod instance;
mod network;
mod operation;
mod storage;
mod thing;

pub use backup::{backup, volume_backup};
pub use instance::{instance, instance_full, instance_state, snapshot};
pub use network::{lease, network, network_state};
pub use operation::{event, gap, logged_operation, operation, operation_url};
pub use storage::{pool, pool_resources, volume, volume_kind, volume_path, volume_snapshot, volume_snapshot_path, volume_state};
pub use thing::{alias, image, profile, project, warning};

use std::collections::BTreeMap;

use coffer_api::Timestamp;
use coffer_model::{Config, Devices, ProjectName, Time};

/// What stands where a cluster member's name would.
const NO_MEMBER: &str = "none";

/// A URL with its project, which is left out for `default`.
#[must_use]
pub fn url(path: &str, project: &ProjectName) -> String {
    if project.is_default() { path.to_owned() } else { format!("{path}?project={project}") }
}

fn config(config: &Config) -> BTreeMap<String, String> {
    config.0.clone()
}

fn devices(devices: Devices) -> BTreeMap<String, BTreeMap<String, String>> {
    devices.0.into_iter().map(|(name, keys)| (name.to_string(), keys.0)).collect()
}

fn names<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn when(time: Option<Time>) -> Timestamp {
    time.map_or(Timestamp::UNSET, Timestamp::from)
}
