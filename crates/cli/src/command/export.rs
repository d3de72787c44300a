//! `export`: backups of instances as files.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use coffer_api::{InstanceBackupsPost, Operation, Timestamp};
use coffer_client::Download;

use crate::app::App;
use crate::error::CliError;
use crate::progress::Progress;
use crate::render::decimal_size;
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
    /// Use the storage driver's own format where it has one (btrfs); LXD imports that into a pool of the same driver only
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
        let done = app.finish(client.create_backup(instance, &request).await?, "Backing up instance").await?;
        let backup = backup_of(&done)?;
        let target = self.target.unwrap_or_else(|| PathBuf::from(format!("{instance}.tar.gz")));
        let fetched = match client.export_backup(instance, &backup).await {
            Ok(body) => save(app, body, &target).await,
            Err(error) => Err(error.into()),
        };
        app.finish(client.delete_backup(instance, &backup).await?, "").await?;
        fetched?;
        told(app, &target)
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

/// Says that a backup was written, unless it went to standard output.
pub(crate) fn told(app: &App, target: &Path) -> Result<(), CliError> {
    if target.as_os_str() == "-" { Ok(()) } else { app.note("Backup exported successfully!") }
}

/// Writes a backup that is downloaded to a file, or to standard output.
pub(crate) async fn save(app: &App, mut body: Download, target: &Path) -> Result<(), CliError> {
    let failed = |cause| CliError::File { file: target.to_owned(), cause };
    let mut file: Box<dyn Write> = match target.as_os_str() == "-" {
        true => Box::new(std::io::stdout()),
        false => Box::new(File::create(target).map_err(failed)?),
    };
    let progress = Progress::new("Exporting the backup");
    let shown = !app.globals.quiet && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let mut count = 0_i64;
    while let Some(chunk) = body.chunk().await? {
        file.write_all(&chunk).map_err(failed)?;
        count += i64::try_from(chunk.len()).unwrap_or(0);
        if shown {
            progress.show(&decimal_size(count));
        }
    }
    progress.clear();
    file.flush().map_err(failed)
}
