//! `admin`: preparing, awaiting and stopping the daemon, and what helps after something went wrong.

mod apply;
mod document;
mod dump;
mod fsck;
mod init;
mod questions;
mod recover;
mod shutdown;
mod waitready;

use clap::Subcommand;

use crate::app::App;
use crate::error::CliError;

/// Prepare, await, stop, check and recover the daemon
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    Init(init::Init),
    Waitready(waitready::Waitready),
    Shutdown(shutdown::Shutdown),
    Recover(recover::Recover),
    Fsck(fsck::Fsck),
    Dump(document::Dump),
    Restore(document::Restore),
}

impl Admin {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Admin::Init(command) => command.run(app).await,
            Admin::Waitready(command) => command.run(app).await,
            Admin::Shutdown(command) => command.run(app).await,
            Admin::Recover(command) => command.run(app).await,
            Admin::Fsck(command) => command.run(app).await,
            Admin::Dump(command) => command.run(app).await,
            Admin::Restore(command) => command.run(app).await,
        }
    }
}
