//! Backups of instances: files in the state directory that this table knows.

use coffer_model::{BackupName, InstanceBackup, InstanceName, ProjectName};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx};
use crate::error::{Entity, StoreError, Subject};
use crate::instance;

const SELECT: &str = "SELECT p.name, i.name, b.name, b.created_at, b.expires_at, b.instance_only, b.size
    FROM instance_backups b JOIN instances i ON i.id = b.instance_id JOIN projects p ON p.id = i.project_id";

/// A backup with the instance that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The instance's project.
    pub project: ProjectName,
    /// The instance.
    pub instance: InstanceName,
    /// The backup.
    pub backup: InstanceBackup,
}

/// Adds a backup to an instance.
///
/// # Errors
/// [`StoreError::Exists`], or [`StoreError::NotFound`] for the instance.
pub fn insert(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName, new: &InstanceBackup) -> Result<(), StoreError> {
    let what = subject(project, instance, &new.name);
    let size = i64::try_from(new.size);
    let size = size.map_err(|_| StoreError::Value { what: what.clone(), why: "its size is more than any file has".into() })?;
    let values = params![
        tx.next_id(Entity::Backup, "instance_backups")?,
        instance::id(tx, project, instance)?,
        new.name.as_str(),
        new.created_at.to_string(),
        new.expires_at.map(|time| time.to_string()),
        new.instance_only,
        size,
    ];
    let sql = "INSERT INTO instance_backups (id, instance_id, name, created_at, expires_at, instance_only, size)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    tx.run(&what, sql, values).map(drop)
}

/// Reads one backup.
///
/// # Errors
/// Only the database's.
pub fn get(conn: &Conn, project: &ProjectName, instance: &InstanceName, name: &BackupName) -> Result<Option<InstanceBackup>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND i.name = ?2 AND b.name = ?3");
    let found = conn.one(Entity::Backup, &sql, [project.as_str(), instance.as_str(), name.as_str()], decode)?;
    Ok(found.map(|owned| owned.backup))
}

/// Reads an instance's backups in the order in which they were made.
///
/// # Errors
/// Only the database's.
pub fn of_instance(conn: &Conn, project: &ProjectName, instance: &InstanceName) -> Result<Vec<InstanceBackup>, StoreError> {
    let sql = format!("{SELECT} WHERE p.name = ?1 AND i.name = ?2 ORDER BY b.id");
    let found = conn.all(Entity::Backup, &sql, [project.as_str(), instance.as_str()], decode)?;
    Ok(found.into_iter().map(|owned| owned.backup).collect())
}

/// Reads the backups of all instances of a project, or of all.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn, project: Option<&ProjectName>) -> Result<Vec<Owned>, StoreError> {
    conn.all(Entity::Backup, &format!("{SELECT} WHERE ?1 IS NULL OR p.name = ?1 ORDER BY b.id"), [project.map(ProjectName::as_str)], decode)
}

/// Gives a backup another name.
///
/// # Errors
/// [`StoreError::NotFound`], or [`StoreError::Exists`] for the new name.
pub fn rename(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName, name: &BackupName, new: &BackupName) -> Result<(), StoreError> {
    if get(tx, project, instance, name)?.is_none() {
        return Err(StoreError::NotFound(subject(project, instance, name)));
    }
    let values = params![instance::id(tx, project, instance)?, name.as_str(), new.as_str()];
    tx.change(&subject(project, instance, new), "UPDATE instance_backups SET name = ?3 WHERE instance_id = ?1 AND name = ?2", values)
}

/// Forgets a backup.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, project: &ProjectName, instance: &InstanceName, name: &BackupName) -> Result<(), StoreError> {
    let values = params![instance::id(tx, project, instance)?, name.as_str()];
    tx.change(&subject(project, instance, name), "DELETE FROM instance_backups WHERE instance_id = ?1 AND name = ?2", values)
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Owned> {
    Ok(Owned {
        project: columns.parse()?,
        instance: columns.parse()?,
        backup: InstanceBackup {
            name: columns.parse()?,
            created_at: columns.parse()?,
            expires_at: columns.parse_some()?,
            instance_only: columns.get()?,
            size: columns.number()?,
        },
    })
}

fn subject(project: &ProjectName, instance: &InstanceName, name: &BackupName) -> Subject {
    Subject::within(Entity::Backup, project, format_args!("{instance}/{name}"))
}
