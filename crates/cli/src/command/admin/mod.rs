//! `admin`: preparing, awaiting and stopping the daemon.

mod apply;
mod dump;
mod init;
mod questions;
mod shutdown;
mod waitready;

use clap::Subcommand;

use crate::app::App;
use crate::error::CliError;

/// Prepare, await and stop the daemon
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    Init(init::Init),
    Waitready(waitready::Waitready),
    Shutdown(shutdown::Shutdown),
}

impl Admin {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Admin::Init(command) => command.run(app).await,
            Admin::Waitready(command) => command.run(app).await,
            Admin::Shutdown(command) => command.run(app).await,
        }
    }
}
