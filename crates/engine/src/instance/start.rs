//! Starting an instance.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use coffer_base::{Undo, fault};
use coffer_model::{Config, Instance, Profile, Status, Time, WarningKind};
use coffer_runtime_spec as spec;
use coffer_storage::{Pool, Volume};
use coffer_sys::path::Root;

use super::resolve::{self, Parts};
use super::{lxcfs, modules};
use crate::device::{self, RunConfig};
use crate::error::EngineError;
use crate::events::Caller;
use crate::guest;
use crate::live::{Claim, Running};
use crate::monitor::Monitor;
use crate::{Engine, MonitorError};

/// What a start needs to know of the instance.
pub(crate) struct Loaded {
    pub instance: Instance,
    pub id: i64,
    pub profiles: Vec<Profile>,
    pub config: Config,
}

impl Engine {
    /// Starts a stopped instance. The claim is the caller's.
    pub(crate) fn start(&self, claim: &Claim, instance: &Instance, caller: Option<&Caller>) -> Result<(), EngineError> {
        let cell = claim.cell();
        cell.become_state(Status::Starting, "it can be started only when it is stopped")?;
        cell.change(|live| live.restart_waits = None);
        let started = match self.start_stopped(claim, instance) {
            // Where the file system cannot map ids, the files get the instance's ids once and for all.
            Err(error) if cannot_map(&error) => self.shift_root(instance).and_then(|()| self.start_stopped(claim, instance)),
            started => started,
        };
        match started {
            Ok(()) => {
                self.lifecycle(instance, "instance-started", caller);
                self.well(WarningKind::AutostartFailure, &format!("/1.0/instances/{}", instance.name), Some(&instance.project));
                self.snapshot_at_start(claim, instance);
                Ok(())
            }
            Err(error) => {
                cell.change(|live| {
                    live.status = Status::Stopped;
                    live.running = None;
                });
                Err(error)
            }
        }
    }

    fn start_stopped(&self, claim: &Claim, instance: &Instance) -> Result<(), EngineError> {
        let mut loaded = self.load(&instance.project, &instance.name)?;
        claim.cell().change(|live| live.ready = false);
        loaded.may_start()?;
        modules::ensure_loaded(&loaded)?;
        let id_map = self.ensure_ids(&mut loaded)?;
        let mut undo = Undo::new(|warning| tracing::warn!("taking back a start: {warning}"));

        let monitor = self.begin_monitor(&loaded.instance, &mut undo)?;
        let pool = self.pool_driver(&loaded.instance.pool)?;
        self.settle_root(&pool, &loaded, id_map)?;
        self.write_templates(&loaded, &pool)?;
        self.write_device_links(&loaded, &pool)?;
        let volume = self.root_to_run(&pool, &loaded, id_map)?;
        let mounted = loaded.instance.clone();
        undo.push("unmounting its root", move || self.unmount_root(&mounted));
        fault::point("start.volume-mounted").map_err(|cause| EngineError::system("starting", cause))?;

        self.warm_up(&volume.rootfs);
        let mut fds = vec![volume.rootfs];
        let logs = self.log_files(&loaded.instance)?;
        let console_log = device::add_fd(&mut fds, logs.console);
        let log = device::add_fd(&mut fds, logs.monitor);
        let mut devices = self.device_start(&loaded, &mut fds, &mut undo)?;
        self.process_files(&loaded, &mut fds, &mut devices, &mut undo)?;
        self.guest_start(&loaded, id_map, &mut fds, &mut devices, &mut undo)?;
        lxcfs::mount(&mut fds, &mut devices);
        let cpus = self.assign_cpus(&loaded);
        undo.push("giving its CPUs back", || {
            self.free_cpus(loaded.id);
            Ok::<_, EngineError>(())
        });
        let label = self.confine(&loaded.instance, &loaded.config)?;
        fault::point("start.devices-ready").map_err(|cause| EngineError::system("starting", cause))?;

        let volatile = device_volatile(&devices);
        let spec = resolve::resolve(
            Parts {
                instance: &loaded.instance,
                cpus,
                config: &loaded.config,
                id_map,
                root: 0,
                root_idmapped: volume.idmapped,
                console_log,
                log,
                label,
                devices,
            },
            &self.inner.facts,
        );
        let cgroup = spec.cgroup.clone();
        let running = self.run_monitor(monitor, claim, &loaded.instance, spec, fds, &volatile)?;
        claim.cell().change(|live| {
            live.status = Status::Running;
            live.stop_asked = false;
            live.running = Some(Arc::new(Running { cgroup, ..running }));
        });
        undo.keep();
        self.gpu_libraries(&loaded);
        self.watch_health(&loaded.instance.project, &loaded.instance.name, &loaded.config);
        // One that ended before it stood in its cell was reported to nobody.
        if let Ok(running) = claim.cell().running()
            && running.monitor.is_gone()
        {
            self.ended_later(&loaded.instance.project, &loaded.instance.name, running.monitor.number, None);
        }
        self.prepare_next();
        self.rebalance_cpus();
        fault::point("start.running").map_err(|cause| EngineError::system("starting", cause))
    }

