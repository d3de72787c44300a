//! After a start of the daemon: compares store, disk and kernel, and finishes or removes what was cut off.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use coffer_base::chain;
use coffer_model::{Instance, Phase, Status, Time};
use coffer_runtime_spec::{Answer, Connection, ExitReason, ExitRecord, Request, State};
use coffer_sys::socket::PacketSocket;

use crate::Engine;
use crate::MonitorError;
use crate::error::EngineError;
use crate::instance::start::{SOCKET, netns};
use crate::live::Running;

/// What became of an instance while no daemon was there.
pub(crate) enum Found {
    /// Its monitor is there and was taken over.
    Runs,
    /// It ended in order; the record says how.
    Ended(ExitReason),
    /// Nothing is left of it: the host went down, or somebody killed its monitor.
    Vanished,
}

impl Engine {
    /// Brings pools, networks and instances to where the store says they are. Blocks; the API may listen meanwhile.
    ///
    /// Nothing here keeps the daemon from starting: what cannot be brought back is logged and tried again when it is used.
    pub fn recover(&self) {
        self.warn_of_controllers();
        self.recover_pools();
        if let Err(error) = self.sweep_images() {
            tracing::error!("removing files of images that nobody knows: {}", chain(&error));
        }
        // Before the instances: what comes while they are looked for is not missed.
        self.watch_devices();
        let found = self.find_instances();
        // After the instances: the NICs of those that run stay on their bridges, what else hangs there goes.
        self.recover_networks();
        self.rebalance_cpus();
        let wanted = self.settle_instances(found);
        // After the instances: a restore that is finished may need what is half deleted.
        self.recover_snapshots();
        // After renames were finished: a backup's file is found by its instance's name.
        if let Err(error) = self.sweep_backups() {
            tracing::error!("removing files of backups that nobody knows: {}", chain(&error));
        }
        self.inner.ready.store(true, Ordering::SeqCst);
        self.inner.events.lifecycle(None, "daemon-started", "/1.0".into(), None);
        self.keep_snapshots();
        self.start_wanted(&wanted);
        self.prepare_monitor();
    }

    fn recover_pools(&self) {
        let pools = self.inner.store.read(coffer_store::pool::list);
        for pool in pools.inspect_err(|error| tracing::error!("listing pools: {}", chain(error))).unwrap_or_default() {
            if !pool.made {
                self.forget_half_pool(&pool);
                continue;
            }
            if let Err(error) = self.open_pool(&pool) {
                tracing::error!(pool = %pool.name, "opening it: {}", chain(&error));
            }
        }
    }

    /// A pool whose making was cut off: what is there of it goes, if it can be opened at all, and then its record.
    fn forget_half_pool(&self, pool: &coffer_model::Pool) {
        if let Ok(driver) = self.open_pool(pool)
            && let Err(error) = driver.delete()
        {
            tracing::warn!(pool = %pool.name, "removing what was left of making it: {}", chain(&error));
        }
        self.inner.pools.forget(&pool.name);
        if let Err(error) = self.inner.store.write(|tx| coffer_store::pool::delete(tx, &pool.name)) {
            tracing::error!(pool = %pool.name, "forgetting it: {}", chain(&error));
        }
    }

    /// Looks for every instance's monitor and takes over those that are there.
    fn find_instances(&self) -> Vec<(Instance, Found)> {
        let all = self.inner.store.read(|conn| coffer_store::instance::list(conn, None));
        let all = all.inspect_err(|error| tracing::error!("listing instances: {}", chain(error))).unwrap_or_default();
        let find = |instance: Instance| {
            self.remember_addresses(&instance);
            let found = self.find(&instance).unwrap_or_else(|error| {
                tracing::error!(instance = %instance.name, "looking for its monitor: {}", chain(&error));
                Found::Vanished
            });
            match found {
                Found::Runs => {}
                Found::Ended(_) | Found::Vanished => self.close_door(&instance),
            }
            (instance, found)
        };
        all.into_iter().map(find).collect()
    }

    /// Finishes or removes what was cut off. Answers the instances that should be started now.
    fn settle_instances(&self, found: Vec<(Instance, Found)>) -> Vec<Instance> {
        let settle = |(instance, found): (Instance, Found)| match self.settle(&instance, found) {
            Ok(true) => Some(instance),
            Ok(false) => None,
            Err(error) => {
                tracing::error!(instance = %instance.name, "recovering it: {}", chain(&error));
                None
            }
        };
        found.into_iter().filter_map(settle).collect()
    }

