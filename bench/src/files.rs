//! Files into an instance and out of it: one large, many small.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::Plan;
use crate::contender::Contender;
use crate::samples::Samples;

/// The size of the large file, in MiB.
const LARGE: u64 = 256;

/// The small files: so many, in so many directories.
const SMALL: usize = 5_000;
const DIRECTORIES: usize = 50;

/// What files are moved in, in the table.
const PLACE: &str = "bb dir";

/// Measures pushing and pulling with each contender's own client.
///
/// Comes before all other parts and deletes nothing until it is over: for minutes after inodes were deleted ext4 takes nearly a
/// millisecond to find another one, on both sides, and that is not what is measured here.
pub fn measure(plan: &Plan, contenders: &[Contender], samples: &mut Samples) {
    for contender in contenders {
        let done = contender.cli(&["launch", "bb", "box", "--storage", "dir"]).map(drop).and_then(|()| prepare(contender));
        if let Err(why) = done {
            samples.note(format!("{:?}: {why}", contender.side));
        }
    }
    for round in 0..plan.rounds.div_ceil(4) {
        for contender in crate::scenes::in_turn(contenders, round) {
            if let Err(why) = play(contender, round, samples) {
                samples.note(format!("{:?} cannot move files: {why}", contender.side));
            }
        }
    }
    for contender in contenders {
        let _ = contender.cli(&["delete", "--force", "box"]);
    }
}

/// Makes what is pushed: bytes that do not repeat within a piece, and files of a few hundred bytes.
fn prepare(contender: &Contender) -> Result<(), String> {
    let scratch = contender.daemon.scratch();
    let block: Vec<u8> = (0..=255_u8).cycle().take(65_521).collect();
    let large: Vec<u8> = block.into_iter().cycle().take((LARGE << 20) as usize).collect();
    write(&scratch.join("large"), &large)?;
    for number in 0..SMALL {
        let directory = scratch.join(format!("small/{}", number % DIRECTORIES));
        fs::create_dir_all(&directory).map_err(|error| format!("making {}: {error}", directory.display()))?;
        write(&directory.join(format!("file{number}")), number.to_string().repeat(60).as_bytes())?;
    }
    Ok(())
}

fn play(contender: &Contender, round: usize, samples: &mut Samples) -> Result<(), String> {
    let scratch = contender.daemon.scratch();
    let at = |name: &str| scratch.join(name).display().to_string();
    let speed = |took: Duration| LARGE as f64 / took.as_secs_f64();
    let side = contender.side;
    let took = contender.cli(&["file", "push", &at("large"), "box/root/large"])?;
    samples.figure("file push, 256 MiB, MiB/s", PLACE, side, speed(took));
    let took = contender.cli(&["file", "pull", "box/root/large", &at("back")])?;
    samples.figure("file pull, 256 MiB, MiB/s", PLACE, side, speed(took));
    let inside = format!("/root/round{round}");
    contender.cli(&["exec", "box", "--", "mkdir", &inside])?;
    let took = contender.cli(&["file", "push", "-r", &at("small"), &format!("box{inside}/")])?;
    samples.time("file push -r, 5,000 files", PLACE, side, took);
    let back = format!("tree{round}");
    let into = scratch.join(&back);
    fs::create_dir_all(&into).map_err(|error| format!("making {}: {error}", into.display()))?;
    let took = contender.cli(&["file", "pull", "-r", &format!("box{inside}/small"), &at(&back)])?;
    samples.time("file pull -r, 5,000 files", PLACE, side, took);
    // What came back is what went, or the figures mean nothing.
    let same =
        |one: &str, other: &str| fs::read(scratch.join(one)).ok().filter(|bytes| !bytes.is_empty()) == fs::read(scratch.join(other)).ok();
    if !same("large", "back") || !same("small/7/file4957", &format!("{back}/small/7/file4957")) {
        return Err("what came back is not what went".into());
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))
}
