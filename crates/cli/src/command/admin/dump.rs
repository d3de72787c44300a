//! What is set up, as a preseed.

use std::collections::BTreeMap;

use coffer_api::{CertificatePreseed, ImageAliasPreseed, NetworkPreseed, Preseed, ProfilePreseed, ProjectsPost, StoragePoolsPost};
use coffer_client::{Client, ClientError};

/// The key whose value the server does not tell.
const PASSWORD: &str = "core.trust_password";

/// Reads everything a preseed can say.
pub(super) async fn read(client: &Client) -> Result<Preseed, ClientError> {
    let mut config = client.server().await?.value.config;
    config.remove(PASSWORD);
    let mut preseed = Preseed { config, ..Preseed::default() };
    for project in client.projects().await? {
        let own = |feature: &str| project.name == "default" || project.config.get(feature).is_some_and(|value| value == "true");
        let (client, name) = (client.with_project(&project.name), &project.name);
        if own("features.networks") {
            preseed.networks.extend(networks(&client, name).await?);
        }
        if own("features.profiles") {
            preseed.profiles.extend(profiles(&client, name).await?);
        }
        if own("features.images") {
            preseed.image_aliases.extend(aliases(&client, name).await?);
        }
        preseed.projects.push(ProjectsPost { config: project.config, description: project.description, name: project.name });
    }
    let pools = client.storage_pools().await?.into_iter().map(|pool| StoragePoolsPost {
        config: as_given(pool.config),
        description: pool.description,
        name: pool.name,
        driver: pool.driver,
    });
    preseed.storage_pools = pools.collect();
    let certificates = client.certificates().await?.into_iter().map(|certificate| CertificatePreseed {
        name: certificate.name,
        kind: certificate.kind,
        restricted: certificate.restricted,
        projects: certificate.projects,
        certificate: certificate.certificate,
    });
    preseed.certificates = certificates.collect();
    Ok(preseed)
}

async fn networks(client: &Client, project: &str) -> Result<Vec<NetworkPreseed>, ClientError> {
    let managed = client.networks().await?.into_iter().filter(|network| network.managed);
    let preseed = |network: coffer_api::Network| NetworkPreseed {
        config: lasting(network.config),
        description: network.description,
        name: network.name,
        kind: network.kind,
        project: project.to_owned(),
    };
    Ok(managed.map(preseed).collect())
}

async fn profiles(client: &Client, project: &str) -> Result<Vec<ProfilePreseed>, ClientError> {
    let preseed = |profile: coffer_api::Profile| ProfilePreseed {
        config: profile.config,
        description: profile.description,
        devices: profile.devices,
        name: profile.name,
        project: project.to_owned(),
    };
    Ok(client.profiles().await?.into_iter().map(preseed).collect())
}

async fn aliases(client: &Client, project: &str) -> Result<Vec<ImageAliasPreseed>, ClientError> {
    let preseed = |alias: coffer_api::ImageAliasesEntry| ImageAliasPreseed {
        name: alias.name,
        description: alias.description,
        target: alias.target,
        project: project.to_owned(),
    };
    Ok(client.image_aliases().await?.into_iter().map(preseed).collect())
}

/// A pool's configuration as its maker gave it: a source that the server chose is chosen anew where the dump is restored.
fn as_given(mut config: BTreeMap<String, String>) -> BTreeMap<String, String> {
    match config.get("volatile.initial_source").filter(|source| !source.is_empty()).cloned() {
        Some(source) => drop(config.insert("source".to_owned(), source)),
        None => drop(config.remove("source")),
    }
    lasting(config)
}

/// Leaves out what the server writes down for itself.
fn lasting(mut config: BTreeMap<String, String>) -> BTreeMap<String, String> {
    config.retain(|key, _| !key.starts_with("volatile."));
    config
}
