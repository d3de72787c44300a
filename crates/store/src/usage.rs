//! Who names a network, pool or volume in a device.

use std::collections::BTreeMap;
use std::fmt;

use coffer_model::{Config, Devices, InstanceName, NetworkName, PoolName, ProfileName, ProjectName, VolumeName};

use crate::conn::Conn;
use crate::error::{Entity, StoreError, Subject};
use crate::project::{self, Feature};
use crate::{instance, profile};

/// The instances and profiles whose own devices name something, in order of project and name.
///
/// What an instance names through a profile counts for the profile only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// The instances.
    pub instances: Vec<(ProjectName, InstanceName)>,
    /// The profiles.
    pub profiles: Vec<(ProjectName, ProfileName)>,
}

impl Users {
    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.profiles.is_empty()
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instances = self.instances.iter().map(|(project, name)| instance::subject(project, name));
        let profiles = self.profiles.iter().map(|(project, name)| profile::subject(project, name));
        f.write_str(&in_words(instances.chain(profiles)))
    }
}

/// Finds who has a NIC on a network of `home`, by the network's name or as its parent bridge.
///
/// # Errors
/// Only the database's.
pub fn of_network(conn: &Conn, home: &ProjectName, network: &NetworkName) -> Result<Users, StoreError> {
    let name = Some(network.as_str());
    users(conn, network.as_str(), Some((home, Feature::Networks)), |device| {
        let bridge = device.get("nictype") == Some("bridged") && device.get("parent") == name;
        device.get("type") == Some("nic") && (device.get("network") == name || bridge)
    })
}

/// Finds who has a disk in a pool, and the instances whose root volumes are in it.
///
/// # Errors
/// Only the database's.
pub fn of_pool(conn: &Conn, pool: &PoolName) -> Result<Users, StoreError> {
    let mut found =
        users(conn, pool.as_str(), None, |device| device.get("type") == Some("disk") && device.get("pool") == Some(pool.as_str()))?;
    let sql = "SELECT p.name, i.name FROM instances i JOIN projects p ON p.id = i.project_id
        JOIN pools s ON s.id = i.pool_id WHERE s.name = ?1";
    found.instances.extend(conn.all(Entity::Instance, sql, [pool.as_str()], |columns| Ok((columns.parse()?, columns.parse()?)))?);
    found.instances.sort();
    found.instances.dedup();
    Ok(found)
}

/// Finds who has a disk that is a custom volume of `home`.
///
/// # Errors
/// Only the database's.
pub fn of_volume(conn: &Conn, pool: &PoolName, home: &ProjectName, volume: &VolumeName) -> Result<Users, StoreError> {
    let volume = volume.as_str();
    users(conn, volume, Some((home, Feature::Volumes)), |device| {
        device.get("type") == Some("disk") && device.get("pool") == Some(pool.as_str()) && device.get("source") == Some(volume)
    })
}

/// Names the first three things, and counts the others.
pub(crate) fn in_words(things: impl Iterator<Item = Subject>) -> String {
    let all: Vec<String> = things.map(|thing| thing.to_string()).collect();
    match all.split_at_checked(3) {
        Some((first, more)) if !more.is_empty() => format!("{} and {} more", first.join(", "), more.len()),
        _ => all.join(", "),
    }
}

/// Reads only the rows whose devices hold `word` as a whole JSON string, and keeps those with a device that `names` it
/// and whose project has its things of that feature in `home`.
fn users(conn: &Conn, word: &str, home: Option<(&ProjectName, Feature)>, names: impl Fn(&Config) -> bool) -> Result<Users, StoreError> {
    let quoted = crate::conn::json(&word);
    let mut homes = Homes { home, known: BTreeMap::new() };
    let mut found = Users::default();
    for (project, name, devices) in candidates(conn, Entity::Instance, "instances", &quoted)? {
        if devices.0.values().any(&names) && homes.matches(conn, &project)? {
            found.instances.push((project, name));
        }
    }
    for (project, name, devices) in candidates(conn, Entity::Profile, "profiles", &quoted)? {
        if devices.0.values().any(&names) && homes.matches(conn, &project)? {
            found.profiles.push((project, name));
        }
    }
    Ok(found)
}

fn candidates<N>(conn: &Conn, entity: Entity, table: &str, quoted: &str) -> Result<Vec<(ProjectName, N, Devices)>, StoreError>
where
    N: std::str::FromStr,
    N::Err: std::error::Error + Send + Sync + 'static,
{
    let sql = format!(
        "SELECT p.name, t.name, t.devices FROM {table} t JOIN projects p ON p.id = t.project_id
        WHERE instr(t.devices, ?1) > 0 ORDER BY p.name, t.name"
    );
    conn.all(entity, &sql, [quoted], |columns| Ok((columns.parse()?, columns.parse()?, columns.json()?)))
}

/// Remembers for each project whether what it names is in `home`.
struct Homes<'a> {
    home: Option<(&'a ProjectName, Feature)>,
    known: BTreeMap<ProjectName, bool>,
}

impl Homes<'_> {
    fn matches(&mut self, conn: &Conn, project: &ProjectName) -> Result<bool, StoreError> {
        let Some((home, feature)) = self.home else { return Ok(true) };
        if let Some(known) = self.known.get(project) {
            return Ok(*known);
        }
        let matches = project::home(conn, project, feature)? == *home;
        self.known.insert(project.clone(), matches);
        Ok(matches)
    }
}
