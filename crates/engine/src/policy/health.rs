//! Looking after instances' health: one task for each that is checked (the keys `health.*`).
//!
//! ```text
//!               a check passes
//!   starting ------------------> healthy
//!       |                         |   ^
//!       | retries in a row fail   |   | a check passes
//!       v                         v   |
//!       +-----------------------> unhealthy ---> restarted, where wanted
//! ```

use std::time::{Duration, Instant};

use coffer_base::chain;
use coffer_model::{Config, Health, HealthPlan, Instance, InstanceName, ProjectName, Status};

use crate::Engine;
use crate::error::EngineError;
use crate::events::{EventBody, Lifecycle};
use crate::live::Live;

/// The time to the first check, which doubles until one passes or the plan's interval is reached.
const FIRST_WAIT: Duration = Duration::from_millis(100);

impl Live {
    /// Ends the checks of an instance that has ended.
    pub(crate) fn end_health(&mut self) {
        self.health = None;
        if let Some(watch) = self.health_watch.take() {
            watch.abort();
        }
    }
}

impl Engine {
    /// Checks the health of a running instance from now on as its configuration says, or not any more.
    pub(crate) fn watch_health(&self, project: &ProjectName, name: &InstanceName, config: &Config) {
        let cell = self.inner.cells.get(project, name);
        let plan = HealthPlan::of(config);
        cell.change(|live| {
            live.end_health();
            if live.running.is_none() {
                return;
            }
            let Some(plan) = plan else { return };
            live.health = Some(Health::Starting);
            let look = look_after(self.clone(), project.clone(), name.clone(), plan);
            live.health_watch = Some(self.inner.runtime.spawn(look).abort_handle());
        });
    }

    fn tell_health(&self, instance: &Instance, action: &'static str, why: Option<&str>) {
        let context = why.map(|why| serde_json::json!({ "reason": why }));
        let body = Lifecycle { action, source: format!("/1.0/instances/{}", instance.name), context, requestor: None };
        self.inner.events.send(Some(instance.project.clone()), EventBody::Lifecycle(body));
    }

    /// Kills an unhealthy instance; how it is started again is as if it had ended by itself.
    fn restart_unhealthy(&self, instance: &Instance) -> Result<(), EngineError> {
        let claim = self.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("restarting")?;
        claim.cell().change(|live| live.restarting = true);
        let stopped = self.stop(&claim, instance, None, true, None);
        claim.cell().change(|live| live.restarting = false);
        drop(claim);
        stopped.map(|()| self.restart_later(instance))
    }
}

async fn look_after(engine: Engine, project: ProjectName, name: InstanceName, plan: HealthPlan) {
    let cell = engine.inner.cells.get(&project, &name);
    let (started, mut failures, mut wait) = (Instant::now(), 0, FIRST_WAIT.min(plan.interval));
    loop {
        tokio::time::sleep(wait).await;
        // One that is frozen cannot answer, and nobody expects it to.
        cell.until(|live| (live.status == Status::Running).then_some(())).await;
        let checked = engine.check(&project, &name, &plan).await;
        let passed = checked.is_ok();
        failures = if passed || started.elapsed() < plan.start_period { 0 } else { failures + 1 };
        let now = if passed { Some(Health::Healthy) } else { (failures >= plan.retries).then_some(Health::Unhealthy) };
        let before = cell.lock().health;
        if let Some(now) = now.filter(|now| Some(*now) != before) {
            cell.change(|live| live.health = Some(now));
            let Ok(instance) = engine.load(&project, &name).map(|loaded| loaded.instance) else { return };
            match (now, checked) {
                (Health::Unhealthy, Err(why)) => {
                    tracing::warn!(instance = %instance.key(), "unhealthy: {why}");
                    engine.tell_health(&instance, "instance-unhealthy", Some(&why));
                    if plan.restart {
                        return restart(engine, instance);
                    }
                }
                _ => engine.tell_health(&instance, "instance-healthy", None),
            }
        }
        let first = cell.lock().health == Some(Health::Starting);
        wait = if first { (wait * 2).min(plan.interval) } else { plan.interval };
    }
}

/// Restarts off the watch, which ends with the instance.
fn restart(engine: Engine, instance: Instance) {
    let runtime = engine.inner.runtime.clone();
    runtime.spawn_blocking(move || {
        if let Err(error) = engine.restart_unhealthy(&instance) {
            tracing::error!(instance = %instance.key(), "restarting it because it is unhealthy: {}", chain(&error));
        }
    });
}
