//! The build tool: everything a developer or CI does with this repository, as `cargo xtask WORD`.
//!
//! Never: a heavy dependency (it compiles in seconds); a step that CI does and a developer cannot.

mod arrows;
mod bed;
mod bench;
mod cargo;
mod ci;
mod dist;
mod generate;
mod images;
mod licences;
mod packages;
mod python;
mod rules;
mod run;
mod soak;
mod tally;
mod test;
mod try_it;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask try [--built]        build, start a private daemon, run a container in it, clean up
cargo xtask test [FILTER] [--fast]
                                 install what tests need, build, run them all (or those whose name holds FILTER)
cargo xtask bed build            make the testbed: a Debian guest under emulation, with what this host's kernel lacks
cargo xtask bed ci               run there what continuous integration does
cargo xtask bed test [SUITE[:WORD]...]
                                 run suites of tests in it
cargo xtask ci                   what CI runs: fmt, lint, arrows, rules, licences, gen --check, test
cargo xtask fmt [--check]        format
cargo xtask lint                 clippy, warnings are errors
cargo xtask arrows               hold the dependencies between crates against xtask/arrows.txt
cargo xtask rules                unsafe only in sys, programs only through base::run
cargo xtask licences             licences and sources of everything linked
cargo xtask gen [--check]        generated files: OpenAPI, manual
cargo xtask images [NAME...]     make the test images (busybox, bookworm, trixie) into the build directory
cargo xtask packages SECTION...  install sections of distro/packages.debian
cargo xtask python               fetch what tests need of PyPI
cargo xtask dist                 release build of everything, side by side in the build directory's dist/
cargo xtask bench [ARGS]         release build, then bench/; see `cargo xtask bench --help`
cargo xtask soak [CYCLES]        release build, then so many lives of an instance (2000), and what they left behind
";

/// What a step answers: nothing, or what went wrong, in words for the developer.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["try"] => try_it::run(false),
        ["try", "--built"] => try_it::run(true),
        ["test", rest @ ..] => test::run(rest),
        ["bed", rest @ ..] => bed::run(rest),
        ["ci"] => ci::run(),
        ["fmt"] => cargo::format(false),
        ["fmt", "--check"] => cargo::format(true),
        ["lint"] => cargo::lint(),
        ["arrows"] => arrows::check(),
        ["rules"] => rules::check(),
        ["licences"] => licences::check(),
        ["gen"] => generate::run(generate::Mode::Write),
        ["gen", "--check"] => generate::run(generate::Mode::Check),
        ["images", names @ ..] => images::make(names),
        ["packages", sections @ ..] if !sections.is_empty() => packages::ensure(sections),
        ["python"] => python::ensure(),
        ["dist"] => dist::build().map(|folder| println!("{}", folder.display())),
        ["bench", rest @ ..] => bench::run(rest),
        ["soak"] => soak::run("2000"),
        ["soak", cycles] => soak::run(cycles),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        [] => Err(format!("say what to do:\n{HELP}")),
        [word, ..] => Err(format!("cannot do {word:?} with these arguments:\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
