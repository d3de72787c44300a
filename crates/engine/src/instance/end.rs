//! What happens when an instance has ended, whoever wanted it.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use coffer_base::{chain, fault};
use coffer_model::{Instance, InstanceName, ProjectName, Status};
use coffer_runtime_spec::{Connection, ExitReason, Report};
use coffer_sys::process::{self, Child};

use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::monitor::Monitor;

impl Engine {
    /// Listens to a monitor: its reports, and its end. `child` is its process where this daemon started it.
    pub(crate) fn watch(&self, connection: Connection, instance: &Instance, child: Option<Child>) -> Result<Monitor, EngineError> {
        let _runtime = self.inner.runtime.enter();
        let number = self.inner.next_connection.fetch_add(1, Ordering::Relaxed);
        let key = (instance.project.clone(), instance.name.clone());
        let (reporter, (project, name)) = (self.clone(), key.clone());
        let report = move |report: Report| match report {
            Report::Exited { reason } => reporter.ended_later(&project, &name, number, Some(reason)),
            Report::Warning(text) => tracing::warn!(instance = %name, "{text}"),
            Report::StageFailed(refusal) => tracing::info!(instance = %name, "start failed: {refusal}"),
            Report::Started { .. } | Report::ExecExited(_) => {}
        };
        let (engine, (project, name)) = (self.clone(), key);
        let gone = move || {
            engine.ended_later(&project, &name, number, None);
            if let Some(child) = child {
                // It has closed its connection, so this is short; without it a zombie would stay.
                engine.inner.runtime.spawn_blocking(move || drop(process::wait(child.pidfd.as_fd())));
            }
        };
        Monitor::new(number, connection, report, gone)
            .map_err(|cause| EngineError::system(format!("instance {}: watching its monitor", instance.name), cause))
    }

    /// Cleans up after an instance soon. `number` is the connection that reports its end: one that was replaced since is
    /// not believed.
    pub(crate) fn ended_later(&self, project: &ProjectName, name: &InstanceName, number: u64, reason: Option<ExitReason>) {
        let (engine, project, name) = (self.clone(), project.clone(), name.clone());
        self.inner.runtime.spawn_blocking(move || {
            if let Err(error) = engine.ended(&project, &name, number, reason) {
                tracing::error!(instance = %name, "cleaning up after the end: {}", chain(&error));
            }
        });
    }

    /// Cleans up after an instance. Called once for its report and once for the monitor's end; only the first does it.
    fn ended(&self, project: &ProjectName, name: &InstanceName, number: u64, reason: Option<ExitReason>) -> Result<(), EngineError> {
        let cell = self.inner.cells.get(project, name);
        let taken = cell.change(|live| {
            let ended = live.running.take_if(|running| running.monitor.number == number);
            ended.map(|running| {
                live.end_health();
                (running, live.stop_asked, live.files.take())
            })
        });
        let Some((_running, asked, files)) = taken else { return Ok(()) };
        if let Some(server) = files {
            // It stands in a mount namespace that nobody else needs any more.
            server.end();
        }
        tracing::info!(instance = %name, "ended: {}", reason.map_or_else(|| "its monitor died".to_owned(), |reason| reason.to_string()));
        let cleaned = self.clean_up(project, name);
        cell.change(|live| {
            live.status = Status::Stopped;
            live.stop_asked = false;
        });
        let instance = cleaned?;
        if !asked {
            self.lifecycle(&instance, "instance-shutdown", None);
        }
        self.after_end(&instance, reason, asked)
    }

    /// Takes away what the instance's devices and root left on the host, and remembers that it is off.
    pub(crate) fn clean_up(&self, project: &ProjectName, name: &InstanceName) -> Result<Instance, EngineError> {
        let cut = |cause| EngineError::system("cleaning up", cause);
        fault::point("stop.ended").map_err(cut)?;
        let loaded = self.load(project, name)?;
        self.device_end(&loaded);
        self.close_door(&loaded.instance);
        self.free_cpus(loaded.id);
        self.unmount_root(&loaded.instance)?;
        fault::point("stop.devices-removed").map_err(cut)?;
        // An exit record that is there tells the next daemon of an end that nobody has cleaned up after.
        for directory in [self.device_directory(&loaded.instance), self.run_path(&loaded.instance)] {
            match std::fs::remove_dir_all(&directory) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(instance = %name, "removing {}: {cause}", directory.display());
                }
                _ => {}
            }
        }
        // Instances that stop because the host goes down start again with it.
        if !self.shutting_down() {
            let keys = [("volatile.last_state.power", Some("STOPPED")), (crate::guest::facts::READY, None)];
            self.inner.store.write(|tx| coffer_store::instance::set_volatile(tx, project, name, &keys))?;
        }
        Ok(loaded.instance)
    }

    fn after_end(&self, instance: &Instance, reason: Option<ExitReason>, asked: bool) -> Result<(), EngineError> {
        if reason == Some(ExitReason::Reboot) && !asked {
            let claim = self.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("rebooting")?;
            self.start(&claim, instance, None)?;
            self.lifecycle(instance, "instance-restarted", None);
            return Ok(());
        }
        if !asked && !self.shutting_down() && self.restarts_by_itself(instance) {
            self.restart_later(instance);
            return Ok(());
        }
        if instance.ephemeral && !self.restarting(instance) { self.delete_ephemeral(instance, None) } else { Ok(()) }
    }

    /// Deletes an ephemeral instance that has ended, unless somebody did already: both its end and whoever asked for that do.
    pub(crate) fn delete_ephemeral(&self, instance: &Instance, caller: Option<&Caller>) -> Result<(), EngineError> {
        if self.shutting_down() {
            return Ok(());
        }
        let (project, name) = (&instance.project, &instance.name);
        let claim = self.inner.cells.get(project, name).claim_at_last("deleting")?;
        let now = self.inner.store.read(|conn| coffer_store::instance::get(conn, project, name))?;
        // Another may have its name by now.
        let same = now.is_some_and(|now| now.created_at == instance.created_at);
        if same { self.delete_stopped(&claim, instance, caller) } else { Ok(()) }
    }

    /// Whether a restart is under way, which stops and starts again: an ephemeral instance survives that.
    fn restarting(&self, instance: &Instance) -> bool {
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        let live = cell.lock();
        live.restarting
    }
}
