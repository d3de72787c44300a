//! `delete`.

use clap::Args;
use coffer_api::{InstanceStatePut, StatusCode};
use coffer_client::{Client, ClientError};

use crate::app::App;
use crate::error::CliError;
use crate::prompt;
use crate::target::Target;

/// Delete instances and snapshots
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Instances, or snapshots as instance/snapshot
    #[arg(value_name = "[REMOTE:]INSTANCE[/SNAPSHOT]", required = true)]
    targets: Vec<Target>,
    /// Stop running instances first, by killing them
    #[arg(short, long)]
    force: bool,
    /// Ask before each
    #[arg(short, long)]
    interactive: bool,
}

impl Delete {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        for target in &self.targets {
            if self.interactive && !prompt::ask_bool(&format!("Delete {}?", target.name), false)? {
                return Err(CliError::Declined);
            }
            let client = &app.client(target)?.waiting();
            target.required("the instance's name")?;
            match target.split() {
                (instance, Some(snapshot)) => {
                    app.finish(client.delete_snapshot(instance, snapshot).await?, "").await?;
                }
                (instance, None) => self.delete_instance(app, client, instance).await?,
            }
        }
        Ok(())
    }

    async fn delete_instance(&self, app: &App, client: &Client, name: &str) -> Result<(), CliError> {
        if self.force && self.stop(app, client, name).await? {
            return Ok(());
        }
        let done = match client.delete_instance(name).await {
            Ok(pending) => app.finish(pending, "").await,
            Err(error) => Err(error.into()),
        };
        match done {
            // An ephemeral instance is gone once it has stopped.
            Err(CliError::Client(error)) if self.force && error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Stops a running instance; true if it went away by that.
    async fn stop(&self, app: &App, client: &Client, name: &str) -> Result<bool, CliError> {
        let instance = client.instance(name).await?.value;
        if matches!(instance.status_code, StatusCode::STOPPED | StatusCode::ERROR) {
            return Ok(false);
        }
        let request = InstanceStatePut { action: "stop".into(), timeout: -1, force: true, stateful: false };
        let stopped = match client.change_state(name, &request).await {
            Ok(pending) => app.finish(pending, "").await,
            Err(error) => Err(error.into()),
        };
        match stopped {
            Ok(_) => Ok(instance.ephemeral),
            Err(CliError::Client(ClientError::Refused { code: 404, .. })) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
