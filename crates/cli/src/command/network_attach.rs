//! Attaching networks to instances and profiles, and detaching them.

use std::collections::BTreeMap;

use coffer_api::Network;
use coffer_client::Client;

use crate::app::App;
use crate::error::CliError;
use crate::object::{DeviceObject, Instance, Profile};
use crate::target::Target;

/// What a network is attached to.
pub(super) enum Subject {
    Instance(Instance),
    Profile(Profile),
}

impl Subject {
    pub(super) fn instance(name: &str) -> Subject {
        Subject::Instance(Instance(name.to_owned()))
    }

    pub(super) fn profile(name: &str) -> Subject {
        Subject::Profile(Profile(name.to_owned()))
    }
}

/// Adds an interface on a network.
pub(super) async fn attach(
    app: &App,
    network: &Target,
    subject: &Subject,
    device: Option<String>,
    interface: Option<String>,
) -> Result<(), CliError> {
    let client = app.client(network)?;
    let read = client.network(network.required("the network's name")?).await?.value;
    let nic = nic(&read, interface.as_deref());
    let device = device.unwrap_or_else(|| network.name.clone());
    match subject {
        Subject::Instance(object) => add(app, client, object, device, nic).await,
        Subject::Profile(object) => add(app, client, object, device, nic).await,
    }
}

/// Removes the interface on a network.
pub(super) async fn detach(app: &App, network: &Target, subject: &Subject, device: Option<String>) -> Result<(), CliError> {
    let client = app.client(network)?;
    let name = network.required("the network's name")?;
    match subject {
        Subject::Instance(object) => remove(app, client, object, name, device).await,
        Subject::Profile(object) => remove(app, client, object, name, device).await,
    }
}

/// Makes the device for an interface on a network: by the network's name if it is managed, else by its interface.
pub(super) fn nic(network: &Network, interface: Option<&str>) -> BTreeMap<String, String> {
    let mut pairs = vec![("type", "nic")];
    if network.managed {
        pairs.push(("network", &network.name));
    } else {
        pairs.push(("nictype", if network.kind == "bridge" { "bridged" } else { "macvlan" }));
        pairs.push(("parent", &network.name));
    }
    pairs.extend(interface.map(|interface| ("name", interface)));
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

async fn add<O: DeviceObject>(
    app: &App,
    client: &Client,
    object: &O,
    device: String,
    nic: BTreeMap<String, String>,
) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    let devices = O::devices(&mut put);
    if devices.contains_key(&device) {
        return Err(CliError::AlreadyThere { object: object.title().to_owned(), what: "device", name: device });
    }
    devices.insert(device, nic);
    object.write(app, client, &put, &etag).await
}

async fn remove<O: DeviceObject>(app: &App, client: &Client, object: &O, network: &str, device: Option<String>) -> Result<(), CliError> {
    let (_, mut put, etag) = object.read(client).await?;
    let devices = O::devices(&mut put);
    let uses = |device: &BTreeMap<String, String>| {
        let is = |key: &str, value: &str| device.get(key).is_some_and(|found| found == value);
        is("type", "nic") && (is("network", network) || is("parent", network))
    };
    let fitting: Vec<String> = match device {
        Some(device) => vec![device],
        None => devices.iter().filter(|(_, device)| uses(device)).map(|(name, _)| name.clone()).collect(),
    };
    let missing = |what| CliError::NoSuch { object: object.title().to_owned(), what, name: network.to_owned() };
    match fitting.as_slice() {
        [] => return Err(missing("device on network")),
        [one] if devices.get(one).is_some_and(uses) => devices.remove(one),
        [_] => return Err(missing("such device on network")),
        _ => return Err(CliError::Ambiguous { object: object.title().to_owned() }),
    };
    object.write(app, client, &put, &etag).await
}
