//! The testbed: a small Debian guest under emulation, in which our own test programs meet what this host's kernel lacks:
//! device-mapper, ZFS, a Ceph cluster, cgroup v2 alone.
//!
//! The guest has three parts, each made once and kept under the hash of its recipe: a root file system made of Debian
//! packages, modules built for its kernel, and a drive with the programs of this very build. No part of it touches the
//! host: the drives are files, the guest's writes to its root go with it, there is no network.

mod guest;
mod machine;
mod payload;
mod suite;
mod zfs;

use std::time::{Duration, Instant};

use crate::run::{is_root, on_this_processor};
use crate::tally::Tally;
use crate::{Outcome, packages};

use self::suite::Suite;

/// How long the guest may run before it is ended: what did not come to its turn by then counts as skipped.
const DEADLINE: Duration = Duration::from_secs(40 * 60);

/// How long all of it may take in continuous integration, building included.
const CI_DEADLINE: Duration = Duration::from_secs(25 * 60);

/// Does what `cargo xtask bed WORDS` asks for.
///
/// # Errors
/// An unknown word, a step of building that failed, a test that failed.
pub fn run(words: &[&str]) -> Outcome {
    match words {
        ["build"] => prepare().and_then(|guest| {
            let modules = zfs::ensure(&guest)?;
            println!("{}\n{}", guest.root.display(), modules.display());
            Ok(())
        }),
        ["ci"] => ci(&mut Tally::default()),
        ["test", names @ ..] => {
            let mut tally = Tally::default();
            test(names, &mut tally)?;
            println!("{}", tally.sentence());
            if tally.failed() == 0 { Ok(()) } else { Err("tests failed in the bed".into()) }
        }
        _ => Err(format!("say `bed build`, `bed ci` or `bed test [SUITE[:WORD]…]`; the suites are {}", suite::names())),
    }
}

/// Runs what continuous integration runs there, building what is not built yet. What cannot run on this machine, or did not
/// come to its turn, is named and counted as skipped.
///
/// # Errors
/// A test failed, or the test programs do not build.
pub fn ci(tally: &mut Tally) -> Outcome {
    let suites = suite::of_ci();
    let until = Instant::now() + CI_DEADLINE;
    let ground = prepare().and_then(|guest| zfs::ensure(&guest).map(|modules| (guest, modules)));
    let (guest, modules) = match ground {
        Ok(ground) => ground,
        Err(why) => {
            for suite in suites {
                tally.leave_out(suite.name, &why);
            }
            return Ok(());
        }
    };
    let mut ran = Tally::default();
    let drive = payload::make(&guest, &modules, &suites)?;
    let ended = machine::run(&guest, &drive, &suites, until.saturating_duration_since(Instant::now()), &mut ran);
    println!("{}", ran.sentence());
    tally.add(&ran);
    ended?;
    if ran.failed() == 0 { Ok(()) } else { Err("tests failed in the bed".into()) }
}

fn test(names: &[&str], tally: &mut Tally) -> Outcome {
    let suites: Vec<Suite> = suite::wanted(names)?;
    let guest = prepare()?;
    let modules = zfs::ensure(&guest)?;
    let drive = payload::make(&guest, &modules, &suites)?;
    machine::run(&guest, &drive, &suites, DEADLINE, tally)
}

/// Installs what building and running the guest needs, and builds what is not there yet.
fn prepare() -> Result<guest::Guest, String> {
    if !is_root() {
        return Err("the bed is built by root".into());
    }
    if !on_this_processor("x86_64") {
        return Err("the bed is emulated on x86_64 only".into());
    }
    packages::ensure(&["build", "bed"])?;
    guest::ensure()
}
