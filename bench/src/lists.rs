//! Many stopped instances: listing them, and starting a daemon that has them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Plan;
use crate::contender::Contender;
use crate::samples::Samples;

/// Makes the instances, measures, removes them.
pub fn measure(plan: &Plan, contenders: &mut [Contender], samples: &mut Samples) {
    let count = plan.list;
    for contender in contenders.iter() {
        eprintln!("making {count} instances: {:?}", contender.side);
        let api = contender.daemon.api();
        for number in 0..count {
            let devices = json!({"root": {"type": "disk", "path": "/", "pool": "btrfs"}});
            let body = json!({"name": format!("idle{number}"), "source": {"type": "image", "alias": "bb"}, "devices": devices});
            api.expect("POST", "/1.0/instances", Some(&body));
        }
    }
    for _ in 0..plan.rounds {
        for contender in contenders.iter() {
            read(contender, count, samples);
        }
    }
    for _ in 0..plan.rounds.div_ceil(2) {
        for contender in contenders.iter_mut() {
            start(contender, count, samples);
        }
    }
    for contender in contenders.iter() {
        let api = contender.daemon.api();
        for number in 0..count {
            api.expect("DELETE", &format!("/1.0/instances/idle{number}"), None);
        }
    }
}

fn read(contender: &Contender, count: usize, samples: &mut Samples) {
    match contender.cli(&["list"]) {
        Ok(took) => samples.time(&format!("list of {count} stopped"), "", contender.side, took),
        Err(why) => samples.note(format!("{:?}: {why}", contender.side)),
    }
    for (what, path) in [("GET /1.0", "/1.0"), ("recursion=1", "/1.0/instances?recursion=1"), ("recursion=2", "/1.0/instances?recursion=2")]
    {
        let what = if path == "/1.0" { what.to_owned() } else { format!("GET {what} of {count} stopped") };
        let began = Instant::now();
        match contender.daemon.api().request("GET", path, None) {
            Ok(answer) if answer.status == 200 => samples.time(&what, "", contender.side, began.elapsed()),
            other => samples.note(format!("{:?}: {what}: {other:?}", contender.side)),
        }
    }
}

/// Stops the daemon and times it from its start to its first answer.
fn start(contender: &mut Contender, count: usize, samples: &mut Samples) {
    contender.daemon.stop();
    let entering = time_to_enter(contender);
    let began = Instant::now();
    contender.daemon.spawn();
    let api = contender.daemon.api();
    let patience = Duration::from_secs(60);
    while began.elapsed() < patience {
        // An attempt that finds nobody listening costs some ten microseconds.
        if api.request("GET", "/1.0", None).is_ok_and(|answer| answer.status == 200) {
            let took = began.elapsed().saturating_sub(entering);
            samples.time(&format!("daemon's exec to first answer, {count} instances"), "", contender.side, took);
            break;
        }
        std::thread::yield_now();
    }
    if let Err(why) = contender.daemon.wait_ready() {
        samples.note(format!("{:?}: {why}", contender.side));
    }
}

/// What entering the pen costs, which is not the daemon's doing.
pub fn time_to_enter(contender: &Contender) -> Duration {
    let mut times: Vec<_> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let _ = contender.daemon.pen().daemon_command("true").status();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}
