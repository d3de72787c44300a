//! Who uses a thing, as URLs.

use coffer_model::{CustomVolume, Instance, ProfileName, ProjectName};
use coffer_store::usage::Users;
use coffer_store::{Conn, StoreError};

/// The instances that use a profile of `home`.
pub(crate) fn instances_of_profile(conn: &Conn, home: &ProjectName, name: &ProfileName) -> Result<Vec<Instance>, StoreError> {
    let names = coffer_store::instance::using_profile(conn, home, name)?;
    let found = names.iter().filter_map(|(project, name)| coffer_store::instance::get(conn, project, name).transpose());
    found.collect()
}

/// The URL of a thing, with its project outside the default one.
#[must_use]
pub(crate) fn url(kind: &str, project: &ProjectName, name: &str) -> String {
    if project.is_default() { format!("/1.0/{kind}/{name}") } else { format!("/1.0/{kind}/{name}?project={project}") }
}

/// The URL of a user's volume, with its project outside the default one.
#[must_use]
pub(crate) fn volume_url(volume: &CustomVolume) -> String {
    let place = format!("storage-pools/{}/volumes/custom", volume.pool);
    url(&place, &volume.project, volume.name.as_str())
}

/// The URLs of instances and profiles, profiles first as LXD lists them.
#[must_use]
pub(crate) fn urls(users: &Users) -> Vec<String> {
    let profiles = users.profiles.iter().map(|(project, name)| url("profiles", project, name.as_str()));
    let instances = users.instances.iter().map(|(project, name)| url("instances", project, name.as_str()));
    profiles.chain(instances).collect()
}
