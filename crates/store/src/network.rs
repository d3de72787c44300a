//! Managed networks.

use coffer_model::{Network, NetworkName, ProjectName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::{project, usage};

const SELECT: &str = "SELECT p.name, n.name, n.description, n.config, n.made FROM networks n JOIN projects p ON p.id = n.project_id";

/// Adds a network. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for its project.
pub fn insert(tx: &Tx<'_>, network: &Network) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Network, "networks")?;
    let project = project::id(tx, &network.project)?;
    let values = params![id, project, network.name.as_str(), network.description, json(&network.config), network.made];
    let sql = "INSERT INTO networks (id, project_id, name, description, config, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.run(&subject(&network.project, &network.name), sql, values)?;
    Ok(id)
}

/// Reads one network.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, project: &ProjectName, name: &NetworkName) -> Result<Option<Network>, StoreError> {
    conn.one(Entity::Network, &format!("{SELECT} WHERE p.name = ?1 AND n.name = ?2"), [project.as_str(), name.as_str()], decode)
}

/// Reads the networks of a project, or of all, in order of project and name.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Network>, StoreError> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, n.name");
    conn.all(Entity::Network, &sql, [project.map(ProjectName::as_str)], decode)
}

/// Replaces the description and configuration of the network of that name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &Tx<'_>, network: &Network) -> Result<(), StoreError> {
    let values = params![project::id(tx, &network.project)?, network.name.as_str(), network.description, json(&network.config)];
    let sql = "UPDATE networks SET description = ?3, config = ?4 WHERE project_id = ?1 AND name = ?2";
    tx.change(&subject(&network.project, &network.name), sql, values)
}

/// Notes whether a network was made completely.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_made(tx: &Tx<'_>, project: &ProjectName, name: &NetworkName, made: bool) -> Result<(), StoreError> {
    let values = params![project::id(tx, project)?, name.as_str(), made];
    tx.change(&subject(project, name), "UPDATE networks SET made = ?3 WHERE project_id = ?1 AND name = ?2", values)
}

/// Gives a network that nothing uses another name.
///
/// # Errors
/// [`StoreError::NotFound`], [`StoreError::InUse`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, project: &ProjectName, name: &NetworkName, new: &NetworkName) -> Result<(), StoreError> {
    free(tx, project, name)?;
    let values = params![project::id(tx, project)?, name.as_str(), new.as_str()];
    tx.change(&subject(project, new), "UPDATE networks SET name = ?3 WHERE project_id = ?1 AND name = ?2", values)
}

/// Removes a network that nothing uses.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::InUse`] with the instances and profiles.
pub fn delete(tx: &Tx<'_>, project: &ProjectName, name: &NetworkName) -> Result<(), StoreError> {
    free(tx, project, name)?;
    let values = params![project::id(tx, project)?, name.as_str()];
    tx.change(&subject(project, name), "DELETE FROM networks WHERE project_id = ?1 AND name = ?2", values)
}

/// Refuses a network that is missing or in use.
fn free(tx: &Tx<'_>, project: &ProjectName, name: &NetworkName) -> Result<(), StoreError> {
    let what = subject(project, name);
    if get(tx, project, name)?.is_none() {
        return Err(StoreError::NotFound(what));
    }
    let users = usage::of_network(tx, project, name)?;
    if users.is_empty() { Ok(()) } else { Err(StoreError::InUse { what, by: users.to_string() }) }
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Network> {
    Ok(Network {
        project: columns.parse()?,
        name: columns.parse()?,
        description: columns.get()?,
        config: columns.json()?,
        made: columns.get()?,
    })
}

fn subject(project: &ProjectName, name: &NetworkName) -> Subject {
    Subject::within(Entity::Network, project, name)
}
