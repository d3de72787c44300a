//! `config`: configuration of instances and of the server.

mod device;
mod metadata;
mod template;
mod trust;

use clap::Subcommand;
use coffer_api::{InstancePut, InstanceSnapshotPut};
use coffer_client::Client;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::pairs_or_two;
use crate::object::{self, Instance, Server};
use crate::render::{clean_lines, yaml};
use crate::target::Target;

/// Configuration of instances and of the server
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print one key of an instance, or of the server
    Get {
        /// [REMOTE:]INSTANCE and key, or a server key alone
        #[arg(value_name = "[INSTANCE] KEY", num_args = 1..=2, required = true)]
        arguments: Vec<String>,
        /// Look into the profiles too
        #[arg(short, long)]
        expanded: bool,
    },
    /// Set keys of an instance, or of the server
    Set {
        /// [REMOTE:]INSTANCE and key=value ..., or key=value ... of the server; the older form is one key and one value
        #[arg(value_name = "[INSTANCE] KEY=VALUE", required = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Unset a key of an instance, or of the server
    Unset {
        /// [REMOTE:]INSTANCE and key, or a server key alone
        #[arg(value_name = "[INSTANCE] KEY", num_args = 1..=2, required = true)]
        arguments: Vec<String>,
    },
    /// Show the configuration of an instance, a snapshot or the server
    Show {
        /// Instance, or instance/snapshot
        #[arg(value_name = "[REMOTE:][INSTANCE[/SNAPSHOT]]")]
        instance: Option<Target>,
        /// With the profiles applied
        #[arg(short, long)]
        expanded: bool,
    },
    /// Edit the configuration of an instance, a snapshot or the server; YAML on standard input is taken as it is
    Edit {
        /// Instance, or instance/snapshot
        #[arg(value_name = "[REMOTE:][INSTANCE[/SNAPSHOT]]")]
        instance: Option<Target>,
    },
    #[command(subcommand)]
    Device(device::Device),
    #[command(subcommand)]
    Metadata(metadata::Metadata),
    #[command(subcommand)]
    Template(template::Template),
    #[command(subcommand)]
    Trust(trust::Trust),
}

impl Config {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Config::Get { arguments, expanded } => get(app, &arguments, expanded).await,
            Config::Set { arguments } => set(app, &arguments).await,
            Config::Unset { arguments } => match arguments.as_slice() {
                [key] => object::unset(app, app.client(&Target::default())?, &Server, key).await,
                [instance, key, ..] => {
                    let Ok(target) = instance.parse::<Target>();
                    let client = app.client(&target)?;
                    if target.name.is_empty() {
                        return object::unset(app, client, &Server, key).await;
                    }
                    object::unset(app, client, &Instance(target.name), key).await
                }
                [] => Err(CliError::Missing { what: "the key" }),
            },
            Config::Show { instance, expanded } => show(app, instance.unwrap_or_default(), expanded).await,
            Config::Edit { instance } => edit(app, instance.unwrap_or_default()).await,
            Config::Device(command) => command.run(app).await,
            Config::Metadata(command) => command.run(app).await,
            Config::Template(command) => command.run(app).await,
            Config::Trust(command) => command.run(app).await,
        }
    }
}

async fn get(app: &App, arguments: &[String], expanded: bool) -> Result<(), CliError> {
    let [instance, key] = arguments else {
        let key = arguments.first().map_or("", String::as_str);
        return object::get(app, app.client(&Target::default())?, &Server, key).await;
    };
    let Ok(target) = instance.parse::<Target>();
    let client = app.client(&target)?;
    if target.name.is_empty() {
        return object::get(app, client, &Server, key).await;
    }
    if !expanded {
        return object::get(app, client, &Instance(target.name), key).await;
    }
    let instance = client.instance(&target.name).await?.value;
    app.print(&format!("{}\n", clean_lines(instance.expanded_config.get(key).map_or("", String::as_str))))
}

/// Sets keys of what the arguments name: the first is an instance unless it is a pair itself, or a key of the server in the older form.
async fn set(app: &App, arguments: &[String]) -> Result<(), CliError> {
    let of_server = match arguments {
        [first, ..] if first.contains('=') => true,
        [_, second] => !second.contains('='),
        _ => false,
    };
    if of_server {
        return object::set(app, app.client(&Target::default())?, &Server, pairs_or_two(arguments)?).await;
    }
    let [instance, rest @ ..] = arguments else { return Err(CliError::Missing { what: "the key" }) };
    if rest.is_empty() {
        return Err(CliError::Missing { what: "the key and value" });
    }
    let Ok(target) = instance.parse::<Target>();
    let client = app.client(&target)?;
    let pairs = pairs_or_two(rest)?;
    if target.name.is_empty() {
        return object::set(app, client, &Server, pairs).await;
    }
    object::set(app, client, &Instance(target.name), pairs).await
}

async fn show(app: &App, target: Target, expanded: bool) -> Result<(), CliError> {
    let client = app.client(&target)?;
    match target.split() {
        ("", _) => object::show(app, client, &Server).await,
        (instance, Some(snapshot)) => {
            let mut read = client.snapshot(instance, snapshot).await?.value;
            if expanded {
                (read.config, read.devices) = (read.expanded_config.clone(), read.expanded_devices.clone());
            }
            app.print(&yaml(&read))
        }
        (instance, None) => {
            let read = client.instance(instance).await?.value;
            let mut shown: InstancePut = read.writable();
            if expanded {
                (shown.config, shown.devices) = (read.expanded_config, read.expanded_devices);
            }
            app.print(&yaml(&shown))
        }
    }
}

async fn edit(app: &App, target: Target) -> Result<(), CliError> {
    let client = app.client(&target)?;
    match target.split() {
        ("", _) => object::edit(app, client, &Server).await,
        (instance, Some(snapshot)) => edit_snapshot(app, client, instance, snapshot).await,
        (instance, None) => object::edit(app, client, &Instance(instance.to_owned())).await,
    }
}

async fn edit_snapshot(app: &App, client: &Client, instance: &str, snapshot: &str) -> Result<(), CliError> {
    let read = client.snapshot(instance, snapshot).await?;
    let help = "A snapshot, as YAML.\n\nOnly the time of its expiry can be changed.";
    crate::editor::edit(app, &read.value, help, async |put: InstanceSnapshotPut| {
        let pending = client.update_snapshot(instance, snapshot, &put, &read.etag).await?;
        app.finish(pending, "").await.map(drop)
    })
    .await
}
