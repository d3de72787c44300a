//! What must run before an instance does: dependencies, cycles, and the order of many starts.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use crate::names::InstanceName;

/// One instance that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Which one, in the same project.
    pub name: InstanceName,
    /// How far it must be.
    pub until: Readiness,
}

/// How far an instance must be before those that need it start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// As far as it can tell: healthy where its health is checked, else running.
    Usable,
    /// Its init runs.
    Running,
    /// Its health check passed.
    Healthy,
    /// It said through the guest API that it is ready.
    Ready,
}

/// All that an instance needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies(pub Vec<Dependency>);

impl FromStr for Dependencies {
    type Err = String;

    /// Reads `db, cache:running, queue:healthy, app:ready`.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = |part: &str| {
            let (name, until) = part.split_once(':').map_or((part, ""), |(name, until)| (name, until));
            let until = match until {
                "" if !part.contains(':') => Readiness::Usable,
                "running" => Readiness::Running,
                "healthy" => Readiness::Healthy,
                "ready" => Readiness::Ready,
                other => return Err(format!("after an instance's name there may stand :running, :healthy or :ready, not {other:?}")),
            };
            let name = InstanceName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
            Ok(Dependency { name, until })
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// Who needs whom.
pub type Graph = BTreeMap<InstanceName, Vec<InstanceName>>;

/// Finds instances that need each other in a circle through `start`: the circle, `start` first and last.
#[must_use]
pub fn cycle_through(graph: &Graph, start: &InstanceName) -> Option<Vec<InstanceName>> {
    fn walk(graph: &Graph, start: &InstanceName, path: &mut Vec<InstanceName>, seen: &mut BTreeSet<InstanceName>) -> bool {
        let needs = path.last().and_then(|last| graph.get(last)).cloned().unwrap_or_default();
        for next in needs {
            path.push(next.clone());
            if next == *start || (seen.insert(next) && walk(graph, start, path, seen)) {
                return true;
            }
            path.pop();
        }
        false
    }
    let mut path = vec![start.clone()];
    walk(graph, start, &mut path, &mut BTreeSet::new()).then_some(path)
}

/// An instance that is to be started with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its priority: the highest is started first.
    pub priority: i64,
    /// Seconds that the next ones wait after it.
    pub delay: u64,
    /// Those of the others that it needs, by their places.
    pub needs: Vec<usize>,
}

/// Instances that are started side by side, by their places, and the seconds that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Who is started.
    pub members: Vec<usize>,
    /// Seconds to wait after it.
    pub delay: u64,
}

/// Puts starts in order: by priority, the highest first, and what another one needs not after it. Those of one priority are
/// started side by side, and those with a delay one by one behind them.
#[must_use]
pub fn waves(candidates: &[Candidate]) -> Vec<Wave> {
    let mut priority: Vec<i64> = candidates.iter().map(|candidate| candidate.priority).collect();
    // What is needed is as urgent as whoever needs it. Each pass carries that one step; a circle adds nothing.
    for _ in candidates {
        for (place, candidate) in candidates.iter().enumerate() {
            for needed in &candidate.needs {
                priority[*needed] = priority[*needed].max(priority[place]);
            }
        }
    }
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|place| (std::cmp::Reverse(priority[*place]), candidates[*place].delay > 0));
    let mut waves: Vec<Wave> = Vec::new();
    for place in order {
        let delay = candidates[place].delay;
        match waves.last_mut() {
            Some(wave) if delay == 0 && wave.delay == 0 && priority[wave.members[0]] == priority[place] => wave.members.push(place),
            _ => waves.push(Wave { members: vec![place], delay }),
        }
    }
    waves
}

/// Puts stops in order: those that nobody needs any more first. Who is in a circle comes last.
#[must_use]
pub fn stop_order(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut left: BTreeSet<usize> = (0..needs.len()).collect();
    let mut steps = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<usize> =
            left.iter().flat_map(|place| needs[*place].iter().copied().filter(move |need| need != place)).collect();
        let mut step: Vec<usize> = left.iter().copied().filter(|place| !needed.contains(place)).collect();
        if step.is_empty() {
            step = left.iter().copied().collect();
        }
        left.retain(|place| !step.contains(place));
        steps.push(step);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> InstanceName {
        text.parse().unwrap()
    }

    #[test]
    fn lists_are_read() {
        let read = |text: &str| {
            text.parse::<Dependencies>()
                .map(|list| list.0.iter().map(|one| format!("{}:{:?}", one.name, one.until)).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(read("db, cache:running,,q:healthy,a:ready").unwrap(), "db:Usable cache:Running q:Healthy a:Ready");
        assert!(read("db:soon").unwrap_err().contains("soon"));
        assert!(read("db:").is_err() && read("../x").is_err());
    }

    #[track_caller]
    fn check_cycle(edges: &[(&str, &[&str])], expect: Option<&str>) {
        let graph = edges.iter().map(|(from, to)| (name(from), to.iter().map(|to| name(to)).collect())).collect();
        let found = cycle_through(&graph, &name("a"));
        let text = found.map(|path| path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(text.as_deref(), expect);
    }

    #[test]
    fn circles_are_named() {
        check_cycle(&[("a", &["b"]), ("b", &["c"])], None);
        check_cycle(&[("a", &["a"])], Some("a a"));
        check_cycle(&[("a", &["x", "b"]), ("b", &["c"]), ("c", &["a"]), ("x", &["c2"])], Some("a b c a"));
        // A circle of others is theirs.
        check_cycle(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])], None);
    }

    #[track_caller]
    fn check_waves(candidates: &[(i64, u64, &[usize])], expect: &str) {
        let candidates: Vec<Candidate> = candidates
            .iter()
            .map(|(priority, delay, needs)| Candidate { priority: *priority, delay: *delay, needs: needs.to_vec() })
            .collect();
        let text: Vec<String> = waves(&candidates).iter().map(|wave| format!("{:?}+{}", wave.members, wave.delay)).collect();
        assert_eq!(text.join(" "), expect);
    }

    #[test]
    fn starts_are_ordered() {
        check_waves(&[(0, 0, &[]), (0, 0, &[]), (0, 0, &[])], "[0, 1, 2]+0");
        check_waves(&[(0, 0, &[]), (5, 0, &[]), (-1, 0, &[])], "[1]+0 [0]+0 [2]+0");
        check_waves(&[(0, 3, &[]), (0, 0, &[]), (0, 2, &[]), (0, 0, &[])], "[1, 3]+0 [0]+3 [2]+2");
        // What an urgent one needs is as urgent.
        check_waves(&[(0, 0, &[]), (9, 0, &[0]), (1, 0, &[])], "[0, 1]+0 [2]+0");
        check_waves(&[(0, 0, &[1]), (0, 0, &[0])], "[0, 1]+0");
    }

    #[test]
    fn stops_are_ordered_the_other_way_round() {
        assert_eq!(stop_order(&[vec![1], vec![2], vec![]]), [[0], [1], [2]]);
        assert_eq!(stop_order(&[vec![], vec![0], vec![0]]), vec![vec![1, 2], vec![0]]);
        assert_eq!(stop_order(&[vec![1], vec![0]]), [[0, 1]]);
    }
}
