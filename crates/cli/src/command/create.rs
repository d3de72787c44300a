//! `launch` and `init`: making instances.

use std::collections::BTreeMap;

use clap::Args;
use coffer_api::{InstancePut, InstanceSource, InstanceStatePut, InstancesPost, Operation};
use coffer_client::Client;

use super::console;
use super::wait::Waiting;
use crate::app::App;
use crate::editor::read_yaml;
use crate::error::CliError;
use crate::key_value::{devices, pair};
use crate::object::Devices;
use crate::render::clean_lines;
use crate::target::Target;

/// Make an instance from an image and start it
///
/// Configuration as YAML may be given on standard input. On a fresh server this also makes a default storage pool and
/// network, and says which.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  coffer launch images:debian/12 web\n  coffer launch deb web -c limits.memory=1GiB -d root,size=10GiB < config.yaml\n  coffer launch deb web --wait network --wait port:80"
)]
pub(crate) struct Launch {
    #[command(flatten)]
    make: Make,
    /// Attach to the console at once
    #[arg(long, value_name = "TYPE", num_args = 0..=1, require_equals = true, default_missing_value = "console")]
    console: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Make an instance from an image without starting it
///
/// Configuration as YAML may be given on standard input.
#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    make: Make,
}

#[derive(Debug, Args)]
struct Make {
    /// Image, by alias or fingerprint; with --empty the instance's name
    #[arg(value_name = "[REMOTE:]IMAGE")]
    image: Option<String>,
    /// Name of the instance; the server chooses one if it is missing
    #[arg(value_name = "[REMOTE:]NAME")]
    name: Option<String>,
    /// Configuration key of the instance, key=value
    #[arg(short, long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Device of the instance, or a change to one of a profile: device,key=value
    #[arg(short, long, value_name = "DEVICE,KEY=VALUE")]
    device: Vec<String>,
    /// Profile to apply; may be given several times
    #[arg(short, long, conflicts_with = "no_profiles")]
    profile: Vec<String>,
    /// Apply no profiles at all
    #[arg(long)]
    no_profiles: bool,
    /// Delete the instance when it stops
    #[arg(short, long)]
    ephemeral: bool,
    /// Network for eth0
    #[arg(short, long)]
    network: Option<String>,
    /// Storage pool for the root disk
    #[arg(short, long)]
    storage: Option<String>,
    /// Limits in short: c2-m4 is two CPUs and 4 GiB of memory
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    size: String,
    /// Make an empty instance
    #[arg(long)]
    empty: bool,
    /// Make a virtual machine
    #[arg(long)]
    vm: bool,
    /// Cluster member to use
    #[arg(long, value_name = "MEMBER")]
    target: Option<String>,
}

impl Init {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        let plan = self.make.plan(app).await?;
        let name = plan.create(app, false).await?;
        if plan.request.name.is_empty() {
            app.note(&format!("Instance name is: {name}"))?;
        }
        Ok(())
    }
}

impl Launch {
    pub(crate) async fn run(self, app: &App) -> Result<i32, CliError> {
        let plan = self.make.plan(app).await?;
        // Servers that know how start an instance in the same breath as they make it.
        let at_once = plan.client.server().await?.value.has_extension("instance_create_start");
        let name = plan.create(app, at_once).await?;
        if plan.request.name.is_empty() {
            app.note(&format!("Instance name is: {name}"))?;
        }
        if !at_once {
            app.note(&format!("Starting {name}"))?;
            let start = InstanceStatePut { action: "start".into(), timeout: -1, ..Default::default() };
            let pending = plan.client.change_state(&name, &start).await?;
            app.finish(pending, "").await.map_err(|error| super::state::with_log_hint(app, error, &name))?;
        }
        let code = self.waiting.wait(app, plan.client, &name).await?;
        match self.console.as_deref() {
            Some(kind) => console::attach(plan.client, &name, kind).await.map(|()| code),
            None => Ok(code),
        }
    }
}

/// A request that is ready to be sent.
struct Plan<'a> {
    client: &'a Client,
    request: InstancesPost,
}

