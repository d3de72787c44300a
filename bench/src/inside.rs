//! What an instance's root costs who writes to it: the same program inside and on the host, on the same file system.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Plan;
use crate::contender::Contender;
use crate::samples::Samples;

/// How many files the archive has, in how many directories.
const FILES: usize = 10_000;
const DIRECTORIES: usize = 100;

/// What the share of the host's speed is called in the table, for each of the two kinds of work.
pub const ROWS: [&str; 2] = ["1 GiB written inside, % of the host's speed", "10,000 files untarred inside, % of the host's speed"];

/// Where the pools are.
const POOLS: [&str; 3] = ["host", "dir", "btrfs"];

/// The two kinds of work, as arguments of busybox: a file is written out, an archive is unpacked.
fn work(row: usize, top: &str, directory: &str) -> Vec<String> {
    let words = match row {
        0 => format!("dd if=/dev/zero of={directory}/big bs=1M count=1024 conv=fsync"),
        _ => format!("tar -x -f {top}/files.tar -C {directory}"),
    };
    words.split(' ').map(str::to_owned).collect()
}

/// Measures inside and outside alternately.
pub fn measure(plan: &Plan, contenders: &[Contender], samples: &mut Samples) {
    for contender in contenders {
        for pool in POOLS {
            if let Err(why) = on_pool(plan, contender, pool, samples) {
                samples.note(format!("{:?} on {pool}, work inside: {why}", contender.side));
            }
        }
    }
}

fn on_pool(plan: &Plan, contender: &Contender, pool: &str, samples: &mut Samples) -> Result<(), String> {
    let place = format!("bb {pool}");
    let outside = contender.daemon.state().join(format!("storage-pools/{pool}/bench-outside"));
    let seen = contender.daemon.state_seen().join(format!("storage-pools/{pool}/bench-outside"));
    contender.cli(&["launch", "bb", "inside", "--storage", pool])?;
    let archive = archive(&contender.daemon.scratch())?;
    contender.cli(&["file", "push", &archive.display().to_string(), "inside/root/files.tar"])?;
    std::fs::create_dir(&seen).and_then(|()| std::fs::copy(&archive, seen.join("files.tar"))).map_err(|error| error.to_string())?;
    let measured = rounds(plan, contender, &outside, &place, samples);
    contender.cli(&["delete", "--force", "inside"])?;
    std::fs::remove_dir_all(&seen).map_err(|error| format!("removing {}: {error}", seen.display()))?;
    measured
}

fn rounds(plan: &Plan, contender: &Contender, outside: &Path, place: &str, samples: &mut Samples) -> Result<(), String> {
    let top = outside.display().to_string();
    for round in 0..plan.rounds {
        for (number, row) in ROWS.into_iter().enumerate() {
            let inside = || timed(contender, number, "/root", true);
            let host = || timed(contender, number, &top, false);
            // Whoever is second finds the disk busier or the caches warmer.
            let (inside, host) = if round % 2 == 0 {
                let inside = inside()?;
                (inside, host()?)
            } else {
                let host = host()?;
                (inside()?, host)
            };
            samples.figure(row, place, contender.side, 100.0 * host.as_secs_f64() / inside.as_secs_f64());
        }
    }
    Ok(())
}

/// Does the work once in a new directory below `top`; removes what it made before it answers.
fn timed(contender: &Contender, row: usize, top: &str, inside: bool) -> Result<Duration, String> {
    let busybox = if inside { "/bin/busybox" } else { "/usr/bin/busybox" };
    let run = |words: &[&str]| -> Result<Duration, String> {
        if inside {
            let words: Vec<_> = ["exec", "inside", "--", busybox].iter().chain(words).copied().collect();
            return contender.cli(&words);
        }
        let done = contender.daemon.inside(busybox, words.iter().copied()).deadline(Duration::from_secs(300)).run();
        if done.code == 0 { Ok(done.took) } else { Err(done.to_string()) }
    };
    let directory = format!("{top}/work");
    run(&["mkdir", &directory])?;
    run(&["sync"])?;
    let words = work(row, top, &directory);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let took = run(&words)?;
    run(&["rm", "-rf", &directory])?;
    Ok(took)
}

/// Packs the small files.
fn archive(scratch: &Path) -> Result<PathBuf, String> {
    let (tree, archive) = (scratch.join("ten-thousand"), scratch.join("files.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    for number in 0..FILES {
        let directory = tree.join((number % DIRECTORIES).to_string());
        let file = directory.join(format!("file{number}"));
        let made = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&file, number.to_string().repeat(400)));
        made.map_err(|error| format!("writing {}: {error}", file.display()))?;
    }
    let packed = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&tree).arg(".").status();
    match packed {
        Ok(status) if status.success() => Ok(archive),
        other => Err(format!("packing {}: {other:?}", tree.display())),
    }
}
