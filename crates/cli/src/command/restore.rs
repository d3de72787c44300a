//! `restore`.

use clap::Args;
use coffer_api::InstancePut;

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Put an instance back to one of its snapshots
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Target,
    /// Snapshot
    snapshot: String,
    /// Restore the running state too
    #[arg(long)]
    stateful: bool,
}

impl Restore {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let instance = self.instance.required("the instance's name")?;
        let restore = if self.snapshot.contains('/') { self.snapshot } else { format!("{instance}/{}", self.snapshot) };
        let request = InstancePut { restore, stateful: self.stateful, ..Default::default() };
        let pending = app.client(&self.instance)?.update_instance(instance, &request, "").await?;
        app.finish(pending, "").await.map(drop)
    }
}
