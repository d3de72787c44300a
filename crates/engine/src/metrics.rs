//! Figures of everything that runs, in one quick pass: no process is started and no namespace entered.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::time::Duration;

use coffer_model::{Instance, InstanceName, PoolName, ProjectName};
use coffer_network::Inspector;
use coffer_runtime::cgroup::{self, Figures, Stats};
use coffer_storage::Volume;

use crate::Engine;
use crate::error::EngineError;
use crate::live::Running;
use crate::request::Scope;

/// Figures of the server and its instances at a moment.
#[derive(Debug)]
pub struct Metrics {
    /// The instances that run.
    pub instances: Vec<InstanceMetrics>,
    /// Operations that work now.
    pub operations: u64,
    /// Warnings that nobody acknowledged and that are not over.
    pub warnings: u64,
    /// How long the daemon runs.
    pub uptime: Duration,
}

/// Figures of an instance that runs. Absent is what could not be read, because it was just ending or the host does not count it.
#[derive(Debug)]
pub struct InstanceMetrics {
    /// Its project.
    pub project: ProjectName,
    /// Its name.
    pub name: InstanceName,
    /// What it used by kind.
    pub figures: Figures,
    /// What it uses now.
    pub stats: Stats,
    /// The most memory it can have, in bytes: its limit, or what the host has.
    pub memory_total: u64,
    /// Its disks by the names of the host's block devices, with bytes and operations.
    pub disks: BTreeMap<String, cgroup::DiskTraffic>,
    /// Its root file system.
    pub root: Option<FilesystemMetrics>,
    /// Its network interfaces.
    pub links: Vec<coffer_network::LinkState>,
}

/// How full a file system is.
#[derive(Debug, Clone)]
pub struct FilesystemMetrics {
    /// The pool that it is in.
    pub pool: PoolName,
    /// The pool's driver.
    pub driver: String,
    /// Bytes that it can hold: its limit, or what the pool has.
    pub size: u64,
    /// Bytes that are free.
    pub free: u64,
}

impl Engine {
    /// Reads the figures of the instances of a project, or of all, and of the server.
    ///
    /// # Errors
    /// Only the store's.
    pub fn metrics(&self, scope: &Scope) -> Result<Metrics, EngineError> {
        let project = match scope {
            Scope::Project(project) => Some(project),
            Scope::All => None,
        };
        let instances = self.inner.store.read(|conn| coffer_store::instance::list(conn, project))?;
        let mut pass = Pass { inspector: Inspector::default(), pools: HashMap::new(), disks: HashMap::new() };
        let running = instances.iter().filter_map(|instance| {
            let (_, running) = self.inner.cells.peek(&instance.project, &instance.name);
            Some(self.instance_metrics(instance, &*running?, &mut pass))
        });
        let instances = running.collect();
        let operations = self.operations().list().iter().filter(|view| !view.status.is_final()).count();
        let warnings = self.warnings()?.iter().filter(|warning| warning.status == coffer_model::WarningStatus::New).count();
        Ok(Metrics { instances, operations: operations as u64, warnings: warnings as u64, uptime: self.inner.begun.elapsed() })
    }

    fn instance_metrics(&self, instance: &Instance, running: &Running, pass: &mut Pass) -> InstanceMetrics {
        let hierarchies = &self.inner.hierarchies;
        let figures = cgroup::figures(hierarchies, &running.cgroup).unwrap_or_default();
        let stats = cgroup::stats(hierarchies, &running.cgroup).unwrap_or_default();
        let links = pass.inspector.links_in(running.netns.as_fd());
        let disks = figures.disks.iter().map(|(number, traffic)| (pass.disk(number), *traffic)).collect();
        InstanceMetrics {
            project: instance.project.clone(),
            name: instance.name.clone(),
            memory_total: stats.memory_limit.unwrap_or(u64::MAX).min(self.inner.facts.memory),
            root: self.root_metrics(instance, pass),
            links: links.unwrap_or_default(),
            figures,
            stats,
            disks,
        }
    }

    fn root_metrics(&self, instance: &Instance, pass: &mut Pass) -> Option<FilesystemMetrics> {
        let pool = self.pool_driver(&instance.pool).ok()?;
        let (driver, total, used) = pass
            .pools
            .entry(instance.pool.clone())
            .or_insert_with(|| {
                let resources = pool.resources().ok()?;
                let record = self.inner.store.read(|conn| coffer_store::pool::get(conn, &instance.pool)).ok()??;
                Some((record.driver, resources.space_total, resources.space_used))
            })
            .clone()?;
        let pool_free = total.saturating_sub(used);
        let volume = pool.usage(&Volume::instance(&instance.project, &instance.name)).ok().flatten();
        let limited = volume.and_then(|usage| Some((usage.limit?, usage.used)));
        let (size, free) = match limited {
            Some((limit, used)) => (limit, limit.saturating_sub(used).min(pool_free)),
            None => (total, pool_free),
        };
        Some(FilesystemMetrics { pool: instance.pool.clone(), driver, size, free })
    }
}

/// What is read once for all instances.
struct Pass {
    inspector: Inspector,
    /// Driver, bytes in all and bytes in use of each pool.
    pools: HashMap<PoolName, Option<(String, u64, u64)>>,
    /// Names of block devices by their numbers.
    disks: HashMap<String, String>,
}

impl Pass {
    /// The name of a block device; its number if it is gone.
    ///
    /// Source: `/sys/dev/block/MAJOR:MINOR` is a link to the device's directory.
    fn disk(&mut self, number: &str) -> String {
        if let Some(known) = self.disks.get(number) {
            return known.clone();
        }
        let link = std::fs::read_link(format!("/sys/dev/block/{number}")).ok();
        let name = link.as_deref().and_then(std::path::Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_else(|| number.to_owned());
        self.disks.insert(number.to_owned(), name.clone());
        name
    }
}
