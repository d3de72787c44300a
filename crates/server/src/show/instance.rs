//! Instances and their state.

use coffer_api::{
    Instance, InstanceFull, InstanceSnapshot, InstanceState, InstanceStateCpu, InstanceStateDisk, InstanceStateMemory, StatusCode,
};
use coffer_engine::{InstanceView, SnapshotView};

use super::{NO_MEMBER, devices, names, when};

/// An instance.
#[must_use]
pub fn instance(view: InstanceView) -> Instance {
    let InstanceView { instance, expanded_config, expanded_devices, status, ready, .. } = view;
    Instance {
        architecture: instance.architecture,
        config: instance.config.0,
        devices: devices(instance.devices),
        ephemeral: instance.ephemeral,
        profiles: names(&instance.profiles),
        restore: String::new(),
        stateful: false,
        description: instance.description,
        created_at: instance.created_at.into(),
        expanded_config: expanded_config.0,
        expanded_devices: devices(expanded_devices),
        name: instance.name.to_string(),
        status: word(status, ready).text().to_owned(),
        status_code: word(status, ready),
        last_used_at: when(instance.last_used_at),
        location: NO_MEMBER.into(),
        kind: "container".into(),
        project: instance.project.to_string(),
    }
}

/// An instance with its state, its snapshots and its backups.
#[must_use]
pub fn instance_full(mut view: InstanceView) -> InstanceFull {
    let state = match view.state.take() {
        Some(state) => instance_state(state),
        None => {
            let code = word(view.status, view.ready);
            InstanceState { status: code.text().to_owned(), status_code: code, processes: -1, ..InstanceState::default() }
        }
    };
    let snapshots = std::mem::take(&mut view.snapshots).into_iter().map(snapshot).collect();
    let backups = view.backups.iter().map(super::backup).collect();
    instance(view).into_full(state, snapshots, backups)
}

/// A snapshot of an instance. How much it occupies is not looked up: with some drivers that takes long.
#[must_use]
pub fn snapshot(view: SnapshotView) -> InstanceSnapshot {
    let SnapshotView { snapshot, expanded_config, expanded_devices } = view;
    InstanceSnapshot {
        expires_at: when(snapshot.expires_at),
        architecture: snapshot.architecture,
        config: snapshot.config.0,
        created_at: snapshot.created_at.into(),
        devices: devices(snapshot.devices),
        ephemeral: snapshot.ephemeral,
        expanded_config: expanded_config.0,
        expanded_devices: devices(expanded_devices),
        last_used_at: when(snapshot.last_used_at),
        name: snapshot.name.to_string(),
        profiles: names(&snapshot.profiles),
        stateful: false,
        size: -1,
    }
}

/// What an instance does and uses.
#[must_use]
pub fn instance_state(state: coffer_engine::InstanceState) -> InstanceState {
    let disk = state.disk.into_iter().map(|(name, bytes)| (name, InstanceStateDisk { usage: signed(bytes) }));
    InstanceState {
        status: word(state.status, state.ready).text().to_owned(),
        status_code: word(state.status, state.ready),
        disk: disk.collect(),
        memory: InstanceStateMemory {
            usage: signed(state.memory_usage),
            usage_peak: signed(state.memory_peak),
            swap_usage: signed(state.swap_usage),
            swap_usage_peak: signed(state.swap_peak),
        },
        network: state.network.iter().map(|(name, link)| (name.clone(), super::network::inside(link))).collect(),
        pid: i64::from(state.pid),
        processes: state.processes,
        cpu: InstanceStateCpu { usage: signed(state.cpu_usage) },
        health: state.health.map_or(String::new(), |health| health.word().to_owned()),
    }
}

/// What an instance is doing; one that runs and has said that it is ready is `Ready`.
fn word(status: coffer_model::Status, ready: bool) -> StatusCode {
    if ready && status == coffer_model::Status::Running { StatusCode::READY } else { code(status) }
}

fn code(status: coffer_model::Status) -> StatusCode {
    StatusCode(u16::try_from(status.code()).expect("status codes have three digits"))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
