//! `export`: backups of instances as files.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use coffer_api::{InstanceBackupsPost, Operation, Timestamp};
use coffer_client::{Client, ClientError, Download, Pending, WithFile};

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
        let target = self.target.unwrap_or_else(|| PathBuf::from(format!("{instance}.tar.gz")));
        export(app, &OfInstance { client, instance, request }, target).await
    }
}

/// What a backup is made of.
pub(crate) trait Exported {
    /// What stands before the progress.
    const WORKING: &'static str;

    /// The server that it is on.
    fn client(&self) -> &Client;

    /// Makes a backup in a file, where the server can; `None` if the file cannot reach it.
    async fn back_up_to(&self, file: &File) -> Result<Option<WithFile>, ClientError>;

    /// Makes a backup that the server keeps.
    async fn create(&self) -> Result<Pending, ClientError>;

    /// Downloads it.
    async fn download(&self, backup: &str) -> Result<Download, ClientError>;

    /// Deletes it.
    async fn delete(&self, backup: &str) -> Result<Pending, ClientError>;
}

/// Writes a backup to where it is wanted: the server does where it can, else the backup is made, downloaded and deleted.
pub(crate) async fn export<E: Exported>(app: &App, of: &E, target: PathBuf) -> Result<(), CliError> {
    let mut target = Destination::open(target)?;
    let begun = match target.to_hand_over(of.client()) {
        Some(file) => of.back_up_to(file).await?,
        None => None,
    };
    let pending = match begun {
        Some(WithFile::Filled(pending)) => {
            app.finish(pending, E::WORKING).await?;
            return target.complete(app);
        }
        Some(WithFile::Kept(pending)) => pending,
        None => of.create().await?,
    };
    let backup = backup_of(&app.finish(pending, E::WORKING).await?)?;
    let fetched = match of.download(&backup).await {
        Ok(body) => target.fill(app, body).await,
        Err(error) => Err(error.into()),
    };
    app.finish(of.delete(&backup).await?, "").await?;
    fetched?;
    target.complete(app)
}

struct OfInstance<'a> {
    client: &'a Client,
    instance: &'a str,
    request: InstanceBackupsPost,
}

impl Exported for OfInstance<'_> {
    const WORKING: &'static str = "Backing up instance";

    fn client(&self) -> &Client {
        self.client
    }

    async fn back_up_to(&self, file: &File) -> Result<Option<WithFile>, ClientError> {
        self.client.back_up_to(self.instance, &self.request, file).await
    }

    async fn create(&self) -> Result<Pending, ClientError> {
        self.client.create_backup(self.instance, &self.request).await
    }

    async fn download(&self, backup: &str) -> Result<Download, ClientError> {
        self.client.export_backup(self.instance, backup).await
    }

    async fn delete(&self, backup: &str) -> Result<Pending, ClientError> {
        self.client.delete_backup(self.instance, backup).await
    }
}

/// The name of the backup that an operation made.
fn backup_of(done: &Operation) -> Result<String, CliError> {
    let backups = done.resources.as_ref().and_then(|resources| resources.get("backups"));
    let backup = backups.and_then(|urls| urls.first()).and_then(|url| url.rsplit('/').next());
    backup.map(str::to_owned).ok_or(CliError::Missing { what: "the backup's name in the server's answer" })
}

/// When a backup that is made to be fetched goes by itself, should the download be cut.
pub(crate) fn expiry() -> Timestamp {
    (SystemTime::now() + KEPT).into()
}
