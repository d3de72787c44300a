//! Prints how long a start, an exec and a kill take, and what a monitor weighs.
//!
//! `latency MONITOR SPEC [ROUNDS]`: the spec must start something that has `/bin/true`.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use coffer_runtime::{MonitorClient, MonitorProgram};
use coffer_runtime_spec::{Answer, Exec, Report, Request, Signal, Spec, Streams};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, monitor, spec, rest @ ..] = arguments.as_slice() else { return Err("usage: latency MONITOR SPEC [ROUNDS]".into()) };
    let rounds = rest.first().map_or(Ok(50), |text| text.parse())?;
    let spec: Spec = serde_json::from_str(&std::fs::read_to_string(spec)?)?;
    let program = MonitorProgram::load(Path::new(monitor))?;
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut weight = String::new();
    for _ in 0..rounds {
        round(&program, &spec, &mut times, &mut weight)?;
    }
    for (what, mut all) in times {
        all.sort();
        println!("{what:32} median {:>7.1?} µs, least {:>7.1?} µs", micros(all[all.len() / 2]), micros(all[0]));
    }
    println!("{weight}");
    Ok(())
}

/// How long a process has run. Less noisy than the clock on a busy machine.
fn on_processor(pid: u32) -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn round(
    program: &MonitorProgram,
    spec: &Spec,
    times: &mut BTreeMap<&str, Vec<Duration>>,
    weight: &mut String,
) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let monitor = program.spawn()?;
    let mut client = MonitorClient::new(monitor.connection);
    times.entry("spawn").or_default().push(begun.elapsed());
    client.call(Request::Start { spec: Box::new(spec.clone()), listen: None }, &[])?;
    times.entry("start").or_default().push(begun.elapsed());
    let (Answer::Status(status), _) = client.call(Request::Status, &[])? else { return Err("no status".into()) };
    times.entry("start: monitor's processor time").or_default().push(on_processor(status.monitor_pid)?);
    times.entry("start: init's processor time").or_default().push(on_processor(status.pid)?);
    client.call(Request::Subscribe, &[])?;
    for _ in 0..5 {
        let begun = Instant::now();
        let exec = Exec {
            argv: vec!["/bin/true".into()],
            env: BTreeMap::new(),
            cwd: "/".into(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            streams: Streams::Pipes,
            label: None,
        };
        let (Answer::Executed { id, .. }, _fds) = client.call(Request::Exec(exec), &[])? else { return Err("no exec".into()) };
        times.entry("execed").or_default().push(begun.elapsed());
        client.call(Request::ExecWait { id }, &[])?;
        times.entry("exec").or_default().push(begun.elapsed());
    }
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", monitor.process.pid))?;
    *weight = rollup
        .lines()
        .filter(|line| ["Rss", "Pss:", "Private_Dirty"].iter().any(|key| line.starts_with(key)))
        .collect::<Vec<_>>()
        .join("; ");
    let begun = Instant::now();
    client.call(Request::Kill { signal: Signal::KILL }, &[])?;
    while !matches!(client.next_report()?, Report::Exited { .. }) {}
    times.entry("kill").or_default().push(begun.elapsed());
    coffer_sys::process::wait(monitor.process.pidfd.as_fd())?;
    times.entry("gone").or_default().push(begun.elapsed());
    Ok(())
}