    /// Gives an instance that is about to start its guest API, unless it is to have none.
    fn guest_start<'a>(
        &'a self,
        loaded: &Loaded,
        id_map: Option<coffer_model::IdMap>,
        fds: &mut Vec<OwnedFd>,
        devices: &mut RunConfig,
        undo: &mut Undo<'a>,
    ) -> Result<(), EngineError> {
        let idmap = id_map.map_or(spec::IdMap::Privileged, |map| resolve::id_map(map, &loaded.config));
        let cgroup = resolve::cgroup(&self.inner.facts, &loaded.instance.key());
        let Some(directory) = self.open_door(loaded, &idmap, &cgroup)? else { return Ok(()) };
        let instance = loaded.instance.clone();
        undo.push("closing its guest API", move || {
            self.close_door(&instance);
            Ok::<_, EngineError>(())
        });
        devices.mounts.push(guest::door::mount(device::add_fd(fds, directory)));
        Ok(())
    }

    /// Takes a monitor and has it make the control groups, while the rest of the start is prepared here.
    fn begin_monitor<'a>(&'a self, instance: &Instance, undo: &mut Undo<'a>) -> Result<Arc<Monitor>, EngineError> {
        let spawned = self
            .inner
            .nursery
            .take()
            .map_err(|cause| EngineError::system(format!("instance {}: starting its monitor", instance.name), cause))?;
        fault::point("start.monitor-spawned").map_err(|cause| EngineError::system("starting", cause))?;
        let monitor = Arc::new(self.watch(spawned.connection, instance, Some(spawned.process))?);
        let cgroup = resolve::cgroup(&self.inner.facts, &instance.key());
        // What goes wrong with them is said by the start, which tries again.
        monitor.begin(spec::Request::Prepare { cgroup }, &[]).map_err(|cause| starting_failed(instance, cause))?;
        undo.push("discarding its control groups", {
            let monitor = monitor.clone();
            // One whose start failed has done so.
            move || match monitor.tell(spec::Request::Discard, &[]) {
                Err(MonitorError::Gone) => Ok(()),
                other => other,
            }
        });
        Ok(monitor)
    }

    /// Has a monitor start the instance; meanwhile writes down what is to be remembered of this start.
    fn run_monitor(
        &self,
        monitor: Arc<Monitor>,
        claim: &Claim,
        instance: &Instance,
        spec: spec::Spec,
        mut fds: Vec<OwnedFd>,
        volatile: &[(String, String)],
    ) -> Result<Running, EngineError> {
        let directory = self.fresh_run_directory(instance)?;
        let directory = device::add_fd(&mut fds, directory);
        let listen = spec::request::Listen { directory, name: SOCKET.to_owned() };
        let cgroup = spec.cgroup.clone();
        let failed = |cause| starting_failed(instance, cause);
        // The log of warnings and the end of the instance are reported; a monitor that is told nothing ends with us.
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let request = spec::Request::Start { spec: Box::new(spec), listen: Some(listen) };
        let pending = monitor.begin(request, &borrowed).map_err(failed)?;
        let remembered = self.remember_start(instance, volatile, claim);
        let (pid, warnings, handles) = match pending.wait(START_PATIENCE) {
            Ok((spec::Answer::Started { pid, warnings }, handles)) => (pid, warnings, handles),
            other => {
                self.forget_start(instance);
                return Err(failed(other.err().unwrap_or(MonitorError::Mismatch)));
            }
        };
        if let Err(error) = remembered {
            // What the next daemon does not know of must not run.
            monitor.tell(spec::Request::Kill { signal: spec::Signal::KILL }, &[]).map_err(failed)?;
            return Err(error);
        }
        for warning in warnings {
            tracing::warn!(instance = %instance.key(), "{warning}");
        }
        // It is done before anything that is asked later; one that ends before is gone, which is noticed too.
        monitor.begin(spec::Request::Subscribe, &[]).map_err(failed)?;
        let netns = netns(handles).map_err(failed)?;
        Ok(Running { monitor, pid, netns, started_at: Time::now(), cgroup })
    }

    /// Keeps what the next start and the next daemon need to know of this one.
    ///
    /// Nobody waits for the disk here: the next daemon reads it all the same, and after a power loss this start is over. It is
    /// settled soon after, so that an instance that ran is started again then.
    fn remember_start(&self, instance: &Instance, volatile: &[(String, String)], claim: &Claim) -> Result<(), EngineError> {
        let mut keys: Vec<(&str, Option<&str>)> = volatile.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))).collect();
        keys.push(("volatile.last_state.power", Some("RUNNING")));
        keys.push((super::templates::DEFERRED, None));
        // It may have been quicker than we are.
        keys.push((guest::facts::READY, claim.cell().lock().ready.then_some("true")));
        let remembered = self.inner.store.write_behind(|tx| {
            coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys)?;
            coffer_store::instance::touch(tx, &instance.project, &instance.name, Time::now())?;
            coffer_store::instance::get(tx, &instance.project, &instance.name)
        })?;
        if let Some(instance) = remembered {
            self.write_start_keys(&instance)
                .map_err(|cause| EngineError::system(format!("instance {}: writing down its start", instance.name), cause))?;
        }
        Ok(())
    }

    /// Remembers that a start came to nothing.
    fn forget_start(&self, instance: &Instance) {
        let keys = [("volatile.last_state.power", Some("STOPPED"))];
        let forgotten = self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, &instance.project, &instance.name, &keys));
        if let Err(error) = forgotten {
            tracing::warn!(instance = %instance.key(), "remembering that its start failed: {}", coffer_base::chain(&error));
        }
    }

    /// What follows a start while nobody waits: its records reach the disk, and the next start's monitor is made.
    fn prepare_next(&self) {
        let engine = self.clone();
        self.inner.runtime.spawn_blocking(move || {
            if let Err(error) = engine.inner.store.settle() {
                tracing::warn!("writing out what is remembered of a start: {}", coffer_base::chain(&error));
            }
        });
        self.prepare_monitor();
    }

    /// Has the next start's monitor made while nobody waits for it.
    pub(crate) fn prepare_monitor(&self) {
        let engine = self.clone();
        self.inner.runtime.spawn_blocking(move || {
            if let Err(error) = engine.inner.nursery.prepare() {
                tracing::warn!("making a monitor ready: {error}");
            }
        });
    }

    /// Has the kernel read init's program while the monitor prepares: on a fresh volume it lies in nobody's cache yet.
    fn warm_up(&self, root: &OwnedFd) {
        let Ok(root) = root.try_clone() else { return };
        self.inner.runtime.spawn_blocking(move || warm_up(Root::from_fd(root)));
    }

    /// The same for an instance that was just made: most are started next.
    pub(super) fn warm_up_made(&self, pool: &Arc<dyn Pool>, volume: &Volume) {
        let (pool, volume) = (pool.clone(), volume.clone());
        self.inner.runtime.spawn_blocking(move || {
            // A volume that is not mounted shows an empty directory, with nothing to be read.
            if let Ok(directory) = pool.directory(&volume)
                && let Ok(root) = Root::from_fd(directory).dir("rootfs")
            {
                warm_up(root);
            }
        });
    }
}

