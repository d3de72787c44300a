//! `profile`: profiles and their use by instances.

use clap::Subcommand;
use coffer_api::ProfilesPost;

use super::devices;
use crate::app::App;
use crate::editor::read_yaml;
use crate::error::CliError;
use crate::key_value::pairs_or_two;
use crate::object::{self, Instance, Object};
use crate::render::{Format, Table, render_list};
use crate::target::Target;

/// Profiles: configuration and devices that instances share
#[derive(Debug, Subcommand)]
pub(crate) enum Profile {
    /// Append a profile to an instance's
    Add {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Profile
        profile: String,
    },
    /// Set the profiles of an instance
    #[command(visible_alias = "apply")]
    Assign {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Profiles, separated by commas; '' for none
        profiles: String,
    },
    /// Copy a profile
    #[command(visible_alias = "cp")]
    Copy {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Name of the copy
        #[arg(value_name = "[REMOTE:]COPY")]
        copy: Target,
        /// Project of the copy
        #[arg(long, value_name = "PROJECT")]
        target_project: Option<String>,
    },
    /// Make a profile; YAML on standard input is taken as its content
    Create {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
    },
    /// Delete a profile
    #[command(visible_alias = "rm", alias = "remove-profile")]
    Delete {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
    },
    #[command(subcommand)]
    Device(Device),
    /// Edit a profile; YAML on standard input is taken as it is
    Edit {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
    },
    /// Print one key of a profile
    Get {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Key
        key: String,
    },
    /// List profiles
    #[command(visible_alias = "ls")]
    List {
        /// Remote
        #[arg(value_name = "REMOTE:")]
        remote: Option<Target>,
        /// Format
        #[arg(short, long, value_enum, default_value_t)]
        format: Format,
    },
    /// Take a profile off an instance
    Remove {
        /// Instance
        #[arg(value_name = "[REMOTE:]INSTANCE")]
        instance: Target,
        /// Profile
        profile: String,
    },
    /// Rename a profile
    #[command(visible_alias = "mv")]
    Rename {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// New name
        new_name: String,
    },
    /// Set keys of a profile
    Set {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Keys; the older form is one key and one value
        #[arg(value_name = "KEY=VALUE", required = true, allow_hyphen_values = true)]
        pairs: Vec<String>,
    },
    /// Show a profile
    Show {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
    },
    /// Unset a key of a profile
    Unset {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Key
        key: String,
    },
}

/// Devices of profiles
#[derive(Debug, Subcommand)]
pub(crate) enum Device {
    /// Add a device
    #[command(alias = "create")]
    Add {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
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
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Name of the device
        device: String,
        /// Key
        key: String,
    },
    /// List the names of a profile's devices
    #[command(visible_alias = "ls")]
    List {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
    },
    /// Remove devices
    #[command(visible_alias = "rm", alias = "delete")]
    Remove {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Names of the devices
        #[arg(value_name = "DEVICE", required = true)]
        devices: Vec<String>,
    },
    /// Set keys of a device
    Set {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Name of the device
        device: String,
        /// Keys; the older form is one key and one value
        #[arg(value_name = "KEY=VALUE", required = true)]
        pairs: Vec<String>,
    },
    /// Show a profile's devices
    Show {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
    },
    /// Unset a key of a device
    Unset {
        /// Profile
        #[arg(value_name = "[REMOTE:]PROFILE")]
        profile: Target,
        /// Name of the device
        device: String,
        /// Key
        key: String,
    },
}

