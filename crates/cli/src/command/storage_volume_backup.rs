//! `storage volume export` and `import`: volumes as files.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use coffer_api::StorageVolumeBackupsPost;
use coffer_client::{Client, ClientError, Download, Pending, WithFile};

use super::export::Exported;
use super::{export, import};
use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Write a backup of a custom volume to a file
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Pool
    #[arg(value_name = "[REMOTE:]POOL")]
    pool: Target,
    /// Volume
    volume: String,
    /// File, - for standard output; backup.tar.gz unless said
    target: Option<PathBuf>,
    /// Leave the snapshots out
    #[arg(long)]
    volume_only: bool,
    /// Use the storage driver's own format where it has one (btrfs, zfs); LXD imports that into a pool of the same driver only
    #[arg(long)]
    optimized_storage: bool,
    /// Compressor: gzip, zstd, none ...
    #[arg(long, default_value = "", hide_default_value = true)]
    compression: String,
}

/// Make a custom volume of a backup, snapshots included, or of an ISO image
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Pool
    #[arg(value_name = "[REMOTE:]POOL")]
    pool: Target,
    /// The file, - for standard input
    file: String,
    /// The volume's name; the one in the backup, or the ISO image's file name, unless said
    volume: Option<String>,
    /// What the file is; unless said, one whose name ends with .iso is an ISO image
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Backup,
    Iso,
}

impl Export {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let client = app.client(&self.pool)?;
        let (pool, volume) = (self.pool.required("the pool's name")?, self.volume.as_str());
        let volume = volume.strip_prefix("custom/").unwrap_or(volume);
        let request = StorageVolumeBackupsPost {
            expires_at: export::expiry(),
            volume_only: self.volume_only,
            optimized_storage: self.optimized_storage,
            compression_algorithm: self.compression,
            ..Default::default()
        };
        let target = self.target.unwrap_or_else(|| PathBuf::from("backup.tar.gz"));
        export::export(app, &OfVolume { client, pool, volume, request }, target).await
    }
}

struct OfVolume<'a> {
    client: &'a Client,
    pool: &'a str,
    volume: &'a str,
    request: StorageVolumeBackupsPost,
}

impl Exported for OfVolume<'_> {
    const WORKING: &'static str = "Backing up storage volume";

    fn client(&self) -> &Client {
        self.client
    }

    async fn back_up_to(&self, file: &File) -> Result<Option<WithFile>, ClientError> {
        self.client.back_up_storage_volume_to(self.pool, self.volume, &self.request, file).await
    }

    async fn create(&self) -> Result<Pending, ClientError> {
        self.client.create_storage_volume_backup(self.pool, self.volume, &self.request).await
    }

    async fn download(&self, backup: &str) -> Result<Download, ClientError> {
        self.client.export_storage_volume_backup(self.pool, self.volume, backup).await
    }

    async fn delete(&self, backup: &str) -> Result<Pending, ClientError> {
        self.client.delete_storage_volume_backup(self.pool, self.volume, backup).await
    }
}

impl Import {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let path = Path::new(&self.file);
        let looks_like_iso = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("iso"));
        let kind = self.kind.unwrap_or(if looks_like_iso { Kind::Iso } else { Kind::Backup });
        let stem = || path.file_stem().filter(|_| self.file != "-").map(|stem| stem.to_string_lossy().into_owned());
        let (name, kind) = match kind {
            Kind::Backup => (self.volume, "backup"),
            Kind::Iso => (self.volume.or_else(stem), "iso"),
        };
        let client = app.client(&self.pool)?;
        let pool = self.pool.required("the pool's name")?;
        let pending = client.import_storage_volume(pool, &name.unwrap_or_default(), kind, import::upload(&self.file)?).await?;
        app.finish(pending, "Importing storage volume").await.map(drop)
    }
}
