//! Which CPUs the instances have that ask for a number of them: always the least taken ones.
//!
//! Instances that name their CPUs get those. The others are served in the order of their numbers in the store, so that the same
//! instances always get the same CPUs, and few move when one comes or goes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use coffer_model::key::{self, Cpus};
use coffer_model::{Config, Instance, InstanceName, ProjectName};
use coffer_runtime_spec::Request;

use super::start::Loaded;
use crate::Engine;
use crate::error::EngineError;

/// What running instances have, by their numbers in the store.
#[derive(Debug, Default)]
pub(crate) struct Assigned(Mutex<BTreeMap<i64, Assignment>>);

#[derive(Debug, Clone)]
struct Assignment {
    project: ProjectName,
    name: InstanceName,
    wanted: Cpus,
    /// The processors that it may be given, where only some.
    among: Option<Vec<u32>>,
    cpus: Vec<u32>,
}

impl Engine {
    /// Chooses the CPUs of an instance that starts, is found running, or changes; `None` if it asks for none in particular.
    /// Others that should move now do so later, by [`Engine::rebalance_cpus`].
    pub(crate) fn assign_cpus(&self, loaded: &Loaded) -> Option<Vec<u32>> {
        let mut all = self.inner.cpus.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(assignment) = self.assignment(loaded) else {
            all.remove(&loaded.id);
            return None;
        };
        all.insert(loaded.id, assignment);
        let chosen = balance(&self.inner.facts.processors, &all).remove(&loaded.id).unwrap_or_default();
        if let Some(assignment) = all.get_mut(&loaded.id) {
            assignment.cpus = chosen.clone();
        }
        Some(chosen)
    }

    /// Takes note of an instance that was found running; [`Engine::rebalance_cpus`] chooses its CPUs anew.
    pub(crate) fn recall_cpus(&self, loaded: &Loaded) {
        let Some(assignment) = self.assignment(loaded) else { return };
        self.inner.cpus.0.lock().unwrap_or_else(PoisonError::into_inner).insert(loaded.id, assignment);
    }

    /// The CPUs that were chosen for a running instance.
    pub(crate) fn cpus_of(&self, id: i64) -> Option<Vec<u32>> {
        let all = self.inner.cpus.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&id).map(|assignment| assignment.cpus.clone())
    }

    /// Takes the CPUs of an instance that has ended back, and lets others have them. Costs nothing where it had asked for none.
    pub(crate) fn free_cpus(&self, id: i64) {
        let freed = self.inner.cpus.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if freed.is_some() {
            self.rebalance_cpus();
        }
    }

    /// Moves running instances to where the balance now sees them, off the caller's path.
    pub(crate) fn rebalance_cpus(&self) {
        let moved: Vec<Assignment> = {
            let mut all = self.inner.cpus.0.lock().unwrap_or_else(PoisonError::into_inner);
            let wanted = balance(&self.inner.facts.processors, &all);
            let changed = all.iter_mut().filter_map(|(id, assignment)| {
                let cpus = wanted.get(id).filter(|cpus| **cpus != assignment.cpus)?;
                assignment.cpus.clone_from(cpus);
                Some(assignment.clone())
            });
            changed.collect()
        };
        for assignment in moved {
            let engine = self.clone();
            self.inner.runtime.spawn_blocking(move || engine.move_to(&assignment));
        }
    }

    /// Tells a running instance's monitor about its CPUs. One that ends meanwhile needs none.
    fn move_to(&self, assignment: &Assignment) {
        let Assignment { project, name, cpus, .. } = assignment;
        let Ok(claim) = self.inner.cells.get(project, name).claim_beside_readers("balancing") else { return };
        let (Ok(running), Ok(loaded)) = (claim.cell().running(), self.load(project, name)) else { return };
        let limits = match self.live_limits(&loaded, Some(cpus)) {
            Ok(limits) => limits,
            Err(error) => return tracing::warn!(instance = %name, "its limits: {}", coffer_base::chain(&error)),
        };
        if let Err(error) = running.monitor.tell(Request::SetLimits { limits: Box::new(limits) }, &[]) {
            tracing::warn!(instance = %name, "moving it to CPUs {cpus:?}: {}", coffer_base::chain(&error));
        }
    }
}

