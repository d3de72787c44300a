//! The daemon: reads its arguments and surroundings, and runs the server.

mod args;
mod surroundings;

use std::io::Write as _;
use std::process::ExitCode;

use args::{Arguments, Invocation};
use coffer_server::{Log, Options};
use surroundings::Surroundings;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Run(arguments)) => run(arguments),
        Ok(Invocation::Help) => print(args::HELP),
        Ok(Invocation::Version) => print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Err(why) => fail(&why),
    }
}

fn run(arguments: Arguments) -> ExitCode {
    let log = match Log::begin(arguments.verbosity, arguments.logfile.as_deref()) {
        Ok(log) => log,
        Err(error) => return fail(&coffer_base::chain(&error)),
    };
    let Surroundings { dir, monitor, unpack, files } = Surroundings::read();
    match coffer_server::run(Options { dir, group: arguments.group, monitor, unpack, files }, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&coffer_base::chain(&error)),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(why: &str) -> ExitCode {
    // Nobody can be told that nobody can be told.
    let _ = writeln!(std::io::stderr(), "Error: {why}");
    ExitCode::FAILURE
}