fn warm_up(root: Root) {
    if let Ok(init) = root.open_file("sbin/init") {
        // Only a hint: what cannot be read early is read when it is executed.
        let _ = rustix::fs::fadvise(&init, 0, None, rustix::fs::Advice::WillNeed);
    }
}

impl Loaded {
    /// Refuses where the configuration says that the instance must not be started.
    pub(crate) fn may_start(&self) -> Result<(), EngineError> {
        if self.config.flag("security.protection.start", false) {
            let name = &self.instance.name;
            return Err(EngineError::Refused(format!("instance {name} is protected; unset security.protection.start to start it")));
        }
        Ok(())
    }
}

/// The network namespace among a monitor's handles.
pub(crate) fn netns(mut handles: Vec<OwnedFd>) -> Result<OwnedFd, MonitorError> {
    if handles.len() < 2 {
        return Err(MonitorError::Mismatch);
    }
    Ok(handles.swap_remove(1))
}

fn starting_failed(instance: &Instance, cause: MonitorError) -> EngineError {
    EngineError::Monitor { instance: instance.name.clone(), doing: "starting it", cause }
}

/// Says whether a start failed because the root's file system knows no idmapped mounts.
fn cannot_map(error: &EngineError) -> bool {
    const NOT_SUPPORTED: [i32; 2] = [rustix::io::Errno::INVAL.raw_os_error(), rustix::io::Errno::OPNOTSUPP.raw_os_error()];
    match error {
        EngineError::Monitor { cause: MonitorError::Refused(refusal), .. } => {
            refusal.stage == Some(spec::Stage::IdMappedRoot) && refusal.errno.is_some_and(|errno| NOT_SUPPORTED.contains(&errno))
        }
        _ => false,
    }
}

/// The monitor's socket in the instance's run directory.
pub(crate) const SOCKET: &str = "monitor.socket";

/// How long a start may take: mounting a large image volume on a slow disk is part of it.
const START_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What devices want remembered, as keys.
fn device_volatile(devices: &RunConfig) -> Vec<(String, String)> {
    devices.volatile.clone()
}