impl Engine {
    /// Refuses memory nodes that this host does not have.
    pub(crate) fn check_nodes(&self, name: &InstanceName, config: &Config) -> Result<(), EngineError> {
        let nodes = config.get("limits.cpu.nodes").and_then(key::number_set).unwrap_or_default();
        match nodes.iter().find(|node| !self.inner.facts.nodes.contains_key(node)) {
            None => Ok(()),
            Some(node) => {
                let there: Vec<String> = self.inner.facts.nodes.keys().map(ToString::to_string).collect();
                let text = format!("instance {name}: limits.cpu.nodes names node {node}, and this host has only {}", there.join(", "));
                Err(EngineError::Refused(text))
            }
        }
    }

    /// What an instance asks for, if for anything in particular.
    fn assignment(&self, loaded: &Loaded) -> Option<Assignment> {
        let nodes = loaded.config.get("limits.cpu.nodes").and_then(key::number_set);
        let of = |node: &u32| self.inner.facts.nodes.get(node).cloned().unwrap_or_default();
        let among: Option<Vec<u32>> = nodes.map(|nodes| nodes.iter().flat_map(of).collect());
        let named = loaded.config.get("limits.cpu").and_then(|text| Cpus::parse(text).ok());
        let wanted = named.or_else(|| among.clone().map(Cpus::Set))?;
        let Instance { project, name, .. } = loaded.instance.clone();
        Some(Assignment { project, name, wanted, among, cpus: Vec::new() })
    }
}

/// Serves all: first who names its CPUs, then who names a number, each the least taken ones and of those the first.
fn balance(online: &[u32], all: &BTreeMap<i64, Assignment>) -> BTreeMap<i64, Vec<u32>> {
    let mut taken: BTreeMap<u32, usize> = online.iter().map(|cpu| (*cpu, 0)).collect();
    let mut served = BTreeMap::new();
    let mut take = |id: i64, cpus: Vec<u32>, taken: &mut BTreeMap<u32, usize>| {
        cpus.iter().for_each(|cpu| *taken.entry(*cpu).or_default() += 1);
        served.insert(id, cpus);
    };
    for (id, assignment) in all {
        if let Cpus::Set(set) = &assignment.wanted {
            take(*id, set.clone(), &mut taken);
        }
    }
    for (id, assignment) in all {
        if let Cpus::Count(count) = assignment.wanted {
            let may_have = |cpu: &u32| assignment.among.as_ref().is_none_or(|among| among.contains(cpu));
            let mut by_load: Vec<u32> = online.iter().copied().filter(may_have).collect();
            by_load.sort_by_key(|cpu| (taken[cpu], *cpu));
            by_load.truncate(count as usize);
            by_load.sort_unstable();
            take(*id, by_load, &mut taken);
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &[&str], expect: &str) {
        let assignment = |(at, text): (usize, &&str)| {
            let wanted = Cpus::parse(text).unwrap();
            let name = format!("c{at}").parse().unwrap();
            (
                i64::try_from(at).unwrap(),
                Assignment { project: ProjectName::default_project(), name, wanted, among: None, cpus: Vec::new() },
            )
        };
        let all = wanted.iter().enumerate().map(assignment).collect();
        let served = balance(&[0, 1, 2, 3], &all);
        let got: Vec<String> = served.values().map(|cpus| super::super::resolve::set(cpus)).collect();
        assert_eq!(got.join(" "), expect, "{wanted:?}");
    }

    #[test]
    fn the_least_taken_ones_are_given() {
        check(&["1", "1", "1", "1", "1"], "0 1 2 3 0");
        check(&["2", "2", "2"], "0,1 2,3 0,1");
        check(&["1", "0-1", "1"], "2 0,1 3");
        check(&["3", "2"], "0,1,2 0,3");
        check(&["99"], "0,1,2,3");
        check(&["2-2,9"], "2,9");
    }
}
