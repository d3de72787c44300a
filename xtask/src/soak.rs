//! `cargo xtask soak`: the release build, then the benchmark program's endurance run.

use crate::run::{as_root, build_directory, command, finish, line, show};
use crate::{Outcome, dist, images, packages};

/// Builds, makes the small image and lets instances live and die.
///
/// # Errors
/// Anything of that failed, or something was left behind.
pub fn run(cycles: &str) -> Outcome {
    packages::ensure(&["build", "run", "test"])?;
    images::make(&["busybox"])?;
    let programs = dist::build()?;
    show("cargo", ["build", "--release", "--package", "coffer-bench", "--package", "coffer-testkit"])?;
    let mut whole: Vec<String> = as_root().into_iter().map(str::to_owned).collect();
    whole.extend(["env".to_owned(), format!("COFFER_TEST_PROGRAMS={}", programs.display())]);
    whole.push(build_directory()?.join("release/coffer-bench").display().to_string());
    whole.extend(["--soak".to_owned(), cycles.to_owned()]);
    let mut command = command(&whole[0], &whole[1..]);
    println!("+ {}", line(&command));
    finish("coffer-bench", command.status())
}
