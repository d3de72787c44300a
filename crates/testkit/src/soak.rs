//! Endurance: an instance is made, started, used, stopped and deleted again and again, and nothing of it may stay.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::daemon::Daemon;
use crate::wait;

/// Lives before the first measurement: caches and pools of threads and connections fill.
const WARM_UP: usize = 20;

/// What a daemon holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// Resident memory in KiB.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// How many lives there were.
    pub cycles: usize,
    /// How long they took.
    pub took: Duration,
    /// The daemon after the warm-up, after half of the lives and after all.
    pub weights: [Weight; 3],
    /// Mounts, links, rules, control groups, processes, files that stay.
    pub left: Vec<String>,
}

/// Lets an instance of the image `small` live `cycles` times.
///
/// # Panics
/// The daemon refuses a step.
#[must_use]
#[track_caller]
pub fn soak(daemon: &Daemon, cycles: usize) -> Report {
    let before = daemon.world();
    for _ in 0..WARM_UP.min(cycles) {
        live(daemon);
    }
    let began = Instant::now();
    let first = Weight::of(daemon);
    let mut half = first;
    for cycle in 0..cycles {
        live(daemon);
        if cycle + 1 == cycles / 2 {
            half = Weight::of(daemon);
        }
    }
    let took = began.elapsed();
    let mut left = Vec::new();
    // Links and control groups of a dead instance go when the kernel gets to it, which it does not announce.
    wait::until(daemon.pid(), Duration::from_secs(10), || {
        left = daemon.world().since(&before);
        left.is_empty()
    });
    Report { cycles, took, weights: [first, half, Weight::of(daemon)], left }
}

#[track_caller]
fn live(daemon: &Daemon) {
    let api = daemon.api();
    daemon.run_instance("small", "soak");
    let body = json!({"command": ["true"], "wait-for-websocket": false, "record-output": false});
    let done = api.expect("POST", "/1.0/instances/soak/exec", Some(&body));
    assert_eq!(done["metadata"]["return"], 0, "{done}");
    daemon.change_state("soak", "stop");
    api.expect("DELETE", "/1.0/instances/soak", None);
}

impl Weight {
    /// Weighs a daemon.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    #[track_caller]
    pub fn of(daemon: &Daemon) -> Self {
        let pid = daemon.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a daemon that runs");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("a daemon's descriptors").count();
        Self { resident: resident.unwrap_or_default(), descriptors }
    }
}

impl Report {
    /// What is not as it should be, a sentence each; none if the daemon can go on for ever.
    ///
    /// Memory may still grow a little in the first half, where it finds its size; after that it is flat.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let [first, half, last] = self.weights;
        let mut complaints: Vec<String> = self.left.iter().map(|fact| format!("left behind: {fact}")).collect();
        let more = last.descriptors.saturating_sub(first.descriptors);
        // Connections that are kept open for the next reader come and go.
        if more > 8 {
            complaints.push(format!("{more} more descriptors are open after {} lives", self.cycles));
        }
        let grown = last.resident.saturating_sub(half.resident);
        if grown > 4096 {
            complaints.push(format!("the daemon grew by {grown} KiB in the second half of {} lives", self.cycles));
        }
        complaints
    }

    /// The figures in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let [first, half, last] = self.weights;
        let each = self.took.as_secs_f64() * 1000.0 / self.cycles.max(1) as f64;
        format!(
            "{} lives, {each:.0} ms each; resident {} KiB, {} at half, {} at the end; descriptors {}, {}, {}; left behind: {}",
            self.cycles,
            first.resident,
            half.resident,
            last.resident,
            first.descriptors,
            half.descriptors,
            last.descriptors,
            self.left.len()
        )
    }
}
