//! Storage pools.

use coffer_model::{Pool, PoolName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};
use crate::{usage, volume};

const SELECT: &str = "SELECT name, description, driver, config, made FROM pools";

/// Adds a pool. Returns its id.
///
/// # Errors
/// [`StoreError::Exists`].
pub fn insert(tx: &Tx<'_>, pool: &Pool) -> Result<i64, StoreError> {
    let id = tx.next_id(Entity::Pool, "pools")?;
    let values = params![id, pool.name.as_str(), pool.description, pool.driver, json(&pool.config), pool.made];
    let sql = "INSERT INTO pools (id, name, description, driver, config, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    tx.run(&subject(&pool.name), sql, values)?;
    Ok(id)
}

/// Reads one pool.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, name: &PoolName) -> Result<Option<Pool>, StoreError> {
    conn.one(Entity::Pool, &format!("{SELECT} WHERE name = ?1"), [name.as_str()], decode)
}

/// Reads all pools in order of their names.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn) -> Result<Vec<Pool>, StoreError> {
    conn.all(Entity::Pool, &format!("{SELECT} ORDER BY name"), [], decode)
}

/// Replaces the description and configuration of the pool of that name.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &Tx<'_>, pool: &Pool) -> Result<(), StoreError> {
    let values = params![pool.name.as_str(), pool.description, json(&pool.config)];
    tx.change(&subject(&pool.name), "UPDATE pools SET description = ?2, config = ?3 WHERE name = ?1", values)
}

/// Notes whether a pool was made completely.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_made(tx: &Tx<'_>, name: &PoolName, made: bool) -> Result<(), StoreError> {
    tx.change(&subject(name), "UPDATE pools SET made = ?2 WHERE name = ?1", params![name.as_str(), made])
}

/// Removes a pool that nothing uses: no instance, no volume of whatever kind, no device of a profile.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::InUse`] with what uses it.
pub fn delete(tx: &Tx<'_>, name: &PoolName) -> Result<(), StoreError> {
    id(tx, name)?;
    let what = subject(name);
    let users = usage::of_pool(tx, name)?;
    if !users.is_empty() {
        return Err(StoreError::InUse { what, by: users.to_string() });
    }
    let volumes = volume::list(tx, Some(name), None)?;
    if !volumes.is_empty() {
        return Err(StoreError::InUse {
            what,
            by: usage::in_words(volumes.iter().map(|volume| volume::subject(&volume.project, &volume.name))),
        });
    }
    tx.change(&what, "DELETE FROM pools WHERE name = ?1", [name.as_str()])
}

/// The id that other tables know a pool by.
pub(crate) fn id(conn: &Conn, name: &PoolName) -> Result<i64, StoreError> {
    conn.one(Entity::Pool, "SELECT id FROM pools WHERE name = ?1", [name.as_str()], |columns| columns.get())?
        .ok_or_else(|| StoreError::NotFound(subject(name)))
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Pool> {
    Ok(Pool { name: columns.parse()?, description: columns.get()?, driver: columns.get()?, config: columns.json()?, made: columns.get()? })
}

fn subject(name: &PoolName) -> Subject {
    Subject::new(Entity::Pool, name)
}
