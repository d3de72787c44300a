//! Starting instances with the daemon: by priority, side by side, each after what it depends on, while the API answers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coffer_base::chain;
use coffer_model::depends::{self, Candidate};
use coffer_model::{Instance, Status};

use super::budget::Budget;
use crate::error::EngineError;
use crate::request::{InstanceView, Scope};
use crate::{Detail, Engine};

/// Threads that start instances, for each that may start at a time: some wait for what others of them start.
const THREADS: usize = 4;

impl Engine {
    /// Starts these instances in order. Blocks until all were started or failed.
    pub(crate) fn start_wanted(&self, wanted: &[Instance]) {
        let all = self.instances(&Scope::All, Detail::Plain);
        let mut views = all.inspect_err(|error| tracing::error!("listing what is to be started: {}", chain(error))).unwrap_or_default();
        let key = |instance: &Instance| (instance.project.clone(), instance.name.clone());
        views.retain(|view| wanted.iter().any(|instance| key(instance) == key(&view.instance)));
        let budget = Budget::new();
        for wave in depends::waves(&candidates(&views)) {
            let members: Vec<&Instance> = wave.members.iter().map(|place| &views[*place].instance).collect();
            self.start_side_by_side(&members, &budget);
            if wave.delay > 0 && self.wait_unless_ending(Duration::from_secs(wave.delay)) {
                return;
            }
        }
    }

    fn start_side_by_side(&self, members: &[&Instance], budget: &Budget) {
        let next = Mutex::new(members.iter());
        let work = || {
            loop {
                let instance = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(instance) = instance else { return };
                if self.shutting_down() {
                    return;
                }
                if let Err(error) = self.start_with_daemon(instance, budget) {
                    tracing::error!(instance = %instance.key(), "starting it with the daemon: {}", chain(&error));
                    self.warn_of_autostart(instance, &error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..members.len().min(budget.most() * THREADS) {
                scope.spawn(work);
            }
        });
    }

    fn start_with_daemon(&self, instance: &Instance, budget: &Budget) -> Result<(), EngineError> {
        self.start_dependencies(&instance.project, &instance.name, None, Some(budget))?;
        let _permit = budget.take();
        let claim = self.inner.cells.get(&instance.project, &instance.name).claim_beside_readers("starting")?;
        // One that depends on it, or somebody who asked, may have been quicker.
        if claim.cell().status() == Status::Stopped { self.start(&claim, instance, None) } else { Ok(()) }
    }
}

/// What the order of these instances hangs on.
fn candidates(views: &[InstanceView]) -> Vec<Candidate> {
    let places = places(views);
    let number = |view: &InstanceView, key: &str| view.expanded_config.parse::<i64>(key).unwrap_or(0);
    let candidate = |view: &InstanceView| Candidate {
        priority: number(view, "boot.autostart.priority"),
        delay: number(view, "boot.autostart.delay").unsigned_abs(),
        needs: needs(view, &places),
    };
    views.iter().map(candidate).collect()
}

type Places<'a> = HashMap<(&'a coffer_model::ProjectName, &'a coffer_model::InstanceName), usize>;

fn places(views: &[InstanceView]) -> Places<'_> {
    views.iter().enumerate().map(|(place, view)| ((&view.instance.project, &view.instance.name), place)).collect()
}

fn needs(view: &InstanceView, places: &Places<'_>) -> Vec<usize> {
    let needed = super::depends::of(&view.expanded_config).0;
    needed.iter().filter_map(|dependency| places.get(&(&view.instance.project, &dependency.name)).copied()).collect()
}

/// Puts instances that are to be stopped in steps: those that others depend on after those.
pub(crate) fn stop_steps(views: &[InstanceView]) -> Vec<Vec<&InstanceView>> {
    let places = places(views);
    let all: Vec<Vec<usize>> = views.iter().map(|view| needs(view, &places)).collect();
    depends::stop_order(&all).into_iter().map(|step| step.into_iter().map(|place| &views[place]).collect()).collect()
}
