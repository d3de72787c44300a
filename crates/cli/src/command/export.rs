//! `export`: backups of instances as files.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use coffer_api::InstanceBackupsPost;
use coffer_client::Client;

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
    /// Use the storage driver's own format, which only the same driver can read
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
            expires_at: (SystemTime::now() + KEPT).into(),
            instance_only: self.instance_only,
            container_only: self.instance_only,
            optimized_storage: self.optimized_storage,
            compression_algorithm: self.compression,
            ..Default::default()
        };
        let done = app.finish(client.create_backup(instance, &request).await?, "Backing up instance").await?;
        let backups = done.resources.as_ref().and_then(|resources| resources.get("backups"));
        let backup = backups.and_then(|urls| urls.first()).and_then(|url| url.rsplit('/').next());
        let backup = backup.ok_or(CliError::Missing { what: "the backup's name in the server's answer" })?.to_owned();
        let target = self.target.unwrap_or_else(|| PathBuf::from(format!("{instance}.tar.gz")));
        let fetched = fetch(app, client, instance, &backup, &target).await;
        app.finish(client.delete_backup(instance, &backup).await?, "").await?;
        fetched?;
        if target.as_os_str() == "-" { Ok(()) } else { app.note("Backup exported successfully!") }
    }
}

async fn fetch(app: &App, client: &Client, instance: &str, backup: &str, target: &PathBuf) -> Result<(), CliError> {
    let mut body = client.export_backup(instance, backup).await?;
    let failed = |cause| CliError::File { file: target.clone(), cause };
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
