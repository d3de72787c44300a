//! `storage volume`: volumes of storage pools.

use std::fmt::Write;

use clap::Subcommand;
use coffer_api::{StorageVolumePost, StorageVolumesPost};

use super::storage_volume_backup::{Export, Import};
use super::storage_volume_copy::{Copy, Move};
use super::storage_volume_snapshot::{Restore, Snapshot};
use crate::app::App;
use crate::error::CliError;
use crate::key_value::{pairs, pairs_or_two};
use crate::object::{self, DeviceObject, Instance, Profile};
use crate::render::{Table, binary_size, clean, minute, yaml};
use crate::target::Target;

/// Storage volumes
///
/// A volume is named alone if it is a custom one, else with its type in front, as in container/web.
#[derive(Debug, Subcommand)]
pub(crate) enum Volume {
    /// Attach a volume to an instance
    Attach {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Instance
        instance: String,
        /// Name of the device and path inside, or the path alone
        #[arg(value_name = "[DEVICE] PATH", num_args = 0..=2)]
        place: Vec<String>,
    },
    /// Attach a volume to a profile
    AttachProfile {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Profile
        profile: String,
        /// Name of the device and path inside, or the path alone
        #[arg(value_name = "[DEVICE] PATH", num_args = 0..=2)]
        place: Vec<String>,
    },
    #[command(visible_alias = "cp")]
    Copy(Copy),
    /// Make a custom volume
    #[command(alias = "add")]
    Create {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Its keys
        #[arg(value_name = "KEY=VALUE")]
        pairs: Vec<String>,
        /// Content: filesystem or block
        #[arg(long = "type", value_name = "TYPE", default_value = "filesystem")]
        content: String,
    },
    /// Delete a volume
    #[command(visible_alias = "rm", alias = "remove")]
    Delete {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume, or volume/snapshot
        volume: String,
    },
    /// Detach a volume from an instance
    Detach {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Instance
        instance: String,
        /// Name of the device, if several use the volume
        device: Option<String>,
    },
    /// Detach a volume from a profile
    DetachProfile {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Profile
        profile: String,
        /// Name of the device, if several use the volume
        device: Option<String>,
    },
    /// Edit a volume; YAML on standard input is taken as it is
    Edit {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
    },
    Export(Export),
    /// Print one key of a volume
    Get {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Key
        key: String,
    },
    Import(Import),
    /// Show the use of a volume
    Info {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
    },
    #[command(visible_alias = "ls")]
    List(super::storage_volume_list::List),
    #[command(visible_alias = "mv")]
    Move(Move),
    /// Rename a volume, or a snapshot named as in volume/snapshot
    Rename {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// New name
        new_name: String,
    },
    Restore(Restore),
    /// Set keys of a volume
    Set {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Keys; the older form is one key and one value
        #[arg(value_name = "KEY=VALUE", required = true)]
        pairs: Vec<String>,
    },
    Snapshot(Snapshot),
    /// Show a volume, or a snapshot named as in volume/snapshot
    Show {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
    },
    /// Unset a key of a volume
    Unset {
        /// Pool
        #[arg(value_name = "[REMOTE:]POOL")]
        pool: Target,
        /// Volume
        volume: String,
        /// Key
        key: String,
    },
}

impl Volume {
    pub(crate) async fn run(self, app: &App) -> Result<(), CliError> {
        match self {
            Volume::Attach { pool, volume, instance, place } => attach(app, &pool, &volume, &Instance(instance), &place).await,
            Volume::AttachProfile { pool, volume, profile, place } => attach(app, &pool, &volume, &Profile(profile), &place).await,
            Volume::Detach { pool, volume, instance, device } => detach(app, &pool, &volume, &Instance(instance), device).await,
            Volume::DetachProfile { pool, volume, profile, device } => detach(app, &pool, &volume, &Profile(profile), device).await,
            Volume::Create { pool, volume, pairs: arguments, content } => {
                let request = StorageVolumesPost {
                    config: pairs(&arguments)?,
                    name: volume.clone(),
                    kind: "custom".into(),
                    content_type: content,
                    ..Default::default()
                };
                app.finish(app.client(&pool)?.create_storage_volume(&pool.name, &request).await?, "").await?;
                app.note(&format!("Storage volume {volume} created"))
            }
            Volume::Delete { pool, volume } => {
                let client = app.client(&pool)?;
                let found = named(&pool, &volume)?;
                let pending = match found.name.split_once('/') {
                    Some((name, snapshot)) => client.delete_storage_volume_snapshot(&pool.name, name, snapshot).await?,
                    None => client.delete_storage_volume(&pool.name, &found.kind, &found.name).await?,
                };
                app.finish(pending, "").await?;
                app.note(&format!("Storage volume {volume} deleted"))
            }
            Volume::Rename { pool, volume, new_name } => {
                let found = named(&pool, &volume)?;
                if let Some((name, snapshot)) = found.name.split_once('/') {
                    // As with lxc the new name may be written with or without the volume.
                    let new = new_name.rsplit('/').next().unwrap_or_default();
                    let pending = app.client(&pool)?.rename_storage_volume_snapshot(&pool.name, name, snapshot, new).await?;
                    app.finish(pending, "").await?;
                    return app.note(&format!("Renamed storage volume snapshot from \"{snapshot}\" to \"{new}\""));
                }
                let request = StorageVolumePost { name: new_name.clone(), ..Default::default() };
                let pending = app.client(&pool)?.move_storage_volume(&pool.name, &found.kind, &found.name, &request).await?;
                app.finish(pending, "").await?;
                app.note(&format!("Renamed storage volume from \"{volume}\" to \"{new_name}\""))
            }
            Volume::Info { pool, volume } => info(app, &pool, &volume).await,
            Volume::List(list) => list.run(app).await,
            Volume::Edit { pool, volume } => object::edit(app, app.client(&pool)?, &named(&pool, &volume)?).await,
            Volume::Get { pool, volume, key } => object::get(app, app.client(&pool)?, &named(&pool, &volume)?, &key).await,
            Volume::Set { pool, volume, pairs } => {
                object::set(app, app.client(&pool)?, &named(&pool, &volume)?, pairs_or_two(&pairs)?).await
            }
            Volume::Show { pool, volume } => {
                let found = named(&pool, &volume)?;
                match found.name.split_once('/') {
                    Some((name, snapshot)) if found.kind == "custom" => {
                        let read = app.client(&pool)?.storage_volume_snapshot(&pool.name, name, snapshot).await?.value;
                        app.print(&yaml(&read))
                    }
                    _ => object::show(app, app.client(&pool)?, &found).await,
                }
            }
            Volume::Export(command) => command.run(app).await,
            Volume::Import(command) => command.run(app).await,
            Volume::Copy(command) => command.run(app).await,
            Volume::Move(command) => command.run(app).await,
            Volume::Snapshot(command) => command.run(app).await,
            Volume::Restore(command) => command.run(app).await,
            Volume::Unset { pool, volume, key } => object::unset(app, app.client(&pool)?, &named(&pool, &volume)?, &key).await,
        }
    }
}

