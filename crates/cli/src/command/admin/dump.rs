//! `admin init --dump`: what is set up, as a preseed.

use std::collections::BTreeMap;

use coffer_api::{NetworkPreseed, Preseed, ProfilesPost, ProjectsPost, StoragePoolsPost};
use coffer_client::{Client, ClientError};

/// Reads everything a preseed can say.
pub(super) async fn read(client: &Client) -> Result<Preseed, ClientError> {
    let networks = client.networks().await?.into_iter().filter(|network| network.managed);
    let networks = networks.map(|network| NetworkPreseed {
        config: lasting(network.config),
        description: network.description,
        name: network.name,
        kind: network.kind,
        project: client.project().to_owned(),
    });
    let pools = client.storage_pools().await?.into_iter().map(|pool| StoragePoolsPost {
        config: lasting(pool.config),
        description: pool.description,
        name: pool.name,
        driver: pool.driver,
    });
    let profiles = client.profiles().await?.into_iter().map(|profile| ProfilesPost {
        config: profile.config,
        description: profile.description,
        devices: profile.devices,
        name: profile.name,
    });
    let projects = client.projects().await?.into_iter();
    let projects = projects.map(|project| ProjectsPost { config: project.config, description: project.description, name: project.name });
    Ok(Preseed {
        config: client.server().await?.value.config,
        networks: networks.collect(),
        storage_pools: pools.collect(),
        profiles: profiles.collect(),
        projects: projects.collect(),
        cluster: None,
    })
}

/// Leaves out what the server writes down for itself.
fn lasting(mut config: BTreeMap<String, String>) -> BTreeMap<String, String> {
    config.retain(|key, _| !key.starts_with("volatile."));
    config
}
