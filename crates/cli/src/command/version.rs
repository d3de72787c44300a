//! `version`.

use clap::Args;

use crate::app::App;
use crate::error::CliError;
use crate::render::clean;
use crate::target::Target;

/// Show the versions of this command and of the server
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// Remote
    #[arg(value_name = "REMOTE:")]
    remote: Option<Target>,
}

impl Version {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.remote.unwrap_or_default())?;
        let server = match client.server().await {
            Ok(server) => clean(&server.value.environment.server_version).into_owned(),
            Err(_) => "unreachable".to_owned(),
        };
        app.print(&format!("Client version: {}\nServer version: {server}\n", env!("CARGO_PKG_VERSION")))
    }
}