/// Reads `[type/]volume[/snapshot]`.
fn named(pool: &Target, volume: &str) -> Result<object::Volume, CliError> {
    let pool = pool.required("the pool's name")?.to_owned();
    let (kind, name) = match volume.split_once('/') {
        Some((kind @ ("container" | "virtual-machine" | "image" | "custom"), name)) => (kind, name),
        _ => ("custom", volume),
    };
    Ok(object::Volume { pool, kind: kind.to_owned(), name: name.to_owned() })
}

async fn attach<O: DeviceObject>(app: &App, pool: &Target, volume: &str, object: &O, place: &[String]) -> Result<(), CliError> {
    let (device, path) = match place {
        [] => (volume.to_owned(), None),
        [path] if path.starts_with('/') => (volume.to_owned(), Some(path.clone())),
        [device] => (device.clone(), None),
        [device, path, ..] => (device.clone(), Some(path.clone())),
    };
    let client = app.client(pool)?;
    let (_, mut put, etag) = object.read(client).await?;
    let devices = O::devices(&mut put);
    if devices.contains_key(&device) {
        return Err(CliError::AlreadyThere { object: object.title().to_owned(), what: "device", name: device });
    }
    let mut pairs = vec![("type", "disk"), ("pool", &pool.name), ("source", volume)];
    pairs.extend(path.as_deref().map(|path| ("path", path)));
    devices.insert(device, pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
    object.write(app, client, &put, &etag).await
}

async fn detach<O: DeviceObject>(app: &App, pool: &Target, volume: &str, object: &O, device: Option<String>) -> Result<(), CliError> {
    let client = app.client(pool)?;
    let (_, mut put, etag) = object.read(client).await?;
    let devices = O::devices(&mut put);
    let fitting: Vec<String> = devices
        .iter()
        .filter(|(name, found)| {
            let is = |key: &str, value: &str| found.get(key).is_some_and(|text| text == value);
            is("type", "disk") && is("pool", &pool.name) && is("source", volume) && device.as_ref().is_none_or(|device| device == *name)
        })
        .map(|(name, _)| name.clone())
        .collect();
    match fitting.as_slice() {
        [] => return Err(CliError::NoSuch { object: object.title().to_owned(), what: "device with volume", name: volume.to_owned() }),
        [one] => devices.remove(one),
        _ => return Err(CliError::Ambiguous { object: object.title().to_owned() }),
    };
    object.write(app, client, &put, &etag).await
}

async fn info(app: &App, pool: &Target, volume: &str) -> Result<(), CliError> {
    let client = app.client(pool)?;
    let found = named(pool, volume)?;
    let read = client.storage_volume(&found.pool, &found.kind, &found.name).await?.value;
    let state = client.storage_volume_state(&found.pool, &found.kind, &found.name).await?;
    let mut out = format!("Name: {}\n", clean(&read.name));
    if !read.description.is_empty() {
        let _ = writeln!(out, "Description: {}", clean(&read.description));
    }
    let _ = write!(out, "Type: {}\nContent type: {}\n", clean(&read.kind), clean(&read.content_type));
    if let Some(usage) = &state.usage {
        let _ = writeln!(out, "Usage: {}", binary_size(i64::try_from(usage.used).unwrap_or(i64::MAX)));
        if usage.total > 0 {
            let _ = writeln!(out, "Total: {}", binary_size(usage.total));
        }
    }
    if found.kind == "custom" {
        let snapshots = client.storage_volume_snapshots(&found.pool, &found.name).await?;
        if !snapshots.is_empty() {
            let mut table = Table::new(["NAME", "DESCRIPTION", "EXPIRES AT"]);
            for snapshot in &snapshots {
                let name = snapshot.name.rsplit('/').next().unwrap_or_default();
                let expires = snapshot.expires_at.map(minute).unwrap_or_default();
                table.row([name, &snapshot.description, &expires]);
            }
            let _ = write!(out, "\nSnapshots:\n{}", table.bordered(false));
        }
    }
    app.print(&out)
}
