//! Setting up what a preseed says: made if it is not there, changed if it is; taken back if a later step fails.

use coffer_api::{NetworksPost, Preseed, ServerPut};
use coffer_client::{Client, ClientError};

use crate::error::CliError;

/// Something that was made and may have to be taken back.
enum Made {
    Project(String),
    Network { project: String, name: String },
    Pool(String),
    Profile(String),
}

/// Carries out a preseed.
pub(super) async fn apply(client: &Client, preseed: &Preseed) -> Result<(), CliError> {
    let mut made = Vec::new();
    match carry_out(client, preseed, &mut made).await {
        Ok(()) => Ok(()),
        Err(error) => {
            // The first error is the one that matters; what can't be taken back shows up in the lists.
            for thing in made.into_iter().rev() {
                let _ = take_back(client, thing).await;
            }
            Err(error.into())
        }
    }
}

async fn carry_out(client: &Client, preseed: &Preseed, made: &mut Vec<Made>) -> Result<(), ClientError> {
    if !preseed.config.is_empty() {
        client.patch_server(&ServerPut { config: preseed.config.clone() }).await?;
    }
    for project in &preseed.projects {
        match found(client.read_project(&project.name).await)? {
            Some(read) => {
                let mut put = read.value.writable();
                put.config.extend(project.config.clone());
                keep_or(&mut put.description, &project.description);
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
                keep_or(&mut put.description, &pool.description);
                client.update_storage_pool(&pool.name, &put, &read.etag).await?;
            }
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
                keep_or(&mut put.description, &network.description);
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
        match found(client.profile(&profile.name).await)? {
            Some(read) => {
                let mut put = read.value.writable();
                put.config.extend(profile.config.clone());
                for (name, device) in &profile.devices {
                    put.devices.entry(name.clone()).or_default().extend(device.clone());
                }
                keep_or(&mut put.description, &profile.description);
                client.update_profile(&profile.name, &put, &read.etag).await?;
            }
            None => {
                client.create_profile(profile).await?;
                made.push(Made::Profile(profile.name.clone()));
            }
        }
    }
    Ok(())
}

/// Turns "not found" into `None`.
fn found<T>(read: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn keep_or(old: &mut String, new: &str) {
    if !new.is_empty() {
        new.clone_into(old);
    }
}

async fn take_back(client: &Client, thing: Made) -> Result<(), ClientError> {
    match thing {
        Made::Project(name) => client.delete_project(&name).await,
        Made::Network { project, name } => client.with_project(&project).delete_network(&name).await,
        Made::Pool(name) => client.delete_storage_pool(&name).await,
        Made::Profile(name) => client.delete_profile(&name).await,
    }
}
