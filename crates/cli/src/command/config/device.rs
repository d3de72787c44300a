//! `config device`: devices of instances.

use clap::Subcommand;

use crate::app::App;
use crate::command::devices;
use crate::error::CliError;
use crate::key_value::pairs;
use crate::object::{Instance, Object};
use crate::target::Target;

/// Devices of instances
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Add a device
    #[command(alias = "create", after_help = "Example:\n  coffer config device add web data disk source=/srv/data path=/data")]
    Add {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Name of the device
        device: String,
        /// Type: disk, nic, proxy, unix-char ...
        #[arg(value_name = "TYPE")]
        kind: String,
        /// Its keys
        #[arg(value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Print one key of a device
    Get {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Name of the device
        device: String,
        /// Key
        key: String,
    },
    /// List the names of an instance's own devices
    #[command(visible_alias = "ls")]
    List {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
    },
    /// Copy a device of a profile to the instance and change it there
    Override {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Name of the device
        device: String,
        /// Keys to change
        #[arg(value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Remove devices
    #[command(visible_alias = "rm", alias = "delete")]
    Remove {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Names of the devices
        #[arg(value_name = "DEVICE", required = true)]
        devices: Vec<String>,
    },
    /// Set keys of a device
    Set {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Name of the device
        device: String,
        /// Keys; the older form is one key and one value
        #[arg(value_name = "KEY=VALUE", required = true)]
        pairs: Vec<String>,
    },
    /// Show an instance's own devices
    Show {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
    },
    /// Unset a key of a device
    Unset {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Name of the device
        device: String,
        /// Key
        key: String,
    },
}

impl Device {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Device::Add { instance, device, kind, pairs } => {
                let (client, object) = (app.client(&instance)?, Instance(instance.name));
                devices::add(app, client, &object, &device, &kind, &pairs).await
            }
            Device::Get { instance, device, key } => {
                devices::get(app, app.client(&instance)?, &Instance(instance.name), &device, &key).await
            }
            Device::List { instance } => devices::list(app, app.client(&instance)?, &Instance(instance.name)).await,
            Device::Override { instance, device, pairs } => overridden(app, instance, &device, &pairs).await,
            Device::Remove { instance, devices } => devices::remove(app, app.client(&instance)?, &Instance(instance.name), &devices).await,
            Device::Set { instance, device, pairs } => {
                devices::set(app, app.client(&instance)?, &Instance(instance.name), &device, &pairs).await
            }
            Device::Show { instance } => devices::show(app, app.client(&instance)?, &Instance(instance.name)).await,
            Device::Unset { instance, device, key } => {
                devices::unset(app, app.client(&instance)?, &Instance(instance.name), &device, &key).await
            }
        }
    }
}

/// Copies a device of a profile to the instance and changes it there.
async fn overridden(app: &App, target: Target, name: &str, arguments: &[String]) -> Result<(), CliError> {
    let client = app.client(&target)?;
    let read = client.instance(&target.name).await?;
    if read.value.devices.contains_key(name) {
        return Err(CliError::AlreadyThere { object: target.name, what: "device", name: name.to_owned() });
    }
    let inherited = read.value.expanded_devices.get(name).cloned();
    let mut device = inherited.ok_or_else(|| CliError::NoSuch {
        object: format!("what {} has of its profiles", target.name),
        what: "device",
        name: name.to_owned(),
    })?;
    device.extend(pairs(arguments)?);
    let mut put = read.value.writable();
    put.devices.insert(name.to_owned(), device);
    Instance(target.name.clone()).write(app, client, &put, &read.etag).await?;
    app.note(&format!("Device {name} overridden for {}", target.name))
}
