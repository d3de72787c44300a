//! Snapshots of instances: one use case a file.

mod change;
mod clock;
mod create;
mod delete;
mod recover;
mod replace;
mod restore;
pub(crate) mod still;
mod view;

pub(crate) use delete::delete_volume;
pub(crate) use view::is_whole;

use coffer_model::{Instance, SnapshotName};

use crate::Engine;
use crate::events::Caller;
use crate::operations::NewOperation;

/// Describes a task on a snapshot; its URL is listed beside the instance's.
fn operation(description: &'static str, instance: &Instance, name: &SnapshotName) -> NewOperation {
    let mut new = NewOperation::instance(description, &instance.project, instance.name.as_str());
    new.resources.insert("instances_snapshots", vec![url(instance, name)]);
    new
}

fn url(instance: &Instance, name: &SnapshotName) -> String {
    format!("/1.0/instances/{}/snapshots/{name}", instance.name)
}

impl Engine {
    /// Tells the listeners what happened to a snapshot.
    fn snapshot_lifecycle(&self, instance: &Instance, name: &SnapshotName, action: &'static str, caller: Option<&Caller>) {
        self.events().lifecycle(Some(&instance.project), action, url(instance, name), caller);
    }
}