impl Profile {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Profile::Add { instance, profile } => {
                let done = format!("Profile {profile} added to {}", instance.name);
                assign(app, instance, |mut profiles| {
                    profiles.push(profile);
                    Ok(profiles)
                })
                .await?;
                app.note(&done)
            }
            Profile::Assign { instance, profiles } => {
                let new: Vec<String> = profiles.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
                let shown = if new.is_empty() { "(none)".to_owned() } else { new.join(",") };
                let done = format!("Profiles {shown} applied to {}", instance.name);
                assign(app, instance, |_| Ok(new)).await?;
                app.note(&done)
            }
            Profile::Remove { instance, profile } => {
                let done = format!("Profile {profile} removed from {}", instance.name);
                let missing = CliError::NoSuch { object: instance.name.clone(), what: "profile", name: profile.clone() };
                assign(app, instance, |mut profiles| match profiles.iter().rposition(|name| *name == profile) {
                    Some(at) => {
                        profiles.remove(at);
                        Ok(profiles)
                    }
                    None => Err(missing),
                })
                .await?;
                app.note(&done)
            }
            Profile::Copy { profile, copy, target_project } => {
                let read = app.client(&profile)?.profile(&profile.name).await?.value;
                let name = if copy.name.is_empty() { profile.name } else { copy.name.clone() };
                let new = ProfilesPost { config: read.config, description: read.description, devices: read.devices, name };
                let client = app.client(&copy)?;
                match target_project {
                    Some(project) => Ok(client.with_project(&project).create_profile(&new).await?),
                    None => Ok(client.create_profile(&new).await?),
                }
            }
            Profile::Create { profile } => create(app, profile).await,
            Profile::Delete { profile } => {
                app.client(&profile)?.delete_profile(profile.required("the profile's name")?).await?;
                app.note(&format!("Profile {} deleted", profile.name))
            }
            Profile::Rename { profile, new_name } => {
                app.client(&profile)?.rename_profile(profile.required("the profile's name")?, &new_name).await?;
                app.note(&format!("Profile {} renamed to {new_name}", profile.name))
            }
            Profile::List { remote, format } => list(app, &remote.unwrap_or_default(), format).await,
            Profile::Device(command) => command.run(app).await,
            Profile::Edit { profile } => object::edit(app, app.client(&profile)?, &named(profile)?).await,
            Profile::Get { profile, key } => object::get(app, app.client(&profile)?, &named(profile)?, &key).await,
            Profile::Set { profile, pairs } => object::set(app, app.client(&profile)?, &named(profile)?, pairs_or_two(&pairs)?).await,
            Profile::Show { profile } => object::show(app, app.client(&profile)?, &named(profile)?).await,
            Profile::Unset { profile, key } => object::unset(app, app.client(&profile)?, &named(profile)?, &key).await,
        }
    }
}

impl Device {
    async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Device::Add { profile, device, kind, pairs } => {
                devices::add(app, app.client(&profile)?, &named(profile)?, &device, &kind, &pairs).await
            }
            Device::Get { profile, device, key } => devices::get(app, app.client(&profile)?, &named(profile)?, &device, &key).await,
            Device::List { profile } => devices::list(app, app.client(&profile)?, &named(profile)?).await,
            Device::Remove { profile, devices } => devices::remove(app, app.client(&profile)?, &named(profile)?, &devices).await,
            Device::Set { profile, device, pairs } => devices::set(app, app.client(&profile)?, &named(profile)?, &device, &pairs).await,
            Device::Show { profile } => devices::show(app, app.client(&profile)?, &named(profile)?).await,
            Device::Unset { profile, device, key } => devices::unset(app, app.client(&profile)?, &named(profile)?, &device, &key).await,
        }
    }
}

fn named(target: Target) -> Result<object::Profile, CliError> {
    target.required("the profile's name")?;
    Ok(object::Profile(target.name))
}

/// Changes the list of an instance's profiles.
async fn assign(app: &App, target: Target, change: impl FnOnce(Vec<String>) -> Result<Vec<String>, CliError>) -> Result<(), CliError> {
    let client = app.client(&target)?;
    let instance = Instance(target.required("the instance's name")?.to_owned());
    let (_, mut put, etag) = instance.read(client).await?;
    put.profiles = change(put.profiles)?;
    instance.write(app, client, &put, &etag).await
}

async fn create(app: &App, target: Target) -> Result<(), CliError> {
    let client = app.client(&target)?;
    let name = target.required("the profile's name")?.to_owned();
    let given = match app.piped_input()?.filter(|text| !text.trim().is_empty()) {
        Some(text) => read_yaml::<ProfilesPost>(&text)?,
        None => ProfilesPost::default(),
    };
    client.create_profile(&ProfilesPost { name, ..given }).await?;
    app.note(&format!("Profile {} created", target.name))
}

async fn list(app: &App, target: &Target, format: Format) -> Result<(), CliError> {
    let mut profiles = app.client(target)?.profiles().await?;
    profiles.sort_by(|a, b| a.name.cmp(&b.name));
    app.print(&render_list(format, &profiles, app.colour(), || {
        let mut table = Table::new(["NAME", "DESCRIPTION", "USED BY"]);
        for profile in &profiles {
            table.row([&profile.name, &profile.description, &profile.used_by.len().to_string()]);
        }
        table.sorted()
    }))
}