    fn settle(&self, instance: &Instance, found: Found) -> Result<bool, EngineError> {
        self.recover_move(instance)?;
        self.release_held(instance)?;
        if instance.phase == Phase::Ready {
            self.settle_change_if_any(instance);
        }
        if let Some(start) = self.finish_restore(instance, matches!(found, Found::Runs))? {
            return Ok(start);
        }
        match (instance.phase, found) {
            // Nobody was told that it exists, or somebody was told that it will go.
            (Phase::Creating | Phase::Deleting, _) => {
                self.remove(instance)?;
                Ok(false)
            }
            (Phase::Ready, Found::Runs) => {
                self.plug_what_came(instance);
                Ok(false)
            }
            (Phase::Ready, Found::Ended(reason)) => {
                self.clean_up(&instance.project, &instance.name)?;
                if instance.ephemeral && reason != ExitReason::Reboot {
                    self.remove(instance)?;
                    return Ok(false);
                }
                Ok(reason == ExitReason::Reboot || self.restarts_by_itself(instance))
            }
            (Phase::Ready, Found::Vanished) => self.should_start(instance),
        }
    }

    /// Looks for an instance's monitor, and takes it over.
    pub(crate) fn find(&self, instance: &Instance) -> Result<Found, EngineError> {
        let Ok(directory) = self.open_run_directory(instance) else { return Ok(Found::Vanished) };
        if let Ok(socket) = PacketSocket::connect(directory.as_fd(), SOCKET) {
            match self.take_over(instance, Connection::new(socket)) {
                Ok(()) => return Ok(Found::Runs),
                // It was just ending: its record is there or will not come.
                Err(EngineError::Monitor { cause: MonitorError::Gone, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let record = std::fs::read(self.run_path(instance).join(format!("{SOCKET}.exit")));
        let record = record.ok().and_then(|bytes| serde_json::from_slice::<ExitRecord>(&bytes).ok());
        let was_running = instance.config.get("volatile.last_state.power") == Some("RUNNING");
        if let Some(record) = &record {
            self.finish_execs(instance, &record.execs);
        }
        Ok(match record {
            Some(record) if was_running => Found::Ended(record.reason),
            _ => Found::Vanished,
        })
    }

    fn take_over(&self, instance: &Instance, connection: Connection) -> Result<(), EngineError> {
        let failed = |cause| EngineError::Monitor { instance: instance.name.clone(), doing: "taking it over", cause };
        let monitor = self.watch(connection, instance, None)?;
        let (answer, _) = monitor.ask(Request::Status, &[]).map_err(failed)?;
        let Answer::Status(status) = answer else { return Err(failed(MonitorError::Mismatch)) };
        let state = match status.state {
            State::Running | State::Starting => Status::Running,
            State::Frozen => Status::Frozen,
            State::Idle | State::Ended => return Err(failed(MonitorError::Gone)),
        };
        monitor.tell(Request::Subscribe, &[]).map_err(failed)?;
        let started_at = i64::try_from(status.started_at).ok().and_then(|milliseconds| Time::from_millisecond(milliseconds).ok());
        let started_at = started_at.unwrap_or_else(Time::now);
        let (_, handles) = monitor.ask(Request::Handles, &[]).map_err(failed)?;
        let netns = netns(handles).map_err(failed)?;
        let running = Running { monitor: Arc::new(monitor), pid: status.pid, netns, started_at, cgroup: status.cgroup.clone() };
        self.inner.cells.get(&instance.project, &instance.name).change(|live| {
            live.status = state;
            live.ready = instance.config.flag(crate::guest::facts::READY, false);
            live.running = Some(Arc::new(running));
        });
        if let Ok(running) = self.inner.cells.get(&instance.project, &instance.name).running() {
            self.resume_execs(instance, &running.monitor, &status.execs);
        }
        self.watch_health(&instance.project, &instance.name, &self.load(&instance.project, &instance.name)?.config);
        self.nics_run(instance);
        if let Err(error) = self.reopen_door(instance, status.pid, &status.cgroup) {
            tracing::error!(instance = %instance.name, "{}", chain(&error));
        }
        self.recall_cpus(&self.load(&instance.project, &instance.name)?);
        tracing::info!(instance = %instance.name, pid = status.pid, "found running");
        Ok(())
    }

    /// Whether an instance that does not run should: it says so, or it ran when the host went down.
    fn should_start(&self, instance: &Instance) -> Result<bool, EngineError> {
        let loaded = self.load(&instance.project, &instance.name)?;
        let ran = instance.config.get("volatile.last_state.power") == Some("RUNNING");
        self.forget_redirections(&loaded);
        if ran {
            self.device_end(&loaded);
            if instance.ephemeral {
                self.remove(instance)?;
                return Ok(false);
            }
        }
        Ok(loaded.config.flag("boot.autostart", ran))
    }

    /// Waits; true if the daemon ends meanwhile.
    pub(crate) fn wait_unless_ending(&self, delay: Duration) -> bool {
        let waited = async { tokio::time::timeout(delay, self.shutdown_requested()).await.is_ok() };
        self.inner.runtime.block_on(waited)
    }
}
