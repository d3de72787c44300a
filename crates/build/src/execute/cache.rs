//! Results of earlier builds: where they are, and how they go.

use coffer_api::{Instance, InstanceFull, StatusCode};
use coffer_client::Client;

use super::owner::{OWNER, Owner, State};
use super::work::{KEPT, MARK, RECIPE, WORKING, snapshot_name};
use crate::digest::Digest;
use crate::error::BuildError;

/// How many instances with results are kept of a stage of a recipe.
const MOST: usize = 3;

/// The start of the keys under which stands what packages a distribution gave for a request.
const GIVEN: &str = "user.coffer.build.given.";

/// The start of the keys under which stand fingerprints of images.
const IMAGE: &str = "user.coffer.build.image.";

/// All results that there are.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Instances that hold results, the newest first.
    instances: Vec<InstanceFull>,
}

/// Where a result is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The instance.
    pub(super) instance: String,
    /// Its snapshot.
    pub(super) snapshot: String,
}

impl Place {
    /// Both, as the API names a snapshot.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.instance, self.snapshot)
    }
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Instances that hold results.
    pub results: usize,
    /// Instances that builds left when they were killed.
    pub leftovers: usize,
}

impl Cache {
    /// Looks for all results on the server.
    pub(super) async fn read(client: &Client) -> Result<Self, BuildError> {
        let mut instances = Vec::new();
        for instance in marked(client, KEPT).await? {
            match client.instance_full(&instance.name).await {
                Err(error) if error.is_not_found() => {}
                full => instances.push(full?),
            }
        }
        instances.sort_by(|one, other| other.created_at.cmp(&one.created_at).then_with(|| one.name.cmp(&other.name)));
        Ok(Self { instances })
    }

    /// The last of these keys whose result is there, and where.
    pub(super) fn deepest(&self, keys: &[Digest]) -> Option<(usize, Place)> {
        keys.iter().enumerate().rev().find_map(|(at, key)| Some((at, self.find(key)?)))
    }

    fn find(&self, key: &Digest) -> Option<Place> {
        let snapshot = snapshot_name(key);
        let holds = |instance: &&InstanceFull| instance.snapshots.iter().any(|one| one.name == snapshot);
        let instance = self.instances.iter().find(holds)?.name.clone();
        Some(Place { instance, snapshot })
    }

    /// What a distribution gave when it was asked for this.
    pub(super) fn given(&self, request: &Digest) -> Option<String> {
        let key = given_key(request);
        self.instances.iter().find_map(|instance| instance.config.get(&key).cloned())
    }

    /// The image that was made of a result.
    pub(super) fn image(&self, result: &Digest) -> Option<String> {
        let key = image_key(result);
        self.instances.iter().find_map(|instance| instance.config.get(&key).cloned())
    }

    /// The configuration of an instance with results.
    pub(super) fn config(&self, name: &str) -> Option<&std::collections::BTreeMap<String, String>> {
        self.instances.iter().find(|instance| instance.name == name).map(|instance| &instance.config)
    }

    /// Removes the oldest of a stage's, if there are too many.
    pub(super) async fn trim(&self, client: &Client, stage: &str, used: &[String]) -> Result<(), BuildError> {
        let of_stage = self.instances.iter().filter(|instance| instance.config.get(RECIPE).is_some_and(|name| name == stage));
        for old in of_stage.skip(MOST).filter(|instance| !used.contains(&instance.name)) {
            client.delete_instance(&old.name).await?.wait().await?;
        }
        Ok(())
    }
}

/// The key under which stands what a distribution gave.
pub(super) fn given_key(request: &Digest) -> String {
    format!("{GIVEN}{}", request.short())
}

/// The key under which stands the fingerprint of an image.
pub(super) fn image_key(result: &Digest) -> String {
    format!("{IMAGE}{}", result.short())
}

async fn marked(client: &Client, mark: &str) -> Result<Vec<Instance>, BuildError> {
    let all: Vec<Instance> = client.instances(1, "", false).await?;
    Ok(all.into_iter().filter(|instance| instance.config.get(MARK).is_some_and(|value| value == mark)).collect())
}

/// Removes what killed builds left; how many instances those were. Of builds elsewhere nobody here can say whether they live:
/// theirs are removed only if `elsewhere` says so.
pub(super) async fn sweep(client: &Client, elsewhere: bool) -> Result<usize, BuildError> {
    let mut count = 0;
    for instance in marked(client, WORKING).await? {
        let owner = instance.config.get(OWNER).map_or(State::Gone, |text| Owner::state(text));
        let left = match owner {
            State::Alive => false,
            State::Gone => true,
            State::Elsewhere => elsewhere,
        };
        if left {
            remove(client, &instance.name, instance.status_code).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// Removes all results and all leftovers.
///
/// # Errors
/// What the server says.
pub async fn prune(client: &Client) -> Result<Pruned, BuildError> {
    let leftovers = sweep(client, true).await?;
    let mut results = 0;
    for instance in marked(client, KEPT).await? {
        remove(client, &instance.name, instance.status_code).await?;
        results += 1;
    }
    Ok(Pruned { results, leftovers })
}

async fn remove(client: &Client, name: &str, status: StatusCode) -> Result<(), BuildError> {
    if status != StatusCode::STOPPED {
        let state = coffer_api::InstanceStatePut { action: "stop".into(), timeout: 30, force: true, ..Default::default() };
        client.change_state(name, &state).await?.wait().await?;
    }
    client.delete_instance(name).await?.wait().await?;
    Ok(())
}
