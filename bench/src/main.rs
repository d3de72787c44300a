//! Measures Coffer and LXD alternately on the same machine with the same images, and prints medians and ratios.
//!
//! Never: a figure taken from another run; a side that had its client, its namespaces or its disk easier than the other.

mod archives;
mod contender;
mod files;
mod images;
mod inside;
mod lists;
mod lone;
mod memory;
mod report;
mod running;
mod samples;
mod scenes;

use std::process::ExitCode;

use contender::Contender;
use samples::Samples;

const HELP: &str = "\
coffer-bench [OPTIONS]     best through `cargo xtask bench`, which builds everything for release first
  --rounds N       rounds of each scene (default 11)
  --list N         how many stopped instances the lists are measured with (default 200)
  --parallel N     how many launches at once (default 20)
  --only WORDS     only these parts, by comma: scenes, debian, archives, images, lists, stream, files,
                   parallel, running, inside, lone
  --no-lxd         leave LXD out
  --no-ours        leave Coffer out
  --soak N         measure nothing: let an instance live N times, and fail if that leaves anything behind
  --write          put the table into bench/RESULTS.md
";

/// What to measure, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rounds of each scene.
    pub rounds: usize,
    /// Stopped instances for the lists.
    pub list: usize,
    /// Launches at once.
    pub parallel: usize,
    /// Lives of an instance in an endurance run; none measures.
    pub soak: usize,
    only: Option<Vec<String>>,
    lxd: bool,
    ours: bool,
    write: bool,
}

impl Plan {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { rounds: 11, list: 200, parallel: 20, soak: 0, only: None, lxd: true, ours: true, write: false };
        while let Some(arg) = args.next() {
            let mut number = |into: &mut usize| {
                let text = args.next().ok_or_else(|| format!("{arg} wants a number"))?;
                *into = text.parse().map_err(|_| format!("{arg}: {text} is no number"))?;
                Ok::<(), String>(())
            };
            match arg.as_str() {
                "--rounds" => number(&mut plan.rounds)?,
                "--list" => number(&mut plan.list)?,
                "--parallel" => number(&mut plan.parallel)?,
                "--soak" => number(&mut plan.soak)?,
                "--only" => plan.only = Some(args.next().ok_or("--only wants words")?.split(',').map(str::to_owned).collect()),
                "--no-lxd" => plan.lxd = false,
                "--no-ours" => plan.ours = false,
                "--write" => plan.write = true,
                _ => return Err(format!("unknown option {arg}\n{HELP}")),
            }
        }
        Ok(plan)
    }

    /// Says whether a part is wanted.
    #[must_use]
    pub fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|word| word == part))
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    // Inside a pen: the parts that need no daemon.
    if args.first().is_some_and(|word| word == "lone-inside") {
        return lone::inside(&args[1..]);
    }
    match Plan::read(args.into_iter()).and_then(|plan| measure(&plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coffer-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets an instance live so many times.
fn soak(cycles: usize) -> Result<(), String> {
    let daemon = coffer_testkit::Daemon::start();
    daemon.initialise("dir");
    daemon.import_busybox();
    let report = coffer_testkit::soak::soak(&daemon, cycles);
    println!("{}", report.line());
    let complaints = report.complaints();
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

fn measure(plan: &Plan) -> Result<(), String> {
    if plan.soak > 0 {
        return soak(plan.soak);
    }
    let mut contenders = Vec::new();
    if plan.ours {
        contenders.push(Contender::ours());
    }
    if plan.lxd {
        contenders.push(Contender::lxd()?);
    }
    for contender in &contenders {
        contender.set_up()?;
    }
    let mut samples = Samples::default();
    if plan.wants("files") {
        files::measure(plan, &contenders, &mut samples);
    }
    if plan.wants("scenes") {
        scenes::play(plan, &contenders, "bb", "dir", &mut samples);
        scenes::play(plan, &contenders, "bb", "btrfs", &mut samples);
        scenes::play(plan, &contenders, "bb", "host", &mut samples);
    }
    if plan.wants("debian") || plan.wants("archives") {
        for contender in &contenders {
            contender.import_debian()?;
        }
    }
    if plan.wants("archives") {
        archives::measure(plan, &contenders, &mut samples);
    }
    if plan.wants("debian") {
        scenes::play(&Plan { rounds: plan.rounds.div_ceil(2), ..plan.clone() }, &contenders, "deb", "btrfs", &mut samples);
        scenes::play(&Plan { rounds: plan.rounds.div_ceil(3), ..plan.clone() }, &contenders, "deb", "host", &mut samples);
        scenes::play(&Plan { rounds: plan.rounds.div_ceil(3), ..plan.clone() }, &contenders, "deb", "dir", &mut samples);
    }
    if plan.wants("images") {
        images::measure(plan, &mut contenders, &mut samples)?;
    }
    if plan.wants("stream") {
        scenes::stream(&contenders, &mut samples);
    }
    if plan.wants("inside") {
        inside::measure(plan, &contenders, &mut samples);
    }
    if plan.wants("parallel") {
        scenes::parallel(plan, &contenders, &mut samples);
    }
    if plan.wants("running") {
        running::measure(plan, &contenders, &mut samples);
    }
    if plan.wants("lists") {
        lists::measure(plan, &mut contenders, &mut samples);
    }
    if plan.wants("lone") {
        lone::measure(plan, &contenders, &mut samples)?;
    }
    for contender in &contenders {
        contender.end();
    }
    let text = report::write(&samples);
    println!("{text}");
    if plan.write {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
        std::fs::write(&path, text).map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    Ok(())
}
