//! Users' storage volumes.

use coffer_model::{Checked, ContentType, CustomVolume, Phase, PoolName, ProjectName, VolumeKey, VolumeName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::instance::{phase_of, phase_word};
use crate::{pool, project};

const SELECT: &str = "SELECT s.name, p.name, v.name, v.description, v.config, v.content, v.created_at, v.phase, v.renamed_from
    FROM volumes v JOIN pools s ON s.id = v.pool_id JOIN projects p ON p.id = v.project_id";

/// The `WHERE` that finds one volume: its pool, project and name are the first three parameters.
const WHICH: &str = "pool_id = (SELECT id FROM pools WHERE name = ?1)
    AND project_id = (SELECT id FROM projects WHERE name = ?2) AND kind = 'custom' AND name = ?3";

/// Adds a volume. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for its pool or project.
pub fn insert(tx: &Tx<'_>, volume: &Checked<CustomVolume>) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Volume, "volumes")?;
    let values = params![
        id,
        pool::id(tx, &volume.pool)?,
        project::id(tx, &volume.project)?,
        volume.name.as_str(),
        volume.description,
        json(&volume.config),
        volume.content.as_str(),
        volume.created_at.to_string(),
        phase_word(volume.phase),
        volume.renamed_from.as_ref().map(VolumeKey::to_string),
    ];
    let sql = "INSERT INTO volumes (id, pool_id, project_id, kind, name, description, config, content, created_at, phase, renamed_from)
        VALUES (?1, ?2, ?3, 'custom', ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    tx.run(&subject(&volume.project, &volume.name), sql, values)?;
    Ok(id)
}

/// Reads one volume.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, pool: &PoolName, project: &ProjectName, name: &VolumeName) -> Result<Option<CustomVolume>, StoreError> {
    let sql = format!("{SELECT} WHERE s.name = ?1 AND p.name = ?2 AND v.kind = 'custom' AND v.name = ?3");
    conn.one(Entity::Volume, &sql, [pool.as_str(), project.as_str(), name.as_str()], decode)
}

/// Reads the volumes of a pool and project, or of all, in order of pool, project and name.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, pool: Option<&PoolName>, project: Option<&ProjectName>) -> Result<Vec<CustomVolume>, StoreError> {
    let sql = format!(
        "{SELECT} WHERE v.kind = 'custom' AND (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR p.name = ?2) ORDER BY s.name, p.name, v.name"
    );
    conn.all(Entity::Volume, &sql, [pool.map(PoolName::as_str), project.map(ProjectName::as_str)], decode)
}

/// Replaces the description and configuration of the volume of that pool, project and name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &Tx<'_>, volume: &Checked<CustomVolume>) -> Result<(), StoreError> {
    let values = params![volume.pool.as_str(), volume.project.as_str(), volume.name.as_str(), volume.description, json(&volume.config),];
    let sql = format!("UPDATE volumes SET description = ?4, config = ?5 WHERE {WHICH}");
    tx.change(&subject(&volume.project, &volume.name), &sql, values)
}

/// Notes how far a volume's creation or deletion is.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_phase(tx: &Tx<'_>, pool: &PoolName, project: &ProjectName, name: &VolumeName, phase: Phase) -> Result<(), StoreError> {
    let values = [pool.as_str(), project.as_str(), name.as_str(), phase_word(phase)];
    tx.change(&subject(project, name), &format!("UPDATE volumes SET phase = ?4 WHERE {WHICH}"), values)
}

/// Gives a volume another name or project, and remembers that on disk it still is what it was.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, pool: &PoolName, old: &VolumeKey, new: &VolumeKey) -> Result<(), StoreError> {
    let id = id(tx, pool, &old.project, &old.name)?;
    let values = params![id, project::id(tx, &new.project)?, new.name.as_str(), old.to_string()];
    let sql = "UPDATE volumes SET project_id = ?2, name = ?3, renamed_from = ?4 WHERE id = ?1";
    tx.change(&subject(&new.project, &new.name), sql, values)
}

/// Notes that a volume has its name on disk too.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn renamed(tx: &Tx<'_>, pool: &PoolName, project: &ProjectName, name: &VolumeName) -> Result<(), StoreError> {
    let values = [pool.as_str(), project.as_str(), name.as_str()];
    tx.change(&subject(project, name), &format!("UPDATE volumes SET renamed_from = NULL WHERE {WHICH}"), values)
}

/// Removes a volume and its snapshots. Who uses it is [`crate::usage::of_volume`]'s to say.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, pool: &PoolName, project: &ProjectName, name: &VolumeName) -> Result<(), StoreError> {
    let values = [pool.as_str(), project.as_str(), name.as_str()];
    tx.change(&subject(project, name), &format!("DELETE FROM volumes WHERE {WHICH}"), values)
}

/// The id that other tables know a volume by.
pub(crate) fn id(conn: &Conn, pool: &PoolName, project: &ProjectName, name: &VolumeName) -> Result<i64, StoreError> {
    let sql = format!("SELECT id FROM volumes WHERE {WHICH}");
    conn.one(Entity::Volume, &sql, [pool.as_str(), project.as_str(), name.as_str()], |columns| columns.get())?
        .ok_or_else(|| StoreError::NotFound(subject(project, name)))
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<CustomVolume> {
    Ok(CustomVolume {
        pool: columns.parse()?,
        project: columns.parse()?,
        name: columns.parse()?,
        description: columns.get()?,
        config: columns.json()?,
        content: columns.word(ContentType::of)?,
        created_at: columns.parse()?,
        phase: columns.word(phase_of)?,
        renamed_from: columns.parse_some()?,
    })
}

pub(crate) fn subject(project: &ProjectName, name: &VolumeName) -> Subject {
    Subject::within(Entity::Volume, project, name)
}
