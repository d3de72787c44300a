//! Stopping all instances and then the daemon.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coffer_model::Config;

use crate::error::EngineError;
use crate::events::Caller;
use crate::request::{InstanceView, Scope};
use crate::{Detail, Engine};

impl Engine {
    /// Stops all instances by their priority, and then asks the daemon to end. Instances that ran start again with it.
    ///
    /// # Errors
    /// If the instances cannot be listed; the daemon ends all the same.
    pub async fn shutdown(&self, force: bool, timeout: Option<Duration>) -> Result<(), EngineError> {
        self.inner.shutting_down.store(true, Ordering::SeqCst);
        if !force {
            let minutes = self.server_config().ok().and_then(|config| config.parse("core.shutdown_timeout")).unwrap_or(5);
            self.operations().drain(timeout.unwrap_or(Duration::from_secs(minutes * 60))).await;
        }
        let engine = self.clone();
        let stopped = tokio::task::spawn_blocking(move || engine.stop_all()).await;
        self.inner.end.send_replace(true);
        stopped.unwrap_or_else(|panic| Err(EngineError::Refused(format!("stopping the instances: {panic}"))))
    }

    /// Ends when somebody asked the daemon to end.
    pub async fn shutdown_requested(&self) {
        let mut end = self.inner.end.subscribe();
        // The sender lives as long as the engine does.
        let _ = end.wait_for(|end| *end).await;
    }

    /// Says whether the daemon is stopping its instances.
    #[must_use]
    pub fn shutting_down(&self) -> bool {
        self.inner.shutting_down.load(Ordering::SeqCst)
    }

    /// Stops what runs: those of one priority at the same time, the highest first, and what others depend on after those.
    fn stop_all(&self) -> Result<(), EngineError> {
        let mut running: Vec<InstanceView> = self.instances(&Scope::All, Detail::Plain)?;
        running.retain(|view| view.status.is_up());
        let priority = |view: &InstanceView| view.expanded_config.parse::<i64>("boot.stop.priority").unwrap_or(0);
        running.sort_by_key(|view| std::cmp::Reverse(priority(view)));
        for group in running.chunk_by(|a, b| priority(a) == priority(b)) {
            for step in crate::policy::stop_steps(group) {
                std::thread::scope(|scope| {
                    for view in step {
                        scope.spawn(|| self.stop_for_shutdown(view));
                    }
                });
            }
        }
        self.close();
        Ok(())
    }

    /// Takes networks and pools off the host, where nothing runs any more: a host that goes down has nothing of ours left,
    /// and the next start brings all back. What still runs keeps what it stands on.
    fn close(&self) {
        self.end_files();
        let up = self.instances(&Scope::All, Detail::Plain).map(|views| views.iter().any(|view| view.status.is_up()));
        if up.unwrap_or(true) {
            return;
        }
        self.close_networks();
        self.close_pools();
        self.release_runtime_files();
        self.inner.nursery.close();
    }

    /// Stops one instance cleanly, and kills it if that takes too long.
    fn stop_for_shutdown(&self, view: &InstanceView) {
        let instance = &view.instance;
        let nobody: Option<&Caller> = None;
        let stopped = self.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("stopping").and_then(|claim| {
            if view.expanded_config.get("boot.host_shutdown_action") == Some("force-stop") {
                return self.stop(&claim, instance, None, true, nobody);
            }
            self.stop(&claim, instance, Some(patience(&view.expanded_config)), false, nobody)
                .or_else(|_| self.stop(&claim, instance, None, true, nobody))
        });
        if let Err(error) = stopped {
            tracing::error!(instance = %instance.name, "stopping it: {}", coffer_base::chain(&error));
        }
    }
}

fn patience(config: &Config) -> Duration {
    Duration::from_secs(config.parse("boot.host_shutdown_timeout").unwrap_or(30))
}