impl Make {
    async fn plan<'a>(&self, app: &'a App) -> Result<Plan<'a>, CliError> {
        if self.target.is_some() {
            return Err(CliError::Unsupported { what: "choosing a cluster member" });
        }
        let (image, instance) = self.targets()?;
        let client = app.client(&instance)?;
        let given: InstancePut = match app.piped_input()?.filter(|text| !text.trim().is_empty()) {
            Some(text) => read_yaml(&text)?,
            None => InstancePut::default(),
        };
        let mut config = given.config;
        for argument in &self.config {
            let (key, value) = pair(argument)?;
            config.insert(key, value);
        }
        let profiles = if self.no_profiles { Some(Vec::new()) } else { (!self.profile.is_empty()).then(|| self.profile.clone()) };
        let profiles = profiles.or_else(|| (!given.profiles.is_empty()).then_some(given.profiles));
        let devices = self.devices(client, given.devices, profiles.as_deref()).await?;
        let source = match image {
            Some(image) => source(app, client, &instance, &image).await?,
            None => InstanceSource { kind: "none".into(), ..Default::default() },
        };
        let request = InstancesPost {
            config,
            devices,
            ephemeral: self.ephemeral || given.ephemeral,
            profiles,
            description: given.description,
            name: instance.name,
            source,
            instance_type: self.size.clone(),
            kind: if self.vm { "virtual-machine" } else { "container" }.into(),
            ..Default::default()
        };
        Ok(Plan { client, request })
    }

    /// Sorts out which argument is the image and which the instance.
    fn targets(&self) -> Result<(Option<Target>, Target), CliError> {
        let parse = |text: &Option<String>| {
            text.as_deref().map(|text| match text.parse::<Target>() {
                Ok(target) => target,
            })
        };
        match (parse(&self.image), parse(&self.name), self.empty) {
            (Some(_), Some(_), true) => Err(CliError::Exclusive { one: "--empty", other: "an image" }),
            (instance, None, true) => Ok((None, instance.unwrap_or_default())),
            (Some(image), instance, false) => Ok((Some(image), instance.unwrap_or_default())),
            (None, _, _) => Err(CliError::Missing { what: "the image" }),
        }
    }

    async fn devices(&self, client: &Client, mut all: Devices, profiles: Option<&[String]>) -> Result<Devices, CliError> {
        let device = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if let Some(network) = &self.network {
            let read = client.network(network).await?.value;
            all.insert("eth0".to_owned(), super::network_attach::nic(&read, Some("eth0")));
        }
        if let Some(pool) = &self.storage {
            all.insert("root".to_owned(), device(&[("type", "disk"), ("path", "/"), ("pool", pool)]));
        }
        for (name, changes) in devices(&self.device)? {
            if !all.contains_key(&name) && !changes.contains_key("type") {
                let inherited = inherited_device(client, profiles, &name).await?;
                all.insert(name.clone(), inherited);
            }
            all.entry(name).or_default().extend(changes);
        }
        Ok(all)
    }
}

/// The image that an instance is made of, here or on another server.
pub(super) async fn source(app: &App, client: &Client, instance: &Target, image: &Target) -> Result<InstanceSource, CliError> {
    let name = image.required("the image")?;
    let source = InstanceSource { kind: "image".into(), ..Default::default() };
    if app.remotes().same(&image.remote, &instance.remote)? {
        let fingerprint = super::image::resolve(client, name).await?;
        return Ok(InstanceSource { fingerprint, ..source });
    }
    let from = super::image::transfer::source(app, image).await?;
    let coffer_api::ImagesPostSource { alias, certificate, protocol, server, mode, fingerprint, secret, .. } = from;
    Ok(InstanceSource { alias, certificate, protocol, server, mode, fingerprint, secret, ..source })
}

/// Finds a device in the profiles that will apply; the last one wins.
async fn inherited_device(client: &Client, profiles: Option<&[String]>, name: &str) -> Result<BTreeMap<String, String>, CliError> {
    let default = ["default".to_owned()];
    for profile in profiles.unwrap_or(&default).iter().rev() {
        if let Some(device) = client.profile(profile).await?.value.devices.remove(name) {
            return Ok(device);
        }
    }
    Err(CliError::NoSuch { object: "the profiles of the instance".into(), what: "device", name: name.to_owned() })
}

impl Plan<'_> {
    /// Makes the instance and returns its name.
    async fn create(&self, app: &App, start: bool) -> Result<String, CliError> {
        let word = if start { "Launching" } else { "Creating" };
        let name = &self.request.name;
        app.note(&if name.is_empty() { format!("{word} the instance") } else { format!("{word} {name}") })?;
        let pending = self.client.create_instance(&InstancesPost { start, ..self.request.clone() }).await?;
        let done = match app.finish(pending, "Retrieving image").await {
            Ok(done) => done,
            // One that was made and did not start is there, and its log with it.
            Err(error) if start && !name.is_empty() && self.client.instance(name).await.is_ok() => {
                return Err(super::state::with_log_hint(app, error, name));
            }
            Err(error) => return Err(error),
        };
        tell_default_setup(app, &done)?;
        Ok(if name.is_empty() { created_name(&done) } else { name.clone() })
    }
}

/// Says what a fresh server chose for its first storage pool and network.
fn tell_default_setup(app: &App, operation: &Operation) -> Result<(), CliError> {
    let lines: Vec<String> = match operation.metadata_value("default_setup") {
        Some(serde_json::Value::String(text)) => text.lines().map(str::to_owned).collect(),
        Some(serde_json::Value::Array(lines)) => lines.iter().filter_map(|line| line.as_str()).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    lines.iter().try_for_each(|line| app.note(&clean_lines(line)))
}

/// Finds the name the server chose: the end of the first instance's URL.
fn created_name(operation: &Operation) -> String {
    let instances = operation.resources.as_ref().and_then(|resources| resources.get("instances"));
    let url = instances.and_then(|urls| urls.first()).map(String::as_str).unwrap_or_default();
    let path = url.split('?').next().unwrap_or_default();
    clean_lines(path.rsplit('/').next().unwrap_or_default()).into_owned()
}
