//! Warnings, at most one of each kind for each thing.

use coffer_model::{ProjectName, Time, Warning, WarningKind, WarningStatus};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx};
use crate::error::{Entity, StoreError, Subject};
use crate::operation_log::{nanoseconds, time};

const SELECT: &str = "SELECT uuid, kind, entity, project, status, count, first_seen_at, last_seen_at, message FROM warnings";

/// Notes that something is wrong: counted, if it is known. What was over is new again.
///
/// # Errors
/// Only the database's.
pub fn raise(tx: &Tx<'_>, warning: &Warning) -> Result<(), StoreError> {
    let values = params![
        tx.next_id(Entity::Warning, "warnings")?,
        warning.id,
        warning.kind.words(),
        warning.entity,
        warning.project.as_ref().map_or("", ProjectName::as_str),
        warning.status.word(),
        nanoseconds(warning.first_seen_at),
        nanoseconds(warning.last_seen_at),
        warning.message,
    ];
    let sql = "INSERT INTO warnings (id, uuid, kind, entity, project, status, count, first_seen_at, last_seen_at, message)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9)
        ON CONFLICT (kind, entity, project) DO UPDATE SET count = count + 1, last_seen_at = excluded.last_seen_at,
        message = excluded.message, status = CASE status WHEN 'resolved' THEN 'new' ELSE status END";
    tx.run(&subject(&warning.id), sql, values).map(drop)
}

/// Notes that something is well again.
///
/// # Errors
/// Only the database's.
pub fn resolve(tx: &Tx<'_>, kind: WarningKind, entity: &str, project: Option<&ProjectName>, at: Time) -> Result<(), StoreError> {
    let values = params![kind.words(), entity, project.map_or("", ProjectName::as_str), nanoseconds(at)];
    let sql = "UPDATE warnings SET status = 'resolved', last_seen_at = ?4
        WHERE kind = ?1 AND entity = ?2 AND project = ?3 AND status <> 'resolved'";
    tx.run(&subject(""), sql, values).map(drop)
}

/// Forgets what is about a thing that is gone.
///
/// # Errors
/// Only the database's.
pub fn forget(tx: &Tx<'_>, entity: &str, project: Option<&ProjectName>) -> Result<(), StoreError> {
    let values = params![entity, project.map_or("", ProjectName::as_str)];
    tx.run(&subject(""), "DELETE FROM warnings WHERE entity = ?1 AND project = ?2", values).map(drop)
}

/// Forgets what was over before a moment.
///
/// # Errors
/// Only the database's.
pub fn prune(tx: &Tx<'_>, before: Time) -> Result<(), StoreError> {
    let sql = "DELETE FROM warnings WHERE status = 'resolved' AND last_seen_at < ?1";
    tx.run(&subject(""), sql, [nanoseconds(before)]).map(drop)
}

/// Reads all warnings in the order in which they were first seen.
///
/// # Errors
/// Only the database's.
pub fn list(conn: &Conn) -> Result<Vec<Warning>, StoreError> {
    conn.all(Entity::Warning, &format!("{SELECT} ORDER BY id"), [], decode)
}

/// Notes how far a warning is.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_status(tx: &Tx<'_>, id: &str, status: WarningStatus) -> Result<(), StoreError> {
    tx.change(&subject(id), "UPDATE warnings SET status = ?2 WHERE uuid = ?1", [id, status.word()])
}

/// Removes a warning.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<(), StoreError> {
    tx.change(&subject(id), "DELETE FROM warnings WHERE uuid = ?1", [id])
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<Warning> {
    Ok(Warning {
        id: columns.get()?,
        kind: columns.word(WarningKind::from_words)?,
        entity: columns.get()?,
        project: columns.get::<Option<String>>()?.and_then(|name| name.parse().ok()),
        status: columns.word(WarningStatus::from_word)?,
        count: columns.number()?,
        first_seen_at: time(columns.get()?),
        last_seen_at: time(columns.get()?),
        message: columns.get()?,
    })
}

fn subject(id: &str) -> Subject {
    Subject::new(Entity::Warning, id)
}
