//! `snapshot`.

use clap::Args;
use coffer_api::{InstanceSnapshotsPost, Timestamp};

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Take a snapshot of an instance
#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Target,
    /// Name of the snapshot; the server chooses one if it is missing
    name: Option<String>,
    /// Store the running state too
    #[arg(long)]
    stateful: bool,
    /// Never delete it by itself, whatever the instance says
    #[arg(long)]
    no_expiry: bool,
    /// Replace a snapshot of that name
    #[arg(long, requires = "name")]
    reuse: bool,
}

impl Snapshot {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.instance)?.waiting();
        let instance = self.instance.required("the instance's name")?;
        let name = self.name.unwrap_or_default();
        if self.reuse {
            match client.delete_snapshot(instance, &name).await {
                Ok(pending) => drop(app.finish(pending, "").await?),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let expires_at = self.no_expiry.then_some(Timestamp::UNSET);
        let request = InstanceSnapshotsPost { name, stateful: self.stateful, expires_at };
        app.finish(client.create_snapshot(instance, &request).await?, "").await.map(drop)
    }
}
