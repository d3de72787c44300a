//! The instance in which a stage's steps are done.

use std::collections::BTreeMap;

use coffer_api::{InstancePut, InstanceSnapshotsPost, InstanceSource, InstanceStatePut, InstancesPost};
use coffer_client::Client;
use serde::{Deserialize, Serialize};

use super::Options;
use super::owner::{OWNER, Owner};
use crate::digest::Digest;
use crate::error::BuildError;

/// The key that marks our instances, and its values: one that is worked in, and one whose snapshots are results.
pub(super) const MARK: &str = "user.coffer.build";
pub(super) const WORKING: &str = "work";
pub(super) const KEPT: &str = "cache";

/// The key that says which recipe an instance is of.
pub(super) const RECIPE: &str = "user.coffer.build.recipe";

/// The key under which stands what the base said.
pub(super) const FACTS: &str = "user.coffer.build.base";

/// What runs while steps are done: nothing. Every image with a shell has a program of this name.
const IDLE: &str = "sleep 2147483647";

/// What the base of a file system said of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// The second since 1970 at which the image says it was made.
    pub(super) epoch: i64,
    /// Keys of its process and environment, as properties of the image name them.
    pub(super) process: BTreeMap<String, String>,
    /// Its templates, which must not be written while it is built.
    pub(super) templates: BTreeMap<String, coffer_api::ImageMetadataTemplate>,
}

/// An instance in which steps are done.
pub(super) struct Work<'a> {
    pub(super) client: &'a Client,
    pub(super) name: String,
    pub(super) facts: Facts,
}

/// The snapshot that holds the result with this key.
pub(super) fn snapshot_name(key: &Digest) -> String {
    format!("k{}", &key.as_str()[..40])
}

impl<'a> Work<'a> {
    /// Makes an instance that is marked as being worked in before anything can be left of it.
    pub(super) async fn create(
        client: &'a Client,
        options: &Options,
        recipe: &str,
        owner: &Owner,
        source: InstanceSource,
    ) -> Result<Self, BuildError> {
        let random = std::collections::hash_map::RandomState::new();
        let number = std::hash::BuildHasher::hash_one(&random, std::time::Instant::now());
        let name = format!("build-{recipe}-{:08x}", number & 0xffff_ffff);
        let mut config = options.config.clone();
        config.insert(MARK.into(), WORKING.into());
        config.insert(RECIPE.into(), recipe.to_owned());
        config.insert(OWNER.into(), owner.text());
        let mut devices = BTreeMap::new();
        if !options.pool.is_empty() && source.kind != "copy" {
            let root = [("type", "disk"), ("path", "/"), ("pool", options.pool.as_str())];
            devices.insert("root".to_owned(), root.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect());
        }
        let request = InstancesPost {
            name: name.clone(),
            config,
            devices,
            profiles: options.profiles.clone(),
            source,
            kind: "container".into(),
            ..Default::default()
        };
        client.create_instance(&request).await?.wait().await?;
        let mut work = Self { client, name, facts: Facts::default() };
        if let Some(text) = work.config().await?.get(FACTS) {
            work.facts = serde_json::from_str(text).unwrap_or_default();
        }
        Ok(work)
    }

    /// Its configuration.
    pub(super) async fn config(&self) -> Result<BTreeMap<String, String>, BuildError> {
        Ok(self.client.instance(&self.name).await?.value.config)
    }

    /// Changes its configuration.
    pub(super) async fn configure(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<(), BuildError> {
        let read = self.client.instance(&self.name).await?;
        let instance = read.value;
        let mut put = InstancePut {
            architecture: instance.architecture,
            config: instance.config,
            devices: instance.devices,
            ephemeral: instance.ephemeral,
            profiles: instance.profiles,
            description: instance.description,
            ..Default::default()
        };
        change(&mut put.config);
        self.client.update_instance(&self.name, &put, &read.etag).await?.wait().await?;
        Ok(())
    }

    /// Takes note of what the base says, and keeps it from having an effect while steps are done: no init, no user, no templates.
    pub(super) async fn settle(&mut self, epoch: Option<i64>) -> Result<(), BuildError> {
        let config = self.config().await?;
        let mut metadata = self.client.instance_metadata(&self.name).await?;
        let mut process = BTreeMap::new();
        for (key, value) in &config {
            let named = match key.as_str() {
                "volatile.oci.stop_signal" => "oci.stop_signal",
                "oci.entrypoint" | "oci.cwd" | "oci.uid" | "oci.gid" => key,
                key if key.starts_with("environment.") => key,
                _ => continue,
            };
            process.insert(named.to_owned(), value.clone());
        }
        let templates = metadata.value.templates.take().unwrap_or_default();
        let stated = Some(metadata.value.creation_date).filter(|date| *date > 0);
        self.facts = Facts { epoch: epoch.or(stated).unwrap_or(super::base::EPOCH), process, templates };
        let text = serde_json::to_string(&self.facts).unwrap_or_default();
        self.configure(|config| {
            for (key, value) in [("oci.entrypoint", IDLE), ("oci.cwd", "/"), ("oci.uid", "0"), ("oci.gid", "0"), (FACTS, &text)] {
                config.insert(key.to_owned(), value.to_owned());
            }
        })
        .await?;
        self.client.update_instance_metadata(&self.name, &metadata.value, &metadata.etag).await?;
        Ok(())
    }

    /// Starts it.
    pub(super) async fn start(&self) -> Result<(), BuildError> {
        self.change_state("start").await
    }

    /// Stops it; whatever a step left running ends.
    pub(super) async fn stop(&self) -> Result<(), BuildError> {
        self.change_state("stop").await
    }

    async fn change_state(&self, action: &str) -> Result<(), BuildError> {
        let state = InstanceStatePut { action: action.to_owned(), timeout: 30, force: true, ..Default::default() };
        self.client.change_state(&self.name, &state).await?.wait().await?;
        Ok(())
    }

    /// Keeps its file system as the result with this key.
    pub(super) async fn keep_result(&self, key: &Digest) -> Result<(), BuildError> {
        let request = InstanceSnapshotsPost { name: snapshot_name(key), ..Default::default() };
        self.client.create_snapshot(&self.name, &request).await?.wait().await?;
        Ok(())
    }

    /// Ends the work: what stays is a place of results.
    pub(super) async fn keep(&self) -> Result<(), BuildError> {
        self.configure(|config| {
            config.insert(MARK.into(), KEPT.into());
            config.remove(OWNER);
        })
        .await
    }

    /// Goes back to the last result, if there is one, and removes everything if not.
    pub(super) async fn abandon(&self) -> Result<(), BuildError> {
        let full = self.client.instance_full(&self.name).await?;
        if full.status_code != coffer_api::StatusCode::STOPPED {
            self.stop().await?;
        }
        let Some(last) = full.snapshots.last() else { return self.remove().await };
        let put = InstancePut { restore: last.name.clone(), ..Default::default() };
        self.client.update_instance(&self.name, &put, "").await?.wait().await?;
        self.configure(|config| {
            config.insert(MARK.into(), KEPT.into());
            config.remove(OWNER);
        })
        .await
    }

    /// Removes it.
    pub(super) async fn remove(&self) -> Result<(), BuildError> {
        self.client.delete_instance(&self.name).await?.wait().await?;
        Ok(())
    }
}
