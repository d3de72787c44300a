//! Devices of instances and profiles: what `config device` and `profile device` share.

use coffer_client::Client;

use crate::app::App;
use crate::error::CliError;
use crate::key_value::{pairs, pairs_or_two};
use crate::object::{DeviceObject, Devices};
use crate::render::{clean, yaml};

/// Adds a device, which must not be there yet.
pub(super) async fn add<O: DeviceObject>(
    app: &App,
    client: &Client,
    object: &O,
    name: &str,
    kind: &str,
    arguments: &[String],
) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    let devices = O::devices(&mut put);
    if devices.contains_key(name) {
        return Err(CliError::AlreadyThere { object: object.title().to_owned(), what: "device", name: name.to_owned() });
    }
    let mut device = pairs(arguments)?;
    device.insert("type".to_owned(), kind.to_owned());
    expand_home(&mut device);
    devices.insert(name.to_owned(), device);
    object.write(app, client, &put, &etag).await?;
    app.note(&format!("Device {name} added to {}", object.title()))
}

/// Prints one key of a device.
pub(super) async fn get<O: DeviceObject>(app: &App, client: &Client, object: &O, name: &str, key: &str) -> Result<(), CliError> {
    let (_, mut put, _) = object.read(client).await?;
    let device = O::devices(&mut put).remove(name).ok_or_else(|| object.without(name))?;
    app.print(&format!("{}\n", clean(device.get(key).map_or("", String::as_str))))
}

/// Prints the names of all devices.
pub(super) async fn list<O: DeviceObject>(app: &App, client: &Client, object: &O) -> Result<(), CliError> {
    let (_, mut put, _) = object.read(client).await?;
    let names: Vec<_> = O::devices(&mut put).keys().map(|name| clean(name).into_owned()).collect();
    app.print(&format!("{}\n", names.join("\n")))
}

/// Prints all devices as YAML.
pub(super) async fn show<O: DeviceObject>(app: &App, client: &Client, object: &O) -> Result<(), CliError> {
    let (_, mut put, _) = object.read(client).await?;
    app.print(&yaml::<Devices>(O::devices(&mut put)))
}

/// Sets keys of a device; an empty value unsets.
pub(super) async fn set<O: DeviceObject>(app: &App, client: &Client, object: &O, name: &str, arguments: &[String]) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    let device = O::devices(&mut put).get_mut(name).ok_or_else(|| object.without(name))?;
    for (key, value) in pairs_or_two(arguments)? {
        if value.is_empty() {
            device.remove(&key);
        } else {
            device.insert(key, value);
        }
    }
    expand_home(device);
    object.write(app, client, &put, &etag).await
}

/// Unsets a key of a device.
pub(super) async fn unset<O: DeviceObject>(app: &App, client: &Client, object: &O, name: &str, key: &str) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    let device = O::devices(&mut put).get_mut(name).ok_or_else(|| object.without(name))?;
    if device.remove(key).is_none() {
        return Err(CliError::NoSuch { object: format!("device {name}"), what: "key", name: key.to_owned() });
    }
    object.write(app, client, &put, &etag).await
}

/// Puts the user's home directory for a leading `~/` of a disk's source: after `source=` not every shell does it.
fn expand_home(device: &mut std::collections::BTreeMap<String, String>) {
    let disk = device.get("type").is_some_and(|kind| kind == "disk");
    let home = std::env::var("HOME").unwrap_or_default();
    if let Some(source) = device.get_mut("source")
        && let Some(rest) = source.strip_prefix('~')
        && (rest.is_empty() || rest.starts_with('/'))
        && disk
        && !home.is_empty()
    {
        *source = format!("{}{rest}", home.trim_end_matches('/'));
    }
}

/// Removes devices, all or none.
pub(super) async fn remove<O: DeviceObject>(app: &App, client: &Client, object: &O, names: &[String]) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    for name in names {
        O::devices(&mut put).remove(name).ok_or_else(|| object.without(name))?;
    }
    object.write(app, client, &put, &etag).await?;
    app.note(&format!("Device {} removed from {}", names.join(", "), object.title()))
}
