//! `copy`: copies on the same server.

use clap::Args;
use coffer_api::{InstancePut, InstanceSource, InstancesPost};
use coffer_client::Client;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::{devices, pairs};
use crate::object::{Config, Devices};
use crate::target::Target;

/// Copy an instance or a snapshot
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Instance, or instance/snapshot
    #[arg(value_name = "[REMOTE:]SOURCE[/SNAPSHOT]")]
    source: Target,
    /// Name of the copy; the server chooses one if it is missing
    #[arg(value_name = "[REMOTE:]COPY")]
    copy: Option<Target>,
    /// Configuration key of the copy, key=value
    #[arg(short, long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Device of the copy, device,key=value
    #[arg(short, long, value_name = "DEVICE,KEY=VALUE")]
    device: Vec<String>,
    /// Profile of the copy; may be given several times
    #[arg(short, long, conflicts_with = "no_profiles")]
    profile: Vec<String>,
    /// Apply no profiles at all
    #[arg(long)]
    no_profiles: bool,
    /// Delete the copy when it stops
    #[arg(short, long)]
    ephemeral: bool,
    /// Leave the snapshots behind
    #[arg(long)]
    instance_only: bool,
    /// Copy without the running state
    #[arg(long)]
    stateless: bool,
    /// Bring an existing copy up to date
    #[arg(long)]
    refresh: bool,
    /// Go on if files change while they are read
    #[arg(long)]
    allow_inconsistent: bool,
    /// Storage pool of the copy
    #[arg(short, long)]
    storage: Option<String>,
    /// Project of the copy
    #[arg(long, value_name = "PROJECT")]
    target_project: Option<String>,
    /// How data would travel between servers
    #[arg(long, default_value = "pull")]
    mode: String,
}

impl Copy {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let copy = self.copy.clone().unwrap_or_default();
        let (client, _same) = (app.client(&self.source)?, app.client(&copy)?);
        self.source.required("the instance's name")?;
        let (instance, snapshot) = self.source.split();
        let (architecture, mut config, mut all, mut profiles, ephemeral) = match snapshot {
            Some(snapshot) => {
                let read = client.snapshot(instance, snapshot).await?.value;
                (read.architecture, read.config, read.devices, read.profiles, read.ephemeral)
            }
            None => {
                let read = client.instance(instance).await?.value;
                (read.architecture, read.config, read.devices, read.profiles, read.ephemeral)
            }
        };
        // What the server wrote down about the source is not true of the copy.
        config.retain(|key, _| !key.starts_with("volatile.") || key == "volatile.base_image");
        config.extend(pairs(&self.config)?);
        change_devices(&mut all, devices(&self.device)?, self.storage.as_deref());
        if self.no_profiles {
            profiles.clear();
        } else if !self.profile.is_empty() {
            profiles.clone_from(&self.profile);
        }
        let source = InstanceSource {
            kind: "copy".into(),
            source: self.source.name.clone(),
            project: self.target_project.as_ref().map(|_| source_project(app)).unwrap_or_default(),
            instance_only: self.instance_only,
            container_only: self.instance_only,
            refresh: self.refresh,
            allow_inconsistent: self.allow_inconsistent,
            ..Default::default()
        };
        // A refresh brings the files up to date; the configuration is then replaced as by an edit.
        let refreshed = (self.refresh && !copy.name.is_empty()).then(|| InstancePut {
            architecture: architecture.clone(),
            config: config.clone(),
            devices: all.clone(),
            ephemeral: self.ephemeral || ephemeral,
            profiles: profiles.clone(),
            ..Default::default()
        });
        let name = copy.name.clone();
        let request = InstancesPost {
            architecture,
            config,
            devices: all,
            ephemeral: self.ephemeral || ephemeral,
            profiles: Some(profiles),
            name: copy.name,
            source,
            kind: "container".into(),
            ..Default::default()
        };
        let elsewhere = self.target_project.as_ref().map(|project| client.with_project(project));
        let client = elsewhere.as_ref().unwrap_or(client);
        app.finish(client.create_instance(&request).await?, "Transferring instance").await?;
        match refreshed {
            Some(put) => configure(app, client, &name, put).await,
            None => Ok(()),
        }
    }
}

/// Gives a copy that was brought up to date the configuration too. Its root stays in the pool that it is in.
async fn configure(app: &App, client: &Client, name: &str, mut put: InstancePut) -> Result<(), CliError> {
    let read = client.instance(name).await?;
    put.config.retain(|key, _| !key.starts_with("volatile."));
    put.description.clone_from(&read.value.description);
    let is_root = |keys: &Config| keys.get("type").is_some_and(|kind| kind == "disk") && keys.get("path").is_some_and(|path| path == "/");
    for (device, keys) in read.value.devices.iter().filter(|(_, keys)| is_root(keys)) {
        put.devices.insert(device.clone(), keys.clone());
    }
    app.finish(client.update_instance(name, &put, &read.etag).await?, "").await.map(drop)
}

fn source_project(app: &App) -> String {
    if app.globals.project.is_empty() { "default".to_owned() } else { app.globals.project.clone() }
}

fn change_devices(all: &mut Devices, changes: Devices, pool: Option<&str>) {
    for (name, keys) in changes {
        all.entry(name).or_default().extend(keys);
    }
    if let Some(pool) = pool {
        let root: &mut Config = all.entry("root".to_owned()).or_default();
        root.entry("type".to_owned()).or_insert_with(|| "disk".to_owned());
        root.entry("path".to_owned()).or_insert_with(|| "/".to_owned());
        root.insert("pool".to_owned(), pool.to_owned());
    }
}
