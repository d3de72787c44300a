//! `export`: backups of instances as files.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use coffer_api::{InstanceBackupsPost, Operation, Timestamp};
use coffer_client::WithFile;

use super::destination::Destination;
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Write a backup of an instance to a file
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Instance
    #[arg(value_name = "[REMOTE:]INSTANCE")]
    instance: Target,
    /// File, - for standard output; INSTANCE.tar.gz unless said
    target: Option<PathBuf>,
    /// Leave the snapshots out
    #[arg(long)]
    instance_only: bool,
    /// Use the storage driver's own format where it has one (btrfs, zfs); LXD imports that into a pool of the same driver only
    #[arg(long)]
    optimized_storage: bool,
    /// Compressor: gzip, zstd, none ...
    #[arg(long, default_value = "", hide_default_value = true)]
    compression: String,
}

/// What stands before the progress.
const WORKING: &str = "Backing up instance";

/// How long the server keeps a backup whose download was cut.
const KEPT: Duration = Duration::from_secs(24 * 3600);

impl Export {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.instance)?;
        let instance = self.instance.required("the instance's name")?;
        let request = InstanceBackupsPost {
            expires_at: expiry(),
            instance_only: self.instance_only,
            container_only: self.instance_only,
            optimized_storage: self.optimized_storage,
            compression_algorithm: self.compression,
            ..Default::default()
        };
        let mut target = Destination::open(self.target.unwrap_or_else(|| PathBuf::from(format!("{instance}.tar.gz"))))?;
        let begun = match target.to_hand_over(client) {
            Some(file) => client.back_up_to(instance, &request, file).await?,
            None => None,
        };
        let pending = match begun {
            Some(WithFile::Filled(pending)) => {
                app.finish(pending, WORKING).await?;
                return target.complete(app);
            }
            Some(WithFile::Kept(pending)) => pending,
            None => client.create_backup(instance, &request).await?,
        };
        let backup = backup_of(&app.finish(pending, WORKING).await?)?;
        let fetched = match client.export_backup(instance, &backup).await {
            Ok(body) => target.fill(app, body).await,
            Err(error) => Err(error.into()),
        };
        app.finish(client.delete_backup(instance, &backup).await?, "").await?;
        fetched?;
        target.complete(app)
    }
}

/// The name of the backup that an operation made.
pub(crate) fn backup_of(done: &Operation) -> Result<String, CliError> {
    let backups = done.resources.as_ref().and_then(|resources| resources.get("backups"));
    let backup = backups.and_then(|urls| urls.first()).and_then(|url| url.rsplit('/').next());
    backup.map(str::to_owned).ok_or(CliError::Missing { what: "the backup's name in the server's answer" })
}

/// When a backup that is made to be fetched goes by itself, should the download be cut.
pub(crate) fn expiry() -> Timestamp {
    (SystemTime::now() + KEPT).into()
}
