//! `storage volume copy` and `storage volume move`, on the same server.

use clap::Args;
use coffer_api::{StorageVolumePost, StorageVolumeSource, StorageVolumesPost};

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Copy a custom volume or a snapshot of one
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Volume, or pool/volume/snapshot
    #[arg(value_name = "[REMOTE:]POOL/VOLUME[/SNAPSHOT]")]
    source: Target,
    /// The copy
    #[arg(value_name = "[REMOTE:]POOL/VOLUME")]
    copy: Target,
    /// Leave the snapshots behind
    #[arg(long)]
    volume_only: bool,
    /// Bring an existing copy up to date
    #[arg(long)]
    refresh: bool,
    /// Project of the copy
    #[arg(long, value_name = "PROJECT")]
    target_project: Option<String>,
    /// How data would travel between servers
    #[arg(long, default_value = "pull")]
    mode: String,
}

/// Move a custom volume to another pool, project or name
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// Volume
    #[arg(value_name = "[REMOTE:]POOL/VOLUME")]
    volume: Target,
    /// Where it is to be
    #[arg(value_name = "[REMOTE:]POOL/VOLUME")]
    place: Target,
    /// Its new project
    #[arg(long, value_name = "PROJECT")]
    target_project: Option<String>,
    /// How data would travel between servers
    #[arg(long, default_value = "pull")]
    mode: String,
}

impl Copy {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let (client, _same) = (app.client(&self.source)?, app.client(&self.copy)?);
        let ((from_pool, from), (pool, name)) = (place(&self.source)?, place(&self.copy)?);
        let (volume, snapshot) = from.split_once('/').map_or((from, None), |(volume, snapshot)| (volume, Some(snapshot)));
        // What the source is configured with and holds goes along.
        let read = client.storage_volume(from_pool, "custom", volume).await?.value;
        let mut config = read.config;
        config.retain(|key, _| !key.starts_with("volatile."));
        let source = StorageVolumeSource {
            name: snapshot.map_or_else(|| volume.to_owned(), |snapshot| format!("{volume}/{snapshot}")),
            kind: "copy".into(),
            pool: from_pool.to_owned(),
            volume_only: self.volume_only,
            refresh: self.refresh,
            project: self.target_project.as_ref().map(|_| source_project(app)).unwrap_or_default(),
            ..Default::default()
        };
        let request = StorageVolumesPost {
            config,
            description: read.description,
            name: name.to_owned(),
            kind: "custom".into(),
            source,
            content_type: read.content_type,
            ..Default::default()
        };
        let pending = match &self.target_project {
            Some(project) => client.with_project(project).create_storage_volume(pool, &request).await?,
            None => client.create_storage_volume(pool, &request).await?,
        };
        app.finish(pending, "Copying the storage volume").await?;
        app.note("Storage volume copied successfully!")
    }
}

impl Move {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let (client, _same) = (app.client(&self.volume)?, app.client(&self.place)?);
        let ((from_pool, from), (pool, name)) = (place(&self.volume)?, place(&self.place)?);
        let request = StorageVolumePost {
            name: name.to_owned(),
            pool: if pool == from_pool { String::new() } else { pool.to_owned() },
            project: self.target_project.unwrap_or_default(),
            ..Default::default()
        };
        let pending = client.move_storage_volume(from_pool, "custom", from, &request).await?;
        app.finish(pending, "Moving the storage volume").await?;
        app.note("Storage volume moved successfully!")
    }
}

/// Splits `pool/volume`.
fn place(target: &Target) -> Result<(&str, &str), CliError> {
    match target.split() {
        (pool, Some(volume)) if !pool.is_empty() && !volume.is_empty() => Ok((pool, volume)),
        _ => Err(CliError::Missing { what: "the volume's name, as in pool/volume" }),
    }
}

fn source_project(app: &App) -> String {
    if app.globals.project.is_empty() { "default".to_owned() } else { app.globals.project.clone() }
}
