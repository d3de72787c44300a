//! Starting what an instance depends on before it, and waiting until that can be used (`boot.depends`).

use std::collections::BTreeMap;
use std::time::Duration;

use coffer_model::depends::{self, Graph};
use coffer_model::{Config, Dependencies, Health, HealthPlan, Instance, InstanceName, ProjectName, Readiness, Status};
use coffer_store::Conn;

use super::budget::Budget;
use crate::Engine;
use crate::error::EngineError;
use crate::events::Caller;
use crate::instance::view::profiles_by_project;

/// What an instance with this configuration depends on.
pub(crate) fn of(config: &Config) -> Dependencies {
    config.parse("boot.depends").unwrap_or_default()
}

impl Engine {
    /// Refuses dependencies on instances that do not exist, and on each other in a circle.
    pub(crate) fn check_dependencies(&self, conn: &Conn, instance: &Instance, config: &Config) -> Result<(), EngineError> {
        let wanted = of(config);
        if wanted.0.is_empty() {
            return Ok(());
        }
        let all = coffer_store::instance::list(conn, Some(&instance.project))?;
        let profiles = profiles_by_project(conn, Some(&instance.project))?;
        let names = |config: &Config| of(config).0.into_iter().map(|dependency| dependency.name).collect::<Vec<_>>();
        let mut graph: Graph = BTreeMap::new();
        for other in &all {
            let own = |name| profiles.get(&(instance.project.clone(), name)).cloned();
            let own: Vec<_> = other.profiles.iter().cloned().filter_map(own).collect();
            graph.insert(other.name.clone(), names(&other.expanded_config(&own)));
        }
        graph.insert(instance.name.clone(), names(config));
        if let Some(missing) = wanted.0.iter().find(|dependency| !graph.contains_key(&dependency.name)) {
            let Instance { name, project, .. } = instance;
            return Err(EngineError::Refused(format!(
                "instance {name}: boot.depends names instance {}, which does not exist in project {project}",
                missing.name
            )));
        }
        if let Some(path) = depends::cycle_through(&graph, &instance.name) {
            return Err(circle(&path));
        }
        Ok(())
    }

    /// Starts what an instance depends on, as far as it does not run, and waits until it can be used. Blocks.
    pub(crate) fn start_dependencies(
        &self,
        project: &ProjectName,
        name: &InstanceName,
        caller: Option<&Caller>,
        budget: Option<&Budget>,
    ) -> Result<(), EngineError> {
        self.start_needed(project, &mut vec![name.clone()], caller, budget)
    }

    /// `path` leads from the instance that was asked for to the one whose dependencies are started: profiles may have made a
    /// circle that no gate has seen.
    fn start_needed(
        &self,
        project: &ProjectName,
        path: &mut Vec<InstanceName>,
        caller: Option<&Caller>,
        budget: Option<&Budget>,
    ) -> Result<(), EngineError> {
        let Some(name) = path.last().cloned() else { return Ok(()) };
        let loaded = self.load(project, &name)?;
        let patience = Duration::from_secs(loaded.config.parse("boot.depends.timeout").unwrap_or(60));
        let needed = of(&loaded.config).0;
        for dependency in &needed {
            if let Some(at) = path.iter().position(|earlier| *earlier == dependency.name) {
                return Err(circle(&[&path[at..], std::slice::from_ref(&dependency.name)].concat()));
            }
            path.push(dependency.name.clone());
            self.start_if_stopped(project, path, caller, budget)?;
            path.pop();
        }
        for dependency in &needed {
            self.wait_usable(project, &name, &dependency.name, dependency.until, patience)?;
        }
        Ok(())
    }

    fn start_if_stopped(
        &self,
        project: &ProjectName,
        path: &mut Vec<InstanceName>,
        caller: Option<&Caller>,
        budget: Option<&Budget>,
    ) -> Result<(), EngineError> {
        let Some(name) = path.last().cloned() else { return Ok(()) };
        let cell = self.inner.cells.get(project, &name);
        if cell.status() != Status::Stopped {
            return Ok(());
        }
        self.start_needed(project, path, caller, budget)?;
        let _permit = budget.map(Budget::take);
        let claim = cell.claim_beside_readers("starting")?;
        // Somebody else may have been quicker.
        if cell.status() != Status::Stopped {
            return Ok(());
        }
        let instance = self.load(project, &name)?.instance;
        self.start(&claim, &instance, caller)
    }

    fn wait_usable(
        &self,
        project: &ProjectName,
        waiting: &InstanceName,
        name: &InstanceName,
        until: Readiness,
        patience: Duration,
    ) -> Result<(), EngineError> {
        let checked = HealthPlan::of(&self.load(project, name)?.config).is_some();
        let until = match until {
            Readiness::Usable if checked => Readiness::Healthy,
            Readiness::Usable => Readiness::Running,
            Readiness::Healthy if !checked => {
                let text = format!(
                    "instance {waiting} waits for the health of {name}, which is not checked: set health.exec, .tcp or .http there"
                );
                return Err(EngineError::Refused(text));
            }
            other => other,
        };
        let cell = self.inner.cells.get(project, name);
        let reached = cell.until(|live| match (live.status, until) {
            (Status::Stopped | Status::Error, _) => Some(Err("ended")),
            (Status::Running, Readiness::Running | Readiness::Usable) => Some(Ok(())),
            (Status::Running, Readiness::Ready) => live.ready.then_some(Ok(())),
            (Status::Running, Readiness::Healthy) => (live.health == Some(Health::Healthy)).then_some(Ok(())),
            (Status::Starting | Status::Stopping | Status::Frozen, _) => None,
        });
        let word = match until {
            Readiness::Usable | Readiness::Running => "running",
            Readiness::Healthy => "healthy",
            Readiness::Ready => "ready",
        };
        let reached = self.inner.runtime.block_on(async { tokio::time::timeout(patience, reached).await });
        let why = match reached {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => format!("which {why}"),
            Err(_) => format!("which was not {word} within {} seconds", patience.as_secs()),
        };
        Err(EngineError::Refused(format!("instance {waiting} depends on {name}, {why}")))
    }
}

fn circle(path: &[InstanceName]) -> EngineError {
    let names: Vec<&str> = path.iter().map(InstanceName::as_str).collect();
    EngineError::Refused(format!("boot.depends leads in a circle: {}", names.join(" -> ")))
}
