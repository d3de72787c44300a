//! The life of an instance, step by step, one contender after the other.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Plan;
use crate::contender::Contender;
use crate::memory;
use crate::samples::{Samples, Side};

/// A step: its name in the table, and the client's words.
type Step = (&'static str, &'static [&'static str]);

/// The steps of one round, in an order in which each leaves what the next needs. IMAGE and POOL stand for the scene's own.
const STEPS: [Step; 11] = [
    ("init", &["init", "IMAGE", "one", "--storage", "POOL"]),
    ("start", &["start", "one"]),
    ("exec true", &["exec", "one", "--", "true"]),
    ("restart --force", &["restart", "--force", "one"]),
    ("snapshot, running", &["snapshot", "one", "snap"]),
    ("stop --force", &["stop", "--force", "one"]),
    ("restore", &["restore", "one", "snap"]),
    ("copy", &["copy", "one", "copied"]),
    ("delete, with a snapshot", &["delete", "copied"]),
    ("delete", &["delete", "one"]),
    ("launch", &["launch", "IMAGE", "two", "--storage", "POOL"]),
];

/// Plays all rounds with one image on one pool.
pub fn play(plan: &Plan, contenders: &[Contender], image: &str, pool: &str, samples: &mut Samples) {
    let place = format!("{image} {pool}");
    for contender in contenders {
        warm_up(contender, image, pool, samples);
    }
    for round in 0..plan.rounds {
        eprintln!("{place}: round {} of {}", round + 1, plan.rounds);
        for (what, words) in STEPS {
            for contender in in_turn(contenders, round) {
                let began = Instant::now();
                let words: Vec<_> = words.iter().map(|&word| fill(word, image, pool)).collect();
                match contender.cli(&words) {
                    Ok(took) => samples.time(what, &place, contender.side, took),
                    Err(why) => samples.note(format!("{:?} cannot do {what}: {why}", contender.side)),
                }
                if what == "launch" {
                    address(contender, "two", &place, began, samples);
                }
            }
        }
        for contender in in_turn(contenders, round) {
            match contender.cli(&["delete", "--force", "two"]) {
                Ok(took) => samples.time("delete --force, running", &place, contender.side, took),
                Err(why) => samples.note(format!("{:?} cannot delete by force: {why}", contender.side)),
            }
        }
        for contender in in_turn(contenders, round) {
            without_client(contender, image, pool, &place, samples);
        }
    }
}

/// The first instance of an image on a pool unpacks it, on some pools for all that follow.
fn warm_up(contender: &Contender, image: &str, pool: &str, samples: &mut Samples) {
    let name = "warm";
    for words in [&["launch", image, name, "--storage", pool][..], &["delete", "--force", name]] {
        if let Err(why) = contender.cli(words) {
            samples.note(format!("{:?}: {why}", contender.side));
        }
    }
}

/// Waits until the API shows an IPv4 address.
fn address(contender: &Contender, name: &str, place: &str, began: Instant, samples: &mut Samples) {
    let api = contender.daemon.api();
    let path = format!("/1.0/instances/{name}/state");
    let patience = Duration::from_secs(10);
    while began.elapsed() < patience {
        let Ok(answer) = api.request("GET", &path, None) else { break };
        let addresses = answer.json()["metadata"]["network"]["eth0"]["addresses"].as_array().cloned().unwrap_or_default();
        if addresses.iter().any(|address| address["family"] == "inet" && address["scope"] == "global") {
            samples.time("launch to IPv4 shown", place, contender.side, began.elapsed());
            return;
        }
    }
    samples.note(format!("{:?}: no IPv4 address within {patience:?} on {place}", contender.side));
}

/// The same steps through the API alone: what is left is the daemon's own share.
pub fn without_client(contender: &Contender, image: &str, pool: &str, place: &str, samples: &mut Samples) {
    let api = contender.daemon.api();
    let devices = json!({"root": {"type": "disk", "path": "/", "pool": pool}});
    let create = json!({"name": "api", "source": {"type": "image", "alias": image}, "devices": devices});
    let state = |action: &str| json!({"action": action, "timeout": 30, "force": true});
    let exec = json!({"command": ["true"], "wait-for-websocket": false, "interactive": false, "environment": {}});
    let steps = [
        ("API: create", "POST", "/1.0/instances", Some(create)),
        ("API: start", "PUT", "/1.0/instances/api/state", Some(state("start"))),
        ("API: exec true", "POST", "/1.0/instances/api/exec", Some(exec)),
        ("API: stop, force", "PUT", "/1.0/instances/api/state", Some(state("stop"))),
        ("API: delete", "DELETE", "/1.0/instances/api", None),
    ];
    for (what, method, path, body) in steps {
        let began = Instant::now();
        api.expect(method, path, body.as_ref());
        samples.time(what, place, contender.side, began.elapsed());
    }
}

/// Sends 512 MiB through `cat` in an instance and back.
pub fn stream(contenders: &[Contender], samples: &mut Samples) {
    const SIZE: u64 = 512 << 20;
    for contender in contenders {
        if let Err(why) = contender.cli(&["launch", "bb", "pipe", "--storage", "btrfs"]) {
            samples.note(format!("{:?}: {why}", contender.side));
        }
    }
    for _ in 0..3 {
        for contender in contenders {
            match pump(contender, SIZE) {
                Ok(took) => samples.figure("exec, 512 MiB through cat, MiB/s", "bb btrfs", contender.side, 512.0 / took.as_secs_f64()),
                Err(why) => samples.note(format!("{:?}: {why}", contender.side)),
            }
        }
    }
    for contender in contenders {
        let _ = contender.cli(&["delete", "--force", "pipe"]);
    }
}

fn pump(contender: &Contender, size: u64) -> Result<Duration, String> {
    let path = contender.daemon.scratch().join("zeros");
    let file = std::fs::File::create(&path).and_then(|file| file.set_len(size).and_then(|()| std::fs::File::open(&path)));
    let file = file.map_err(|error| format!("creating {}: {error}", path.display()))?;
    let mut command = contender.daemon.client_outside(["exec", "pipe", "--mode=non-interactive", "--", "cat"]).into_command();
    command.stdin(file).stdout(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("starting the client: {error}"))?;
    let stdout = child.stdout.take();
    let count = stdout.map(|mut pipe| std::io::copy(&mut pipe, &mut std::io::sink())).transpose();
    let status = child.wait().map_err(|error| format!("waiting for the client: {error}"))?;
    match count {
        Ok(Some(count)) if count == size && status.success() => Ok(began.elapsed()),
        other => Err(format!("of {size} bytes came back {other:?}; the client ended with {status}")),
    }
}

/// Launches many instances at once; with all of them running, weighs the daemon and its monitors.
pub fn parallel(plan: &Plan, contenders: &[Contender], samples: &mut Samples) {
    for pool in ["dir", "btrfs", "host"] {
        let place = format!("bb {pool}");
        for round in 0..3 {
            for contender in in_turn(contenders, round) {
                let names: Vec<_> = (0..plan.parallel).map(|number| format!("many{number}")).collect();
                let began = Instant::now();
                let children: Vec<_> = names
                    .iter()
                    .filter_map(|name| {
                        let mut command = contender.daemon.client_outside(["launch", "bb", name, "--storage", pool]).into_command();
                        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().ok()
                    })
                    .collect();
                let good = children.into_iter().filter_map(|mut child| child.wait().ok()).filter(|status| status.success()).count();
                if good == plan.parallel {
                    samples.time(&format!("{good} launches at once"), &place, contender.side, began.elapsed());
                } else {
                    samples.note(format!("{:?}: of {} launches at once {good} succeeded", contender.side, plan.parallel));
                }
                if pool == "btrfs" {
                    memory::weigh(contender, plan.parallel, samples);
                }
                let words: Vec<_> = ["delete", "--force"].into_iter().chain(names.iter().map(String::as_str)).collect();
                match contender.cli(&words) {
                    Ok(took) => samples.time("their deletion", &place, contender.side, took),
                    Err(why) => samples.note(format!("{:?}: {why}", contender.side)),
                }
            }
        }
    }
}

/// The contenders, the first one last in every other round.
pub fn in_turn(contenders: &[Contender], round: usize) -> Vec<&Contender> {
    let mut turn: Vec<_> = contenders.iter().collect();
    if round % 2 == 1 {
        turn.reverse();
    }
    turn
}

fn fill<'a>(word: &'a str, image: &'a str, pool: &'a str) -> &'a str {
    match word {
        "IMAGE" => image,
        "POOL" => pool,
        other => other,
    }
}

/// Both sides of the main comparison.
pub const SIDES: [Side; 2] = [Side::Ours, Side::Lxd];
