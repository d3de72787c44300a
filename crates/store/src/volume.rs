//! Storage volumes.

use coffer_model::{PoolName, ProjectName, Volume, VolumeKind};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::{pool, project};

const SELECT: &str = "SELECT s.name, p.name, v.kind, v.name, v.description, v.config, v.created_at
    FROM volumes v JOIN pools s ON s.id = v.pool_id JOIN projects p ON p.id = v.project_id";

/// The `WHERE` that finds one volume: its pool, project, kind and name are the first four parameters.
const WHICH: &str = "pool_id = (SELECT id FROM pools WHERE name = ?1)
    AND project_id = (SELECT id FROM projects WHERE name = ?2) AND kind = ?3 AND name = ?4";

/// Adds a volume. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for its pool or project.
pub fn insert(tx: &Tx<'_>, volume: &Volume) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Volume, "volumes")?;
    let values = params![
        id,
        pool::id(tx, &volume.pool)?,
        project::id(tx, &volume.project)?,
        kind_word(volume.kind),
        volume.name,
        volume.description,
        json(&volume.config),
        volume.created_at.to_string(),
    ];
    let sql = "INSERT INTO volumes (id, pool_id, project_id, kind, name, description, config, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    tx.run(&subject(&volume.project, &volume.name), sql, values)?;
    Ok(id)
}

/// Reads one volume.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, pool: &PoolName, project: &ProjectName, kind: VolumeKind, name: &str) -> Result<Option<Volume>, StoreError> {
    let sql = format!("{SELECT} WHERE s.name = ?1 AND p.name = ?2 AND v.kind = ?3 AND v.name = ?4");
    conn.one(Entity::Volume, &sql, [pool.as_str(), project.as_str(), kind_word(kind), name], decode)
}

/// Reads the volumes of a pool and project, or of all, in order of pool, project, kind and name.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, pool: Option<&PoolName>, project: Option<&ProjectName>) -> Result<Vec<Volume>, StoreError> {
    let sql = format!("{SELECT} WHERE (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR p.name = ?2) ORDER BY s.name, p.name, v.kind, v.name");
    conn.all(Entity::Volume, &sql, [pool.map(PoolName::as_str), project.map(ProjectName::as_str)], decode)
}

/// Replaces the description and configuration of the volume of that pool, project, kind and name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &Tx<'_>, volume: &Volume) -> Result<(), StoreError> {
    let values = params![
        volume.pool.as_str(),
        volume.project.as_str(),
        kind_word(volume.kind),
        volume.name,
        volume.description,
        json(&volume.config),
    ];
    let sql = format!("UPDATE volumes SET description = ?5, config = ?6 WHERE {WHICH}");
    tx.change(&subject(&volume.project, &volume.name), &sql, values)
}

/// Gives a volume another name.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, pool: &PoolName, project: &ProjectName, kind: VolumeKind, name: &str, new: &str) -> Result<(), StoreError> {
    if get(tx, pool, project, kind, name)?.is_none() {
        return Err(StoreError::NotFound(subject(project, name)));
    }
    let values = [pool.as_str(), project.as_str(), kind_word(kind), name, new];
    tx.change(&subject(project, new), &format!("UPDATE volumes SET name = ?5 WHERE {WHICH}"), values)
}

/// Removes a volume. Who uses it is [`crate::usage::of_volume`]'s to say.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, pool: &PoolName, project: &ProjectName, kind: VolumeKind, name: &str) -> Result<(), StoreError> {
    let values = [pool.as_str(), project.as_str(), kind_word(kind), name];
    tx.change(&subject(project, name), &format!("DELETE FROM volumes WHERE {WHICH}"), values)
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Volume> {
    Ok(Volume {
        pool: columns.parse()?,
        project: columns.parse()?,
        kind: columns.word(kind_of)?,
        name: columns.get()?,
        description: columns.get()?,
        config: columns.json()?,
        created_at: columns.parse()?,
    })
}

fn kind_word(kind: VolumeKind) -> &'static str {
    match kind {
        VolumeKind::Container => "container",
        VolumeKind::Image => "image",
        VolumeKind::Custom => "custom",
    }
}

fn kind_of(word: &str) -> Option<VolumeKind> {
    [VolumeKind::Container, VolumeKind::Image, VolumeKind::Custom].into_iter().find(|kind| kind_word(*kind) == word)
}

pub(crate) fn subject(project: &ProjectName, name: &str) -> Subject {
    Subject::within(Entity::Volume, project, name)
}
