//! `rebuild`.

use clap::Args;
use coffer_api::{InstanceRebuildPost, InstanceSource, InstanceStatePut, StatusCode};

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Make an instance's root anew from an image, or empty
///
/// Its configuration, devices and snapshots stay; everything in its root file system is lost.
#[derive(Debug, Args)]
pub(crate) struct Rebuild {
    /// Image, by alias or fingerprint; with --empty the instance
    #[arg(value_name = "[REMOTE:]IMAGE")]
    image: Target,
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Option<Target>,
    /// Leave the root empty
    #[arg(long)]
    empty: bool,
    /// Stop a running instance first, by killing it, and start it again
    #[arg(short, long)]
    force: bool,
}

impl Rebuild {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let (image, instance) = match (self.empty, self.instance) {
            (true, None) => (None, self.image),
            (true, Some(_)) => return Err(CliError::Exclusive { one: "--empty", other: "an image" }),
            (false, Some(instance)) => (Some(self.image), instance),
            (false, None) => return Err(CliError::Missing { what: "the instance's name" }),
        };
        let client = app.client(&instance)?;
        let name = instance.required("the instance's name")?;
        let source = match image {
            None => InstanceSource { kind: "none".into(), ..Default::default() },
            Some(image) => super::create::source(app, client, &instance, &image).await?,
        };
        let runs = client.instance(name).await?.value.status_code != StatusCode::STOPPED;
        let state = |action: &str| InstanceStatePut { action: action.into(), timeout: -1, force: true, stateful: false };
        if runs && self.force {
            app.finish(client.change_state(name, &state("stop")).await?, "").await?;
        }
        app.finish(client.rebuild_instance(name, &InstanceRebuildPost { source }).await?, "Rebuilding instance").await?;
        if runs && self.force {
            app.finish(client.change_state(name, &state("start")).await?, "").await?;
        }
        Ok(())
    }
}
