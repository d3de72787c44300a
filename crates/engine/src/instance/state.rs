//! Changing an instance's state: start, stop, restart, freeze, unfreeze.

use std::time::Duration;

use coffer_model::{Instance, InstanceName, ProjectName, Status};

use crate::error::EngineError;
use crate::events::Caller;
use crate::operations::{NewOperation, OperationView};
use crate::request::{Action, Scope, StateChange};
use crate::{Detail, Engine, InstanceView};

impl Engine {
    /// Changes an instance's state in an operation.
    ///
    /// # Errors
    /// If there is no such instance, or it is in a state that the change makes no sense in.
    pub fn change_state(
        &self,
        caller: &Caller,
        project: &ProjectName,
        name: &InstanceName,
        change: StateChange,
    ) -> Result<OperationView, EngineError> {
        let loaded = self.load(project, name)?;
        let change = suited(change, self.inner.cells.get(project, name).status());
        self.may_change(&loaded.instance, change.action)?;
        if matches!(change.action, Action::Start | Action::Restart) {
            loaded.may_start()?;
        }
        let instance = loaded.instance;
        let new = NewOperation::instance(description(change.action), project, name.as_str());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| engine.apply_state(&instance, change, &caller)))
    }

    /// Changes the state of all instances of a project that are in a state for it, in one operation.
    ///
    /// # Errors
    /// If the instances cannot be read.
    pub fn change_all_states(&self, caller: &Caller, project: &ProjectName, change: StateChange) -> Result<OperationView, EngineError> {
        let all = self.instances(&Scope::Project(project.clone()), Detail::Plain)?;
        let suit = |view: InstanceView| {
            let change = suited(change, view.status);
            fits(view.status, change.action).then_some((view.instance, change))
        };
        let fit: Vec<(Instance, StateChange)> = all.into_iter().filter_map(suit).collect();
        let urls = fit.iter().map(|(instance, _)| format!("/1.0/instances/{}", instance.name)).collect();
        let new = NewOperation::task(description(change.action), project, [("instances", urls)].into());
        let (engine, caller) = (self.clone(), caller.clone());
        Ok(self.operations().spawn(new.by(&caller), move |_| {
            let failed: Vec<String> = std::thread::scope(|scope| {
                let changes: Vec<_> =
                    fit.iter().map(|(instance, change)| scope.spawn(|| engine.apply_state(instance, *change, &caller))).collect();
                let results = changes.into_iter().filter_map(|change| change.join().ok());
                results.filter_map(|result| result.err().map(|error| coffer_base::chain(&error))).collect()
            });
            if failed.is_empty() { Ok(()) } else { Err(EngineError::Refused(failed.join("; "))) }
        }))
    }

    /// Refuses at once what the instance's present state makes senseless.
    fn may_change(&self, instance: &Instance, action: Action) -> Result<(), EngineError> {
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        let status = cell.status();
        if fits(status, action) || (action == Action::Stop && cell.lock().restart_waits.is_some()) {
            return Ok(());
        }
        Err(cell.wrong_state(
            status,
            match action {
                Action::Start => "it can be started only when it is stopped",
                Action::Stop => "it can be stopped only when it is running",
                Action::Restart => "it can be restarted only when it is running",
                Action::Freeze => "it can be frozen only when it is running",
                Action::Unfreeze => "it can be resumed only when it is frozen",
            },
        ))
    }

    fn apply_state(&self, instance: &Instance, change: StateChange, caller: &Caller) -> Result<(), EngineError> {
        let cell = self.inner.cells.get(&instance.project, &instance.name);
        let force = change.force || change.timeout == Some(Duration::ZERO);
        if force && change.action == Action::Stop && cell.status() == Status::Stopping {
            return self.kill_stopping(instance);
        }
        if change.action == Action::Stop && cell.change(|live| live.restart_waits.take()).is_some() {
            // It ended by itself and would have been started again: now it stays stopped.
            self.remember_wanted(instance, false);
            return Ok(());
        }
        if change.action == Action::Start {
            self.start_dependencies(&instance.project, &instance.name, Some(caller), None)?;
        }
        let claim = cell.claim_beside_readers(doing(change.action))?;
        match change.action {
            Action::Start => self.start(&claim, instance, Some(caller)),
            Action::Stop => {
                self.stop(&claim, instance, change.timeout, force, Some(caller))?;
                drop(claim);
                // Whoever stops it finds it gone.
                if instance.ephemeral { self.delete_ephemeral(instance, Some(caller)) } else { Ok(()) }
            }
            Action::Freeze => self.freeze(&claim, instance, Some(caller)),
            Action::Unfreeze => self.thaw(&claim, instance, Some(caller)),
            Action::Restart => {
                cell.change(|live| live.restarting = true);
                let result = self
                    .stop(&claim, instance, change.timeout, force, Some(caller))
                    .and_then(|()| self.start(&claim, instance, Some(caller)));
                cell.change(|live| live.restarting = false);
                result.map(|()| self.lifecycle(instance, "instance-restarted", Some(caller)))
            }
        }
    }
}

/// Turns a start into what an instance in this state needs to run.
fn suited(change: StateChange, status: Status) -> StateChange {
    if change.or_unfreeze && status == Status::Frozen { StateChange { action: Action::Unfreeze, ..change } } else { change }
}

fn fits(status: Status, action: Action) -> bool {
    match action {
        Action::Start => matches!(status, Status::Stopped | Status::Error),
        Action::Stop => status.is_up(),
        Action::Restart => matches!(status, Status::Running | Status::Frozen),
        Action::Freeze => status == Status::Running,
        Action::Unfreeze => status == Status::Frozen,
    }
}

fn description(action: Action) -> &'static str {
    match action {
        Action::Start => "Starting instance",
        Action::Stop => "Stopping instance",
        Action::Restart => "Restarting instance",
        Action::Freeze => "Freezing instance",
        Action::Unfreeze => "Unfreezing instance",
    }
}

fn doing(action: Action) -> &'static str {
    match action {
        Action::Start => "starting",
        Action::Stop => "stopping",
        Action::Restart => "restarting",
        Action::Freeze => "freezing",
        Action::Unfreeze => "resuming",
    }
}
