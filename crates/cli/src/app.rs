//! What every command needs: the server, the output, the terminal.

use std::io::{self, IsTerminal, Read, Write};

use clap::Args;
use coffer_api::Operation;
use coffer_client::{Client, Endpoint, Family, Pending};

use crate::error::CliError;
use crate::progress::Progress;
use crate::remote::Remote;
use crate::target::Target;

/// Options every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Globals {
    /// Work in this project instead of the default one
    #[arg(long, global = true, value_name = "PROJECT", default_value = "", hide_default_value = true, help_heading = "Global options")]
    pub(crate) project: String,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Show the requests that change something
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) verbose: bool,
    /// Show all requests
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) debug: bool,
    /// Use the local socket even if another server is the default
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) force_local: bool,
}

/// What every command needs.
pub(crate) struct App {
    pub(crate) globals: Globals,
    /// The name this program was called by, for texts that tell the user what to type.
    pub(crate) program: &'static str,
    client: Client,
}

impl App {
    pub(crate) fn new(globals: Globals, family: Family) -> App {
        let client = Client::new(Endpoint::local(family), &globals.project);
        let (debug, verbose) = (globals.debug, globals.verbose);
        if debug || verbose {
            client.set_trace(Box::new(move |method, path, code| {
                if debug || method != "GET" {
                    let _ = writeln!(io::stderr().lock(), "{method} {path}: {code}");
                }
            }));
        }
        let program = match family {
            Family::Coffer => "coffer",
            Family::Lxd => "lxc",
        };
        App { globals, program, client }
    }

    /// Returns the client of the local server.
    pub(crate) fn local(&self) -> &Client {
        &self.client
    }

    /// Returns the client of the server that holds `target`.
    pub(crate) fn client(&self, target: &Target) -> Result<&Client, CliError> {
        match Remote::named(&target.remote)? {
            Remote::Local => Ok(&self.client),
            Remote::Images { .. } => Err(CliError::ImagesOnly { name: target.remote.clone() }),
        }
    }

    /// Writes a result to standard output.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|cause| CliError::Stream { stream: "output", cause })
    }

    /// Writes one line that tells what happens, unless the user wants quiet.
    pub(crate) fn note(&self, line: &str) -> Result<(), CliError> {
        if self.globals.quiet { Ok(()) } else { self.print(&format!("{line}\n")) }
    }

    /// Writes one line to standard error.
    pub(crate) fn complain(&self, line: &str) {
        // There is nobody left to tell if even this fails.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Tells whether results may be coloured.
    pub(crate) fn colour(&self) -> bool {
        io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// Waits for a change and shows its progress on one line behind `prefix`.
    pub(crate) async fn finish(&self, pending: Pending, prefix: &str) -> Result<Operation, CliError> {
        if self.globals.quiet || !io::stderr().is_terminal() {
            return Ok(pending.wait().await?);
        }
        let progress = Progress::new(prefix);
        let done = pending.watch(&|operation| progress.show_operation(operation)).await;
        progress.clear();
        Ok(done?)
    }

    /// Reads all of standard input, if it comes from a file or pipe; `None` on a terminal.
    pub(crate) fn piped_input(&self) -> Result<Option<String>, CliError> {
        let mut input = io::stdin().lock();
        if input.is_terminal() {
            return Ok(None);
        }
        let mut text = String::new();
        input.read_to_string(&mut text).map_err(|cause| CliError::Stream { stream: "input", cause })?;
        Ok(Some(text))
    }
}
