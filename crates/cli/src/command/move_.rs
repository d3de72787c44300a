//! `move` and `rename`.

use clap::Args;
use coffer_api::InstancePost;

use crate::app::App;
use crate::error::CliError;
use crate::target::Target;

/// Rename an instance or snapshot, or move it to another pool or project
#[derive(Debug, Args)]
pub(crate) struct Move {
    /// Instance, or instance/snapshot
    #[arg(value_name = "[REMOTE:]SOURCE[/SNAPSHOT]")]
    source: Target,
    /// New name
    #[arg(value_name = "[REMOTE:]NAME[/SNAPSHOT]")]
    destination: Option<Target>,
    /// New storage pool
    #[arg(short, long)]
    storage: Option<String>,
    /// New project
    #[arg(long, value_name = "PROJECT")]
    target_project: Option<String>,
    /// Leave the snapshots behind
    #[arg(long)]
    instance_only: bool,
    /// Go on if files change while they are read
    #[arg(long)]
    allow_inconsistent: bool,
    /// Configuration key of the instance, key=value
    #[arg(short, long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Device of the instance: device,key=value
    #[arg(short, long, value_name = "DEVICE,KEY=VALUE")]
    device: Vec<String>,
    /// Profile to apply
    #[arg(short, long)]
    profile: Vec<String>,
    /// Apply no profiles
    #[arg(long)]
    no_profiles: bool,
    /// Leave a stored running state behind
    #[arg(long)]
    stateless: bool,
    /// How data would travel between servers
    #[arg(long, default_value = "pull")]
    mode: String,
}

/// Rename an instance or snapshot
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// Instance, or instance/snapshot
    #[arg(value_name = "[REMOTE:]SOURCE[/SNAPSHOT]")]
    source: Target,
    /// New name
    #[arg(value_name = "NAME[/SNAPSHOT]")]
    destination: Target,
}

impl Move {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        if !(self.config.is_empty() && self.device.is_empty() && self.profile.is_empty()) || self.no_profiles {
            return Err(CliError::Unsupported { what: "changing keys, devices and profiles while moving (change them after it)" });
        }
        let elsewhere = self.storage.is_some() || self.target_project.is_some();
        if !elsewhere {
            return rename(app, &self.source, &self.destination.unwrap_or_default()).await;
        }
        let client = app.client(&self.source)?;
        let name = self.source.required("the instance's name")?;
        let destination = self.destination.map(|target| target.name).filter(|name| !name.is_empty());
        let request = InstancePost {
            name: destination.unwrap_or_else(|| name.to_owned()),
            migration: true,
            live: true,
            instance_only: self.instance_only,
            container_only: self.instance_only,
            pool: self.storage.unwrap_or_default(),
            project: self.target_project.unwrap_or_default(),
            allow_inconsistent: self.allow_inconsistent,
            ..Default::default()
        };
        app.finish(client.move_instance(name, &request).await?, "Transferring instance").await.map(drop)
    }
}

impl Rename {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        rename(app, &self.source, &self.destination).await
    }
}

async fn rename(app: &App, source: &Target, destination: &Target) -> Result<(), CliError> {
    let client = app.client(source)?;
    source.required("the name")?;
    destination.required("the new name")?;
    let pending = match (source.split(), destination.split()) {
        ((instance, Some(snapshot)), (new_instance, new_snapshot)) => {
            let new_name = new_snapshot.unwrap_or(new_instance);
            if new_snapshot.is_some() && new_instance != instance {
                return Err(CliError::NotOfForm { name: destination.name.clone(), form: "a snapshot of the same instance" });
            }
            client.rename_snapshot(instance, snapshot, new_name).await?
        }
        ((_, None), (_, Some(_))) => return Err(CliError::NotOfForm { name: destination.name.clone(), form: "an instance's name" }),
        ((instance, None), (new_name, None)) => {
            client.move_instance(instance, &InstancePost { name: new_name.to_owned(), ..Default::default() }).await?
        }
    };
    app.finish(pending, "").await.map(drop)
}
