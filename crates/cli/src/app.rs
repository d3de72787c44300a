//! What every command needs: the server, the output, the terminal.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};

use clap::Args;
use coffer_api::Operation;
use coffer_client::{Client, Endpoint, Family, Pending};
use coffer_remote::Server;

use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::remotes::Remotes;
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
    local: Client,
    remotes: Remotes,
    /// A client for each remote, made when it is first needed.
    clients: BTreeMap<String, OnceCell<Client>>,
    interrupts: Interrupts,
}

impl App {
    pub(crate) fn new(globals: Globals, family: Family, remotes: Remotes) -> App {
        let clients = remotes.all().keys().map(|name| (name.clone(), OnceCell::new())).collect();
        let program = match family {
            Family::Coffer => "coffer",
            Family::Lxd => "lxc",
        };
        let of_remote = remotes.named("local").map(|(_, remote)| remote.project.clone()).unwrap_or_default();
        let project = if globals.project.is_empty() { &of_remote } else { &globals.project };
        let local = traced(Client::new(Endpoint::local(family), project), &globals);
        App { globals, program, local, remotes, clients, interrupts: Interrupts::default() }
    }

    /// Returns the client of the local server.
    pub(crate) fn local(&self) -> &Client {
        &self.local
    }

    /// Returns the remotes.
    pub(crate) fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// Returns the client of the server that holds `target`.
    pub(crate) fn client(&self, target: &Target) -> Result<&Client, CliError> {
        if target.remote.is_empty() && self.globals.force_local {
            return Ok(&self.local);
        }
        let (name, remote) = self.remotes.named(&target.remote)?;
        let cell = self.clients.get(name).ok_or_else(|| CliError::UnknownRemote { name: name.to_owned() })?;
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let project = if self.globals.project.is_empty() { &remote.project } else { &self.globals.project };
        let made = traced(Client::new(self.remotes.endpoint(name)?, project), &self.globals);
        Ok(cell.get_or_init(|| made))
    }

    /// Returns the project that is worked in on the server that holds `target`.
    pub(crate) fn project(&self, target: &Target) -> Result<String, CliError> {
        let of_remote = &self.remotes.named(&target.remote)?.1.project;
        let project = [&self.globals.project, of_remote].into_iter().find(|project| !project.is_empty());
        Ok(project.cloned().unwrap_or_else(|| "default".to_owned()))
    }

    /// Returns the server of images that `target` is on; `None` if that is a daemon.
    pub(crate) fn image_server(&self, target: &Target) -> Result<Option<Server>, CliError> {
        if target.remote.is_empty() && self.globals.force_local {
            return Ok(None);
        }
        self.remotes.image_server(&target.remote)
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
        io::stdout().is_terminal() && colour_is_fine()
    }

    /// Waits for a change and shows its progress on one line behind `prefix`.
    pub(crate) async fn finish(&self, pending: Pending, prefix: &str) -> Result<Operation, CliError> {
        let canceller = pending.canceller();
        if self.globals.quiet || !io::stderr().is_terminal() {
            let waiting = async { Ok(pending.wait().await?) };
            return self.interrupts.guard(canceller, |line| self.complain(line), waiting).await;
        }
        let progress = Progress::new(prefix);
        let watching = async { Ok(pending.watch(&|operation| progress.show_operation(operation)).await?) };
        let complain = |line: &str| {
            progress.clear();
            self.complain(line);
        };
        let done = self.interrupts.guard(canceller, complain, watching).await;
        progress.clear();
        done
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

/// Tells whether the user has nothing against colours. Source: no-color.org.
pub(crate) fn colour_is_fine() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A client whose requests are shown if the user wants to see them.
fn traced(client: Client, globals: &Globals) -> Client {
    let (debug, verbose) = (globals.debug, globals.verbose);
    if debug || verbose {
        client.set_trace(Box::new(move |method, path, code| {
            if debug || method != "GET" {
                let _ = writeln!(io::stderr().lock(), "{method} {path}: {code}");
            }
        }));
    }
    client
}
