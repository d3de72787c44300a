//! What an instance uses: read from its control groups and over netlink, without entering it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use coffer_model::{Instance, InstanceName, ProjectName, Status};
use coffer_storage::Volume;

use crate::Engine;
use crate::error::EngineError;
use crate::live::Running;
use crate::request::InstanceState;

impl Engine {
    /// Reads an instance's state.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn instance_state(&self, project: &ProjectName, name: &InstanceName) -> Result<InstanceState, EngineError> {
        let loaded = self.load(project, name)?;
        let (status, running) = self.inner.cells.peek(project, name);
        Ok(self.usage(&loaded.instance, status, running.as_deref()))
    }

    /// What cannot be read just now, because the instance is ending, shows as nothing.
    pub(crate) fn usage(&self, instance: &Instance, status: Status, running: Option<&Running>) -> InstanceState {
        let mut state = InstanceState {
            status,
            ready: self.inner.cells.is_ready(&instance.project, &instance.name),
            pid: 0,
            processes: -1,
            cpu_usage: 0,
            memory_usage: 0,
            memory_peak: 0,
            swap_usage: 0,
            swap_peak: 0,
            disk: BTreeMap::new(),
            network: BTreeMap::new(),
            started_at: None,
        };
        let Some(running) = running else { return state };
        state.pid = running.pid;
        state.started_at = Some(running.started_at);
        if let Ok(stats) = coffer_runtime::cgroup::stats(&self.inner.hierarchies, &running.cgroup) {
            state.processes = stats.processes.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
            state.cpu_usage = stats.cpu_nanoseconds.unwrap_or(0);
            state.memory_usage = stats.memory.unwrap_or(0);
            state.memory_peak = stats.memory_peak.unwrap_or(0);
            state.swap_usage = stats.swap.unwrap_or(0);
            state.swap_peak = stats.swap_peak.unwrap_or(0);
        }
        state.network = links_in(running).into_iter().map(|link| (link.name.clone(), link)).collect();
        state.disk = self.disk_usage(instance);
        state
    }

    /// Bytes of the root volume, where its pool keeps count.
    fn disk_usage(&self, instance: &Instance) -> BTreeMap<String, u64> {
        let volume = Volume::instance(&instance.project, &instance.name);
        let usage = self.pool_driver(&instance.pool).ok().and_then(|pool| pool.usage(&volume).ok().flatten());
        usage.map(|usage| ("root".to_owned(), usage.used)).into_iter().collect()
    }
}

/// The links inside; nothing when the instance is just ending.
fn links_in(running: &Running) -> Vec<coffer_network::LinkState> {
    let links = coffer_network::Inspector::open().and_then(|mut inspector| inspector.links_in(running.netns.as_fd()));
    links.unwrap_or_default()
}
