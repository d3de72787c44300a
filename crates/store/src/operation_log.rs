//! What operations did: remembered for a while, searched, and never needed by anything else.

use std::collections::BTreeMap;

use coffer_model::{LoggedOperation, OperationClass, OperationQuery, OperationStatus, Requestor, Time};
use rusqlite::params;

use crate::conn::{Columns, Conn, Tx, json};
use crate::error::{Entity, StoreError, Subject};

const SELECT: &str = "SELECT uuid, class, description, project, status, error, username, protocol, address, resources, created_at, ended_at
    FROM operation_log";

/// Remembers an operation, or how it is now.
///
/// # Errors
/// Only the database's.
pub fn record(tx: &Tx<'_>, operation: &LoggedOperation) -> Result<(), StoreError> {
    let requestor = operation.requestor.as_ref();
    let values = params![
        tx.next_id(Entity::Operation, "operation_log")?,
        operation.id,
        operation.class.word(),
        operation.description,
        operation.project.as_str(),
        operation.status.word(),
        operation.error,
        requestor.map(|requestor| &requestor.username),
        requestor.map_or("", |requestor| &requestor.protocol),
        requestor.map_or("", |requestor| &requestor.address),
        json(&operation.resources),
        nanoseconds(operation.created_at),
        operation.ended_at.map(nanoseconds),
    ];
    let sql = "INSERT INTO operation_log
        (id, uuid, class, description, project, status, error, username, protocol, address, resources, created_at, ended_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
        ON CONFLICT (uuid) DO UPDATE SET status = excluded.status, error = excluded.error, resources = excluded.resources,
        ended_at = excluded.ended_at";
    tx.run(&Subject::new(Entity::Operation, &operation.id), sql, values).map(drop)
}

/// Forgets what is more than the newest `keep`, and what began before `oldest`. Those that work are kept.
///
/// # Errors
/// Only the database's.
pub fn prune(tx: &Tx<'_>, keep: u64, oldest: Option<Time>) -> Result<(), StoreError> {
    let what = Subject::new(Entity::Operation, "");
    let sql = "DELETE FROM operation_log WHERE ended_at IS NOT NULL AND id <= (SELECT max(id) FROM operation_log) - ?1";
    tx.run(&what, sql, [i64::try_from(keep).unwrap_or(i64::MAX)])?;
    if let Some(oldest) = oldest {
        tx.run(&what, "DELETE FROM operation_log WHERE ended_at IS NOT NULL AND created_at < ?1", [nanoseconds(oldest)])?;
    }
    Ok(())
}

/// Whether operations are remembered as working.
///
/// # Errors
/// Only the database's.
pub fn any_running(conn: &Conn) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM operation_log WHERE ended_at IS NULL)";
    Ok(conn.one(Entity::Operation, sql, [], |columns| columns.get())?.unwrap_or(false))
}

/// Ends all operations that are remembered as working: those of a daemon that is no more.
///
/// # Errors
/// Only the database's.
pub fn cut_off(tx: &Tx<'_>, why: &str, at: Time) -> Result<(), StoreError> {
    let values = params![OperationStatus::Cancelled.word(), why, nanoseconds(at)];
    let sql = "UPDATE operation_log SET status = ?1, error = ?2, ended_at = ?3 WHERE ended_at IS NULL";
    tx.run(&Subject::new(Entity::Operation, ""), sql, values).map(drop)
}

/// Reads what a query wants, the newest first.
///
/// # Errors
/// Only the database's.
pub fn find(conn: &Conn, query: &OperationQuery) -> Result<Vec<LoggedOperation>, StoreError> {
    let sql = format!(
        "{SELECT} WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR instr(resources, ?2) > 0) AND (?3 IS NULL OR username = ?3)
        AND (?4 IS NULL OR status = ?4) AND (?5 IS NULL OR created_at >= ?5) AND (?6 IS NULL OR created_at < ?6)
        ORDER BY id DESC LIMIT ?7"
    );
    let values = params![
        query.project.as_ref().map(|project| project.as_str()),
        query.instance.as_ref().map(|name| json(&format!("/1.0/instances/{name}"))),
        query.username,
        query.status.map(OperationStatus::word),
        query.since.map(nanoseconds),
        query.until.map(nanoseconds),
        query.limit,
    ];
    conn.all(Entity::Operation, &sql, values, decode)
}

/// Nanoseconds since 1970; what is centuries away is as far as the number goes.
pub(crate) fn nanoseconds(time: Time) -> i64 {
    let exact = time.as_nanosecond();
    i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
}

/// The moment that many nanoseconds after 1970.
pub(crate) fn time(nanoseconds: i64) -> Time {
    Time::from_nanosecond(nanoseconds.into()).expect("64 bits of nanoseconds are within the calendar")
}

fn decode(columns: &mut Columns<'_>) -> rusqlite::Result<LoggedOperation> {
    Ok(LoggedOperation {
        id: columns.get()?,
        class: columns.word(OperationClass::from_word)?,
        description: columns.get()?,
        project: columns.parse()?,
        status: columns.word(OperationStatus::from_word)?,
        error: columns.get()?,
        requestor: {
            let (username, protocol, address): (Option<String>, _, _) = (columns.get()?, columns.get()?, columns.get()?);
            username.map(|username| Requestor { username, protocol, address })
        },
        resources: columns.json::<BTreeMap<String, Vec<String>>>()?,
        created_at: time(columns.get()?),
        ended_at: columns.get::<Option<i64>>()?.map(time),
    })
}
