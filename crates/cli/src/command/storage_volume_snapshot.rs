//! `storage volume snapshot` and `storage volume restore`.

use clap::Args;
use coffer_api::{StorageVolumePut, StorageVolumeSnapshotsPost, Timestamp};

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Take a snapshot of a custom volume
#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// Pool
    #[arg(value_name = "[REMOTE:]POOL")]
    pool: Target,
    /// Volume
    volume: String,
    /// Name of the snapshot; the server chooses one if it is missing
    name: Option<String>,
    /// Never delete it by itself, whatever the volume says
    #[arg(long)]
    no_expiry: bool,
    /// Replace a snapshot of that name
    #[arg(long, requires = "name")]
    reuse: bool,
}

/// Give a custom volume the content of one of its snapshots
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Pool
    #[arg(value_name = "[REMOTE:]POOL")]
    pool: Target,
    /// Volume
    volume: String,
    /// Snapshot
    snapshot: String,
}

impl Snapshot {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.pool)?;
        let pool = self.pool.required("the pool's name")?;
        let name = self.name.unwrap_or_default();
        if self.reuse {
            match client.delete_storage_volume_snapshot(pool, &self.volume, &name).await {
                Ok(pending) => drop(app.finish(pending, "").await?),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let request = StorageVolumeSnapshotsPost { name, expires_at: self.no_expiry.then_some(Timestamp::UNSET) };
        app.finish(client.create_storage_volume_snapshot(pool, &self.volume, &request).await?, "").await.map(drop)
    }
}

impl Restore {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.pool)?;
        let pool = self.pool.required("the pool's name")?;
        let request = StorageVolumePut { restore: self.snapshot, ..Default::default() };
        app.finish(client.update_storage_volume(pool, "custom", &self.volume, &request, "").await?, "").await.map(drop)
    }
}
