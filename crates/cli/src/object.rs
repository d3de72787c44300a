//! Things with configuration: read, shown, changed key by key or as a whole, in one way for all kinds.

use std::collections::BTreeMap;

use coffer_api as api;
use coffer_client::{Client, ClientError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::editor;
use crate::error::CliError;
use crate::render::{clean, yaml};

/// Configuration keys and values.
pub(crate) type Config = BTreeMap<String, String>;
/// Devices by name.
pub(crate) type Devices = BTreeMap<String, BTreeMap<String, String>>;

/// A thing with configuration.
pub(crate) trait Object {
    /// What is shown.
    type Shown: Serialize;
    /// What may be changed.
    type Put: DeserializeOwned;
    /// What the editor says above the text.
    const HELP: &'static str;

    /// Reads it: what is shown, what may be changed, and the tag of this version.
    async fn read(&self, client: &Client) -> Result<(Self::Shown, Self::Put, String), ClientError>;

    /// Writes it back.
    async fn write(&self, app: &App, client: &Client, put: &Self::Put, etag: &str) -> Result<(), CliError>;

    /// Returns the configuration inside what may be changed.
    fn config(put: &mut Self::Put) -> &mut Config;
}

/// An object that has devices too.
pub(crate) trait DeviceObject: Object {
    /// Returns the devices inside what may be changed.
    fn devices(put: &mut Self::Put) -> &mut Devices;

    /// Names it for messages.
    fn title(&self) -> &str;

    /// Says that it has no such device.
    fn without(&self, device: &str) -> CliError;
}

/// Prints one key; an absent one is an empty line.
pub(crate) async fn get(app: &App, client: &Client, object: &impl Object, key: &str) -> Result<(), CliError> {
    fn value<O: Object>(_: &O, mut put: O::Put, key: &str) -> String {
        O::config(&mut put).remove(key).unwrap_or_default()
    }
    let (_, put, _) = object.read(client).await?;
    app.print(&format!("{}\n", crate::render::clean_lines(&value(object, put, key))))
}

/// Sets keys; an empty value unsets.
pub(crate) async fn set<O: Object>(app: &App, client: &Client, object: &O, pairs: Config) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    let config = O::config(&mut put);
    for (key, value) in pairs {
        let value = if value == "-" { read_value()? } else { value };
        if value.is_empty() {
            config.remove(&key);
        } else {
            config.insert(key, value);
        }
    }
    object.write(app, client, &put, &etag).await
}

/// Unsets a key, which must be there.
pub(crate) async fn unset<O: Object>(app: &App, client: &Client, object: &O, key: &str) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    if O::config(&mut put).remove(key).is_none() {
        return Err(CliError::NoSuch { object: "the configuration".to_owned(), what: "key", name: clean(key).into_owned() });
    }
    object.write(app, client, &put, &etag).await
}

/// Prints the whole.
pub(crate) async fn show(app: &App, client: &Client, object: &impl Object) -> Result<(), CliError> {
    let (shown, _, _) = object.read(client).await?;
    app.print(&yaml(&shown))
}

/// Lets the user edit the whole.
pub(crate) async fn edit<O: Object>(app: &App, client: &Client, object: &O) -> Result<(), CliError> {
    let (shown, _, etag) = object.read(client).await?;
    editor::edit(app, &shown, O::HELP, async |put: O::Put| object.write(app, client, &put, &etag).await).await
}

/// Reads the value of a key from standard input.
fn read_value() -> Result<String, CliError> {
    std::io::read_to_string(std::io::stdin()).map_err(|cause| CliError::Stream { stream: "input", cause })
}

/// An instance by name.
pub(crate) struct Instance(pub(crate) String);

impl Object for Instance {
    type Shown = api::InstancePut;
    type Put = api::InstancePut;
    const HELP: &'static str = "The configuration of an instance, as YAML.\n\nKeys that begin with image. describe where it came from, those that begin with volatile.\nbelong to the server. For a device or key that comes from a profile, change the profile.";

    async fn read(&self, client: &Client) -> Result<(api::InstancePut, api::InstancePut, String), ClientError> {
        let read = client.instance(&self.0).await?;
        Ok((read.value.writable(), read.value.writable(), read.etag))
    }

    async fn write(&self, app: &App, client: &Client, put: &api::InstancePut, etag: &str) -> Result<(), CliError> {
        let pending = client.update_instance(&self.0, put, etag).await?;
        app.finish(pending, "").await.map(drop)
    }

    fn config(put: &mut api::InstancePut) -> &mut Config {
        &mut put.config
    }
}

impl DeviceObject for Instance {
    fn devices(put: &mut api::InstancePut) -> &mut Devices {
        &mut put.devices
    }

    fn title(&self) -> &str {
        &self.0
    }

    fn without(&self, device: &str) -> CliError {
        CliError::NoOwnDevice { instance: self.0.clone(), device: device.to_owned() }
    }
}

/// A profile by name.
pub(crate) struct Profile(pub(crate) String);

impl Object for Profile {
    type Shown = api::Profile;
    type Put = api::ProfilePut;
    const HELP: &'static str = "A profile, as YAML: configuration and devices that every instance with it shares.\n\nThe name and what uses it can't be changed here.";

