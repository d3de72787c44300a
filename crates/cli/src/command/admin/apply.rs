//! Setting up what a preseed says: made if it is not there, changed if it is; taken back if a later step fails.

use coffer_api::{CertificatesPost, ImageAliasesPost, NetworksPost, Preseed, ProfilesPost, RecoverPost, ServerPut};
use coffer_client::{Client, ClientError};

use crate::error::CliError;

/// Something that was made and may have to be taken back.
enum Made {
    Project(String),
    Network { project: String, name: String },
    Pool(String),
    Profile { project: String, name: String },
    Certificate(String),
    Alias { project: String, name: String },
}

/// How a document is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As a preseed: what it does not say stays.
    Preseed,
    /// As a dump: descriptions become what it says, empty ones too.
    Restore,
    /// As a dump; storage pools that are missing are found where they stand, and all in them is taken in.
    Recover,
}

/// Carries out a preseed; answers what had to be left out, a sentence each.
pub(super) async fn apply(client: &Client, preseed: &Preseed, manner: Manner) -> Result<Vec<String>, CliError> {
    let mut made = Vec::new();
    match carry_out(client, preseed, manner, &mut made).await {
        Ok(left_out) => Ok(left_out),
        Err(error) => {
            // The first error is the one that matters; what can't be taken back shows up in the lists.
            for thing in made.into_iter().rev() {
                let _ = take_back(client, thing).await;
            }
            Err(error)
        }
    }
}

async fn carry_out(client: &Client, preseed: &Preseed, manner: Manner, made: &mut Vec<Made>) -> Result<Vec<String>, CliError> {
    let mut lost = RecoverPost::default();
    if !preseed.config.is_empty() {
        client.patch_server(&ServerPut { config: preseed.config.clone() }).await?;
    }
    for project in &preseed.projects {
        match found(client.read_project(&project.name).await)? {
            Some(read) => {
                let mut put = read.value.writable();
                put.config.extend(project.config.clone());
                describe(manner, &mut put.description, &project.description);
                client.update_project(&project.name, &put, &read.etag).await?;
            }
            None => {
                client.create_project(project).await?;
                made.push(Made::Project(project.name.clone()));
            }
        }
    }
    for pool in &preseed.storage_pools {
        match found(client.storage_pool(&pool.name).await)? {
            Some(read) => {
                let mut put = read.value.writable();
                put.config.extend(pool.config.clone());
                describe(manner, &mut put.description, &pool.description);
                client.update_storage_pool(&pool.name, &put, &read.etag).await?;
            }
            None if manner == Manner::Recover => lost.pools.push(pool.clone()),
            None => {
                client.create_storage_pool(pool).await?;
                made.push(Made::Pool(pool.name.clone()));
            }
        }
    }
    for network in &preseed.networks {
        let client = &client.with_project(&network.project);
        // An interface of that name which nobody manages is the host's and no network to change.
        match found(client.network(&network.name).await)?.filter(|read| read.value.managed) {
            Some(read) => {
                let mut put = read.value.writable();
                put.config.extend(network.config.clone());
                describe(manner, &mut put.description, &network.description);
                client.update_network(&network.name, &put, &read.etag).await?;
            }
            None => {
                let request = NetworksPost {
                    config: network.config.clone(),
                    description: network.description.clone(),
                    name: network.name.clone(),
                    kind: network.kind.clone(),
                };
                client.create_network(&request).await?;
                made.push(Made::Network { project: network.project.clone(), name: network.name.clone() });
            }
        }
    }
    for profile in &preseed.profiles {
        let client = &client.with_project(&profile.project);
        match found(client.profile(&profile.name).await)? {
            Some(read) => {
                let mut put = read.value.writable();
                put.config.extend(profile.config.clone());
                for (name, device) in &profile.devices {
                    put.devices.entry(name.clone()).or_default().extend(device.clone());
                }
                describe(manner, &mut put.description, &profile.description);
                client.update_profile(&profile.name, &put, &read.etag).await?;
            }
            None => {
                let request = ProfilesPost {
                    config: profile.config.clone(),
                    description: profile.description.clone(),
                    devices: profile.devices.clone(),
                    name: profile.name.clone(),
                };
                client.create_profile(&request).await?;
                made.push(Made::Profile { project: profile.project.clone(), name: profile.name.clone() });
            }
        }
    }
    trust(client, preseed, made).await?;
    let left_out = name_images(client, preseed, made).await?;
    if manner == Manner::Recover {
        // Last: what is taken in needs the rest.
        client.take_in(&lost).await?;
    }
    Ok(left_out)
}

/// Trusts the certificates that are not trusted yet.
async fn trust(client: &Client, preseed: &Preseed, made: &mut Vec<Made>) -> Result<(), CliError> {
    for certificate in &preseed.certificates {
        let read = coffer_web::Certificate::from_text(&certificate.certificate);
        let read = read.map_err(|cause| CliError::Certificate { file: certificate.name.clone().into(), cause })?;
        if found(client.certificate(read.fingerprint()).await)?.is_some() {
            continue;
        }
        let request = CertificatesPost {
            name: certificate.name.clone(),
            kind: certificate.kind.clone(),
            restricted: certificate.restricted,
            projects: certificate.projects.clone(),
            certificate: read.to_base64(),
            ..Default::default()
        };
        client.add_certificate(&request).await?;
        made.push(Made::Certificate(read.fingerprint().to_owned()));
    }
    Ok(())
}

/// Gives images that are here their other names; answers which names had to be left out.
async fn name_images(client: &Client, preseed: &Preseed, made: &mut Vec<Made>) -> Result<Vec<String>, CliError> {
    let mut left_out = Vec::new();
    for alias in &preseed.image_aliases {
        let client = &client.with_project(&alias.project);
        if found(client.image_alias(&alias.name).await)?.is_some() {
            continue;
        }
        if found(client.image(&alias.target).await)?.is_none() {
            left_out.push(format!("Alias {} was left out: image {} is not here", alias.name, alias.target));
            continue;
        }
        let request = ImageAliasesPost {
            name: alias.name.clone(),
            description: alias.description.clone(),
            target: alias.target.clone(),
            ..Default::default()
        };
        client.create_image_alias(&request).await?;
        made.push(Made::Alias { project: alias.project.clone(), name: alias.name.clone() });
    }
    Ok(left_out)
}

/// Turns "not found" into `None`.
fn found<T>(read: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(manner: Manner, old: &mut String, new: &str) {
    if manner != Manner::Preseed || !new.is_empty() {
        new.clone_into(old);
    }
}

async fn take_back(client: &Client, thing: Made) -> Result<(), ClientError> {
    match thing {
        Made::Project(name) => client.delete_project(&name).await,
        Made::Network { project, name } => client.with_project(&project).delete_network(&name).await,
        Made::Pool(name) => client.delete_storage_pool(&name).await,
        Made::Profile { project, name } => client.with_project(&project).delete_profile(&name).await,
        Made::Certificate(fingerprint) => client.delete_certificate(&fingerprint).await,
        Made::Alias { project, name } => client.with_project(&project).delete_image_alias(&name).await,
    }
}
