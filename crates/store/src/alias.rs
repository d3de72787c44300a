//! Image aliases.

use coffer_model::{Alias, AliasName, Fingerprint, ProjectName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx};
use crate::error::{Entity, StoreError, Subject};
use crate::{image, project};

const SELECT: &str = "SELECT p.name, a.name, a.description, m.fingerprint FROM image_aliases a
    JOIN projects p ON p.id = a.project_id JOIN images m ON m.id = a.image_id";

/// Adds an alias of an image in the same project. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for the project or image.
pub fn insert(tx: &Tx<'_>, alias: &Alias) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Alias, "image_aliases")?;
    let (project, image) = (project::id(tx, &alias.project)?, image::id(tx, &alias.project, &alias.target)?);
    let sql = "INSERT INTO image_aliases (id, project_id, name, description, image_id) VALUES (?1, ?2, ?3, ?4, ?5)";
    tx.run(&subject(&alias.project, &alias.name), sql, params![id, project, alias.name.as_str(), alias.description, image])?;
    Ok(id)
}

/// Reads one alias.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, project: &ProjectName, name: &AliasName) -> Result<Option<Alias>, StoreError> {
    conn.one(Entity::Alias, &format!("{SELECT} WHERE p.name = ?1 AND a.name = ?2"), [project.as_str(), name.as_str()], decode)
}

/// Reads the aliases of a project, or of all, in order of project and name.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Alias>, StoreError> {
    let sql = format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, a.name");
    conn.all(Entity::Alias, &sql, [project.map(ProjectName::as_str)], decode)
}

/// Reads the aliases of one image in order of their names.
///
/// # Errors
/// Only the database's.
pub fn of_image(conn: &Conn, project: &ProjectName, fingerprint: &Fingerprint) -> Result<Vec<Alias>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND m.fingerprint = ?2 ORDER BY a.name");
    conn.all(Entity::Alias, &sql, [project.as_str(), fingerprint.as_str()], decode)
}

/// Replaces the description and target of the alias of that name.
///
/// # Errors
/// [`StoreError::NotFound`], also for the image.
pub fn update(tx: &Tx<'_>, alias: &Alias) -> Result<(), StoreError> {
    let (project, image) = (project::id(tx, &alias.project)?, image::id(tx, &alias.project, &alias.target)?);
    let sql = "UPDATE image_aliases SET description = ?3, image_id = ?4 WHERE project_id = ?1 AND name = ?2";
    tx.change(&subject(&alias.project, &alias.name), sql, params![project, alias.name.as_str(), alias.description, image])
}

/// Gives an alias another name.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, project: &ProjectName, name: &AliasName, new: &AliasName) -> Result<(), StoreError> {
    if get(tx, project, name)?.is_none() {
        return Err(StoreError::NotFound(subject(project, name)));
    }
    let values = params![project::id(tx, project)?, name.as_str(), new.as_str()];
    tx.change(&subject(project, new), "UPDATE image_aliases SET name = ?3 WHERE project_id = ?1 AND name = ?2", values)
}

/// Removes an alias.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, project: &ProjectName, name: &AliasName) -> Result<(), StoreError> {
    let values = params![project::id(tx, project)?, name.as_str()];
    tx.change(&subject(project, name), "DELETE FROM image_aliases WHERE project_id = ?1 AND name = ?2", values)
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Alias> {
    Ok(Alias { project: columns.parse()?, name: columns.parse()?, description: columns.get()?, target: columns.parse()? })
}

fn subject(project: &ProjectName, name: &AliasName) -> Subject {
    Subject::within(Entity::Alias, project, name)
}
