//! `completion`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::app::App;
use crate::error::CliError;
use crate::grammar::Cli;

/// Print the completion script of a shell
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Shell
    shell: Shell,
    /// Name of the command to complete
    #[arg(long, default_value = "coffer")]
    name: String,
}

impl Completion {
    pub(crate) fn run(self, app: &App) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), self.name, &mut script);
        app.print(&String::from_utf8_lossy(&script))
    }
}
