//! Profiles.

use coffer_model::{Checked, Profile, ProfileName, ProjectName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::project::{self, Feature};
use crate::{instance, usage};

const SELECT: &str = "SELECT p.name, r.name, r.description, r.config, r.devices FROM profiles r JOIN projects p ON p.id = r.project_id";

/// Adds a profile. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for its project.
pub fn insert(tx: &Tx<'_>, profile: &Checked<Profile>) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Profile, "profiles")?;
    let project = project::id(tx, &profile.project)?;
    let values = params![id, project, profile.name.as_str(), profile.description, json(&profile.config), json(&profile.devices)];
    let sql = "INSERT INTO profiles (id, project_id, name, description, config, devices) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.run(&subject(&profile.project, &profile.name), sql, values)?;
    Ok(id)
}

/// Reads one profile.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, project: &ProjectName, name: &ProfileName) -> Result<Option<Profile>, StoreError> {
    conn.one(Entity::Profile, &format!("{SELECT} WHERE p.name = ?1 AND r.name = ?2"), [project.as_str(), name.as_str()], decode)
}

/// Reads the profiles of a project, or of all, in order of project and name.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Profile>, StoreError> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, r.name");
    conn.all(Entity::Profile, &sql, [project.map(ProjectName::as_str)], decode)
}

/// Reads the profiles that an instance of `project` means by `names`, in that order, from where the project has them.
///
/// # Errors
/// [`StoreError::NotFound`] for the first that is missing.
pub fn for_instance(conn: &Conn, project: &ProjectName, names: &[ProfileName]) -> Result<Vec<Profile>, StoreError> {
    let home = project::home(conn, project, Feature::Profiles)?;
    let read = |name| get(conn, &home, name)?.ok_or_else(|| StoreError::NotFound(subject(&home, name)));
    names.iter().map(read).collect()
}

/// Replaces the description, configuration and devices of the profile of that name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &Tx<'_>, profile: &Checked<Profile>) -> Result<(), StoreError> {
    let project = project::id(tx, &profile.project)?;
    let values = params![project, profile.name.as_str(), profile.description, json(&profile.config), json(&profile.devices)];
    let sql = "UPDATE profiles SET description = ?3, config = ?4, devices = ?5 WHERE project_id = ?1 AND name = ?2";
    tx.change(&subject(&profile.project, &profile.name), sql, values)
}

/// Gives a profile another name; who uses it goes on using it.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, project: &ProjectName, name: &ProfileName, new: &ProfileName) -> Result<(), StoreError> {
    let id = id(tx, project, name)?;
    tx.change(&subject(project, new), "UPDATE profiles SET name = ?2 WHERE id = ?1", params![id, new.as_str()])
}

/// Removes a profile that no instance uses.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::InUse`] with the instances.
pub fn delete(tx: &Tx<'_>, project: &ProjectName, name: &ProfileName) -> Result<(), StoreError> {
    let (id, what) = (id(tx, project, name)?, subject(project, name));
    let users = instance::using_profile(tx, project, name)?;
    if !users.is_empty() {
        return Err(StoreError::InUse { what, by: usage::in_words(users.iter().map(|(project, name)| instance::subject(project, name))) });
    }
    tx.change(&what, "DELETE FROM profiles WHERE id = ?1", [id])
}

/// The id that other tables know a profile by.
pub(crate) fn id(conn: &Conn, project: &ProjectName, name: &ProfileName) -> Result<i64, StoreError> {
    let sql = "SELECT r.id FROM profiles r JOIN projects p ON p.id = r.project_id WHERE p.name = ?1 AND r.name = ?2";
    conn.one(Entity::Profile, sql, [project.as_str(), name.as_str()], |columns| columns.get())?
        .ok_or_else(|| StoreError::NotFound(subject(project, name)))
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Profile> {
    Ok(Profile {
        project: columns.parse()?,
        name: columns.parse()?,
        description: columns.get()?,
        config: columns.json()?,
        devices: columns.json()?,
    })
}

pub(crate) fn subject(project: &ProjectName, name: &ProfileName) -> Subject {
    Subject::within(Entity::Profile, project, name)
}
