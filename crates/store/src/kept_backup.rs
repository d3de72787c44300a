//! Backups of instances and of users' volumes: files in the state directory that these tables know.

use coffer_model::{Backup, BackupName, BackupOwner, PoolName, ProjectName, VolumeKey};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx};
use crate::error::{Entity, StoreError, Subject};
use crate::{instance, volume};

const COLUMNS: &str = "b.name, b.created_at, b.expires_at, b.without_snapshots, b.optimized, b.size";

/// A backup with what it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Of what it is.
    pub owner: BackupOwner,
    /// The backup.
    pub backup: Backup,
}

/// The table for the backups of one kind of owner, and the owner's id.
fn place(conn: &Conn, owner: &BackupOwner) -> Result<(&'static str, i64), StoreError> {
    Ok(match owner {
        BackupOwner::Instance { project, name } => ("instance_backups", instance::id(conn, project, name)?),
        BackupOwner::Volume { pool, key } => ("volume_backups", volume::id(conn, pool, &key.project, &key.name)?),
    })
}

/// Adds a backup.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for its owner.
pub fn insert(tx: &Tx<'_>, owner: &BackupOwner, new: &Backup) -> Result<(), StoreError> {
    let what = subject(owner, &new.name);
    let size = i64::try_from(new.size);
    let size = size.map_err(|_| StoreError::Value { what: what.clone(), why: "its size is more than any file has".into() })?;
    let (table, id) = place(tx, owner)?;
    let values = params![
        tx.next_id(Entity::Backup, table)?,
        id,
        new.name.as_str(),
        new.created_at.to_string(),
        new.expires_at.map(|time| time.to_string()),
        new.without_snapshots,
        new.optimized,
        size,
    ];
    let sql = format!(
        "INSERT INTO {table} (id, owner_id, name, created_at, expires_at, without_snapshots, optimized, size)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    );
    tx.run(&what, &sql, values).map(drop)
}

/// Reads one backup.
///
/// # Errors
/// [`StoreError::NotFound`] for its owner.
pub fn get(conn: &Conn, owner: &BackupOwner, name: &BackupName) -> Result<Option<Backup>, StoreError> {
    let (table, id) = place(conn, owner)?;
    conn.one(
        Entity::Backup,
        &format!("SELECT {COLUMNS} FROM {table} b WHERE b.owner_id = ?1 AND b.name = ?2"),
        params![id, name.as_str()],
        decode,
    )
}

/// Reads the backups of one thing in the order in which they were made.
///
/// # Errors
/// [`StoreError::NotFound`] for their owner.
pub fn of_owner(conn: &Conn, owner: &BackupOwner) -> Result<Vec<Backup>, StoreError> {
    let (table, id) = place(conn, owner)?;
    conn.all(Entity::Backup, &format!("SELECT {COLUMNS} FROM {table} b WHERE b.owner_id = ?1 ORDER BY b.id"), [id], decode)
}

/// Reads the backups of all instances of a project, or of all.
///
/// # Errors
/// Only the database's.
pub fn of_instances(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Owned>, StoreError> {
    let sql = format!(
        "SELECT p.name, i.name, {COLUMNS} FROM instance_backups b JOIN instances i ON i.id = b.owner_id
        JOIN projects p ON p.id = i.project_id WHERE ?1 IS NULL OR p.name = ?1 ORDER BY b.id"
    );
    conn.all(Entity::Backup, &sql, [project.map(ProjectName::as_str)], |columns| {
        let owner = BackupOwner::Instance { project: columns.parse()?, name: columns.parse()? };
        Ok(Owned { owner, backup: decode(columns)? })
    })
}

/// Reads the backups of all users' volumes.
///
/// # Errors
/// Only the database's.
pub fn of_volumes(conn: &Conn) -> Result<Vec<Owned>, StoreError> {
    let sql = format!(
        "SELECT s.name, p.name, v.name, {COLUMNS} FROM volume_backups b JOIN volumes v ON v.id = b.owner_id
        JOIN pools s ON s.id = v.pool_id JOIN projects p ON p.id = v.project_id ORDER BY b.id"
    );
    conn.all(Entity::Backup, &sql, [], |columns| {
        let pool = columns.parse()?;
        let owner = BackupOwner::Volume { pool, key: VolumeKey { project: columns.parse()?, name: columns.parse()? } };
        Ok(Owned { owner, backup: decode(columns)? })
    })
}

/// Reads all backups.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn) -> Result<Vec<Owned>, StoreError> {
    let mut all = of_instances(conn, None)?;
    all.extend(of_volumes(conn)?);
    Ok(all)
}

/// Gives a backup another name.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, owner: &BackupOwner, name: &BackupName, new: &BackupName) -> Result<(), StoreError> {
    if get(tx, owner, name)?.is_none() {
        return Err(StoreError::NotFound(subject(owner, name)));
    }
    let (table, id) = place(tx, owner)?;
    let sql = format!("UPDATE {table} SET name = ?3 WHERE owner_id = ?1 AND name = ?2");
    tx.change(&subject(owner, new), &sql, params![id, name.as_str(), new.as_str()])
}

/// Gives a volume's backups to another volume, which takes its place in another pool.
///
/// # Errors
/// [`StoreError::NotFound`] for one of the two.
pub fn hand_over(tx: &Tx<'_>, from: (&PoolName, &VolumeKey), to: (&PoolName, &VolumeKey)) -> Result<(), StoreError> {
    let id = |(pool, key): (&PoolName, &VolumeKey)| volume::id(tx, pool, &key.project, &key.name);
    let what = volume::subject(&to.1.project, &to.1.name);
    tx.run(&what, "UPDATE volume_backups SET owner_id = ?2 WHERE owner_id = ?1", [id(from)?, id(to)?]).map(drop)
}

/// Forgets a backup.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, owner: &BackupOwner, name: &BackupName) -> Result<(), StoreError> {
    let (table, id) = place(tx, owner)?;
    let sql = format!("DELETE FROM {table} WHERE owner_id = ?1 AND name = ?2");
    tx.change(&subject(owner, name), &sql, params![id, name.as_str()])
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Backup> {
    Ok(Backup {
        name: columns.parse()?,
        created_at: columns.parse()?,
        expires_at: columns.parse_some()?,
        without_snapshots: columns.get()?,
        optimized: columns.get()?,
        size: columns.number()?,
    })
}

fn subject(owner: &BackupOwner, name: &BackupName) -> Subject {
    Subject::within(Entity::Backup, owner.project(), format_args!("{}/{name}", owner.name()))
}
