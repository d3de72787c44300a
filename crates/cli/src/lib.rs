//! The command: reads what the user typed, asks the server, shows the answer.
//!
//! Never: decides what the server should; shows a byte of a stranger's text that could steer the terminal; keeps state.

mod aliases;
mod app;
mod command;
mod complete;
mod editor;
mod error;
mod grammar;
#[cfg(test)]
mod grammar_table;
mod interrupt;
mod key_value;
mod object;
mod personality;
mod progress;
mod prompt;
mod remotes;
mod render;
mod target;
mod terminal;
mod trust_token;

use std::ffi::OsString;

use coffer_base::chain::chain;

use crate::app::App;
use crate::error::CliError;
use crate::personality::Personality;
use crate::remotes::Remotes;

/// Runs the command with the process's arguments and exits with its code.
pub fn main() -> ! {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let code = match personality::of(&arguments) {
        Personality::Daemon => report_code(personality::become_daemon(&arguments)),
        Personality::Command { arguments, family } => run(&arguments, family),
    };
    // Threads of exec sessions may still wait for input that nobody wants any more.
    std::process::exit(code)
}

fn run(arguments: &[OsString], family: coffer_client::Family) -> i32 {
    // A configuration that cannot be read has no words of the user's own; the error is told when the words are understood.
    let remotes = Remotes::load(family);
    let arguments = aliases::expand(arguments, &remotes.as_ref().map(Remotes::aliases).unwrap_or_default());
    let cli = match grammar::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) if grammar::names_a_member(&error) => {
            return report_code(Err(CliError::Unsupported { what: "choosing a cluster member" }));
        }
        Err(error) => {
            let _ = error.print();
            return i32::from(error.use_stderr());
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => runtime,
        Err(cause) => return report_code(Err(CliError::Terminal { cause })),
    };
    let app = match remotes.map(|remotes| App::new(cli.globals, family, remotes)) {
        Ok(app) => app,
        Err(error) => return report_code(Err(error)),
    };
    let outcome = runtime.block_on(command::run(cli.command, &app));
    // Blocking reads of the terminal can't be woken; nobody waits for them.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => report_code(Err(error)),
    }
}

/// Writes an error for the user and returns the exit code.
fn report_code(outcome: Result<(), CliError>) -> i32 {
    let Err(error) = outcome else { return 0 };
    if let CliError::Stream { stream: "output", cause } = &error
        && cause.kind() == std::io::ErrorKind::BrokenPipe
    {
        return 141;
    }
    use std::io::{IsTerminal, Write};
    let mut out = std::io::stderr().lock();
    let (start, end) = if out.is_terminal() && app::colour_is_fine() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let _ = writeln!(out, "{start}Error:{end} {}", render::clean_lines(&report(&error)));
    1
}

/// Writes an error and what caused it as one text.
fn report(error: &CliError) -> String {
    chain(error)
}
