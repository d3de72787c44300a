//! Many running instances, and many snapshots: what listing them costs.

use std::time::Instant;

use serde_json::json;

use crate::Plan;
use crate::contender::Contender;
use crate::memory;
use crate::samples::Samples;

/// How many run.
const RUNNING: usize = 50;

/// How many instances the snapshots are spread over, and how many each has.
const KEPT: (usize, usize) = (200, 5);

/// Measures lists with many running instances, then with many snapshots.
pub fn measure(plan: &Plan, contenders: &[Contender], samples: &mut Samples) {
    for contender in contenders {
        eprintln!("starting {RUNNING} instances: {:?}", contender.side);
        make(contender, RUNNING, 0, true);
    }
    read(plan, contenders, &format!("of {RUNNING} running"), samples);
    for contender in contenders {
        memory::weigh(contender, RUNNING, samples);
        let names: Vec<_> = (0..RUNNING).map(name).collect();
        let words: Vec<_> = ["delete", "--force"].into_iter().chain(names.iter().map(String::as_str)).collect();
        match contender.cli(&words) {
            Ok(took) => samples.time(&format!("deletion of {RUNNING} running"), "bb btrfs", contender.side, took),
            Err(why) => samples.note(format!("{:?}: {why}", contender.side)),
        }
    }
    let (instances, snapshots) = KEPT;
    for contender in contenders {
        eprintln!("making {} snapshots: {:?}", instances * snapshots, contender.side);
        make(contender, instances, snapshots, false);
    }
    read(plan, contenders, &format!("of {instances} with {} snapshots", instances * snapshots), samples);
    for contender in contenders {
        let api = contender.daemon.api();
        for number in 0..instances {
            api.expect("DELETE", &format!("/1.0/instances/{}", name(number)), None);
        }
    }
}

fn name(number: usize) -> String {
    format!("kept{number}")
}

fn make(contender: &Contender, instances: usize, snapshots: usize, start: bool) {
    let api = contender.daemon.api();
    for number in 0..instances {
        let name = name(number);
        let devices = json!({"root": {"type": "disk", "path": "/", "pool": "btrfs"}});
        let body = json!({"name": name, "source": {"type": "image", "alias": "bb"}, "devices": devices});
        api.expect("POST", "/1.0/instances", Some(&body));
        for snapshot in 0..snapshots {
            let body = json!({"name": format!("snap{snapshot}")});
            api.expect("POST", &format!("/1.0/instances/{name}/snapshots"), Some(&body));
        }
        if start {
            let body = json!({"action": "start", "timeout": 30});
            api.expect("PUT", &format!("/1.0/instances/{name}/state"), Some(&body));
        }
    }
}

fn read(plan: &Plan, contenders: &[Contender], of: &str, samples: &mut Samples) {
    for _ in 0..plan.rounds {
        for contender in contenders {
            match contender.cli(&["list"]) {
                Ok(took) => samples.time(&format!("list {of}"), "", contender.side, took),
                Err(why) => samples.note(format!("{:?}: {why}", contender.side)),
            }
            let what = format!("GET recursion=2 {of}");
            let began = Instant::now();
            match contender.daemon.api().request("GET", "/1.0/instances?recursion=2", None) {
                Ok(answer) if answer.status == 200 => samples.time(&what, "", contender.side, began.elapsed()),
                other => samples.note(format!("{:?}: {what}: {other:?}", contender.side)),
            }
        }
    }
}
