//! What a daemon and its monitors weigh.

use std::fs;

use crate::contender::Contender;
use crate::samples::{Samples, Side};

/// Weighs the daemon's resident set, and the mean share of memory of its monitors.
pub fn weigh(contender: &Contender, running: usize, samples: &mut Samples) {
    let daemon = contender.daemon.pid();
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).unwrap_or_default();
    if let Some(kilobytes) = field(&status, "VmRSS:") {
        samples.figure(&format!("daemon RSS, {running} running, MB"), "", contender.side, kilobytes / 1024.0);
    }
    let monitors: Vec<f64> = monitors(contender).into_iter().filter_map(pss).collect();
    if monitors.len() < running {
        samples.note(format!("{:?}: found {} monitors of {running} instances", contender.side, monitors.len()));
    }
    if !monitors.is_empty() {
        let mean = monitors.iter().sum::<f64>() / monitors.len() as f64;
        samples.figure("monitor PSS, mean, MB", "", contender.side, mean / 1024.0);
    }
}

/// Finds the monitors' process numbers: by their name, and by the state directory that their command line or environment names.
fn monitors(contender: &Contender) -> Vec<u32> {
    let state = contender.daemon.state().display().to_string();
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter(|number| {
            let read = |file: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{number}/{file}")).unwrap_or_default()).into_owned();
            let line = read("cmdline");
            match contender.side {
                Side::Ours => {
                    line.contains("coffer-monitor")
                        && (line.contains(&state) || read("environ").contains(&state) || in_pen(contender, *number))
                }
                Side::Lxd => line.starts_with("[lxc monitor]") && line.contains(&state),
                Side::Runtime | Side::Crun | Side::CrunUser | Side::Lxc => false,
            }
        })
        .collect()
}

fn in_pen(contender: &Contender, number: u32) -> bool {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    namespace(number).is_some_and(|own| Some(own) == namespace(contender.daemon.pen().pid()))
}

/// A process's proportional share of memory, in kB.
fn pss(number: u32) -> Option<f64> {
    field(&fs::read_to_string(format!("/proc/{number}/smaps_rollup")).ok()?, "Pss:")
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
