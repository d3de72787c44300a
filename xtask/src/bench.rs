//! `cargo xtask bench`: the release build, then the benchmark program of `bench/`.

use crate::run::{as_root, build_directory, command, finish, line, show};
use crate::{Outcome, dist, images, packages};

/// Builds, makes the images and runs the benchmark with the given arguments.
///
/// # Errors
/// Anything of that failed.
pub fn run(words: &[&str]) -> Outcome {
    if words.contains(&"--help") {
        return show("cargo", ["run", "--quiet", "--release", "--package", "coffer-bench", "--", "--help"]);
    }
    packages::ensure(&["build", "run", "test", "bench"])?;
    images::make(&["busybox", "bookworm"])?;
    let programs = if words.contains(&"--no-ours") { None } else { Some(dist::build()?) };
    show("cargo", ["build", "--release", "--package", "coffer-bench", "--package", "coffer-testkit"])?;
    let mut whole: Vec<String> = as_root().into_iter().map(str::to_owned).collect();
    if let Some(programs) = programs {
        whole.extend(["env".to_owned(), format!("COFFER_TEST_PROGRAMS={}", programs.display())]);
    }
    whole.push(build_directory()?.join("release/coffer-bench").display().to_string());
    whole.extend(words.iter().map(|&word| word.to_owned()));
    let mut command = command(&whole[0], &whole[1..]);
    println!("+ {}", line(&command));
    finish("coffer-bench", command.status())
}
