//! `manual`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::app::App;
use crate::error::CliError;
use crate::grammar::Cli;

/// Write the manual pages of all commands to a directory
#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// Directory, which must exist
    directory: PathBuf,
}

impl Manual {
    pub(crate) fn run(self, _app: &App) -> Result<(), CliError> {
        clap_mangen::generate_to(Cli::command(), &self.directory).map_err(|cause| CliError::File { file: self.directory, cause })
    }
}