    async fn read(&self, client: &Client) -> Result<(api::Profile, api::ProfilePut, String), ClientError> {
        let read = client.profile(&self.0).await?;
        let put = read.value.writable();
        Ok((read.value, put, read.etag))
    }

    async fn write(&self, _app: &App, client: &Client, put: &api::ProfilePut, etag: &str) -> Result<(), CliError> {
        Ok(client.update_profile(&self.0, put, etag).await?)
    }

    fn config(put: &mut api::ProfilePut) -> &mut Config {
        &mut put.config
    }
}

impl DeviceObject for Profile {
    fn devices(put: &mut api::ProfilePut) -> &mut Devices {
        &mut put.devices
    }

    fn title(&self) -> &str {
        &self.0
    }

    fn without(&self, device: &str) -> CliError {
        CliError::NoSuch { object: format!("profile {}", self.0), what: "device", name: device.to_owned() }
    }
}

/// A network by name.
pub(crate) struct Network(pub(crate) String);

impl Object for Network {
    type Shown = api::Network;
    type Put = api::NetworkPut;
    const HELP: &'static str = "A network, as YAML.\n\nOnly configuration and description can be changed here.";

    async fn read(&self, client: &Client) -> Result<(api::Network, api::NetworkPut, String), ClientError> {
        let read = client.network(&self.0).await?;
        let put = read.value.writable();
        Ok((sorted_users(read.value), put, read.etag))
    }

    async fn write(&self, _app: &App, client: &Client, put: &api::NetworkPut, etag: &str) -> Result<(), CliError> {
        Ok(client.update_network(&self.0, put, etag).await?)
    }

    fn config(put: &mut api::NetworkPut) -> &mut Config {
        &mut put.config
    }
}

fn sorted_users(mut network: api::Network) -> api::Network {
    network.used_by.sort();
    network
}

/// A storage pool by name.
pub(crate) struct Pool(pub(crate) String);

impl Object for Pool {
    type Shown = api::StoragePool;
    type Put = api::StoragePoolPut;
    const HELP: &'static str = "A storage pool, as YAML.\n\nOnly configuration and description can be changed here.";

    async fn read(&self, client: &Client) -> Result<(api::StoragePool, api::StoragePoolPut, String), ClientError> {
        let mut read = client.storage_pool(&self.0).await?;
        let put = read.value.writable();
        read.value.used_by.sort();
        Ok((read.value, put, read.etag))
    }

    async fn write(&self, _app: &App, client: &Client, put: &api::StoragePoolPut, etag: &str) -> Result<(), CliError> {
        Ok(client.update_storage_pool(&self.0, put, etag).await?)
    }

    fn config(put: &mut api::StoragePoolPut) -> &mut Config {
        &mut put.config
    }
}

/// A volume by pool, type and name.
pub(crate) struct Volume {
    pub(crate) pool: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Object for Volume {
    type Shown = api::StorageVolume;
    type Put = api::StorageVolumePut;
    const HELP: &'static str = "A storage volume, as YAML.\n\nOnly configuration and description can be changed here.";

    async fn read(&self, client: &Client) -> Result<(api::StorageVolume, api::StorageVolumePut, String), ClientError> {
        let mut read = client.storage_volume(&self.pool, &self.kind, &self.name).await?;
        let put = read.value.writable();
        read.value.used_by.sort();
        Ok((read.value, put, read.etag))
    }

    async fn write(&self, app: &App, client: &Client, put: &api::StorageVolumePut, etag: &str) -> Result<(), CliError> {
        let pending = client.update_storage_volume(&self.pool, &self.kind, &self.name, put, etag).await?;
        app.finish(pending, "").await.map(drop)
    }

    fn config(put: &mut api::StorageVolumePut) -> &mut Config {
        &mut put.config
    }
}

/// A project by name.
pub(crate) struct Project(pub(crate) String);

impl Object for Project {
    type Shown = api::Project;
    type Put = api::ProjectPut;
    const HELP: &'static str = "A project, as YAML.\n\nOnly configuration and description can be changed here.";

    async fn read(&self, client: &Client) -> Result<(api::Project, api::ProjectPut, String), ClientError> {
        let read = client.read_project(&self.0).await?;
        let put = read.value.writable();
        Ok((read.value, put, read.etag))
    }

    async fn write(&self, _app: &App, client: &Client, put: &api::ProjectPut, etag: &str) -> Result<(), CliError> {
        Ok(client.update_project(&self.0, put, etag).await?)
    }

    fn config(put: &mut api::ProjectPut) -> &mut Config {
        &mut put.config
    }
}

/// The server.
pub(crate) struct Server;

impl Object for Server {
    type Shown = api::ServerPut;
    type Put = api::ServerPut;
    const HELP: &'static str = "The configuration of the server, as YAML.";

    async fn read(&self, client: &Client) -> Result<(api::ServerPut, api::ServerPut, String), ClientError> {
        let read = client.server().await?;
        let put = api::ServerPut { config: read.value.config };
        Ok((put.clone(), put, read.etag))
    }

    async fn write(&self, _app: &App, client: &Client, put: &api::ServerPut, etag: &str) -> Result<(), CliError> {
        Ok(client.update_server(put, etag).await?)
    }

    fn config(put: &mut api::ServerPut) -> &mut Config {
        &mut put.config
    }
}
