//! What an instance uses: read from its control groups and over netlink, without entering it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use coffer_model::{Config, Devices, Instance, InstanceName, PoolName, ProjectName, Status};
use coffer_network::Inspector;
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
        let devices = loaded.instance.expanded_devices(&loaded.profiles);
        Ok(self.usage(&loaded.instance, &devices, status, running.as_deref(), &mut Inspector::default()))
    }

    /// What cannot be read just now, because the instance is ending, shows as nothing. Many instances share an inspector.
    pub(crate) fn usage(
        &self,
        instance: &Instance,
        devices: &Devices,
        status: Status,
        running: Option<&Running>,
        inspector: &mut Inspector,
    ) -> InstanceState {
        let mut state = InstanceState {
            status,
            ready: self.inner.cells.is_ready(&instance.project, &instance.name),
            health: self.inner.cells.find(&instance.project, &instance.name).and_then(|cell| cell.lock().health),
            pid: 0,
            processes: -1,
            cpu_usage: 0,
            memory_usage: 0,
            memory_peak: 0,
            swap_usage: 0,
            swap_peak: 0,
            disk: self.disk_usage(instance, devices),
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
        let links = inspector.links_in(running.netns.as_fd()).unwrap_or_default();
        state.network = links.into_iter().map(|link| (link.name.clone(), link)).collect();
        state
    }

    /// Bytes of each disk that is a volume, where its pool keeps count: the root's volume, and users' volumes.
    fn disk_usage(&self, instance: &Instance, devices: &Devices) -> BTreeMap<String, u64> {
        let used = |pool: &PoolName, volume: &Volume| Some(self.pool_driver(pool).ok()?.usage(volume).ok().flatten()?.used);
        let of = |device: &Config| -> Option<u64> {
            if device.get("type") != Some("disk") {
                return None;
            }
            if device.get("path") == Some("/") {
                return used(&instance.pool, &Volume::instance(&instance.project, &instance.name));
            }
            let (pool, name) = (device.get("pool")?.parse().ok()?, device.get("source")?.parse().ok()?);
            used(&pool, &self.volume_place(&pool, &instance.project, &name).ok()?.volume())
        };
        devices.0.iter().filter_map(|(name, device)| Some((name.to_string(), of(device)?))).collect()
    }
}
