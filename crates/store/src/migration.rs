//! The steps from an empty file to the newest layout, each in a transaction of its own.
//!
//! A released step is never changed; what it did is mended by a later one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::conn::Conn;
use crate::error::StoreError;
use crate::open::{beside, file_error};

/// One step. Step N (counted from 1) makes a database of version N out of one of version N − 1.
pub(crate) struct Migration {
    /// What it does, for the error that says it failed.
    pub(crate) name: &'static str,
    /// Does it. Foreign keys are not enforced meanwhile, so tables may be rebuilt; they are checked as a whole after it.
    pub(crate) apply: fn(&Connection) -> rusqlite::Result<()>,
}

/// All steps in order.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration { name: "the first tables", apply: |conn| conn.execute_batch(include_str!("schema/0001.sql")) },
    Migration { name: "snapshots of instances", apply: |conn| conn.execute_batch(include_str!("schema/0002.sql")) },
    Migration { name: "users' volumes and their snapshots", apply: |conn| conn.execute_batch(include_str!("schema/0003.sql")) },
    Migration { name: "trusted certificates", apply: |conn| conn.execute_batch(include_str!("schema/0004.sql")) },
    Migration { name: "where images came from", apply: |conn| conn.execute_batch(include_str!("schema/0005.sql")) },
    Migration { name: "backups of instances", apply: |conn| conn.execute_batch(include_str!("schema/0006.sql")) },
    Migration { name: "the log of operations", apply: |conn| conn.execute_batch(include_str!("schema/0007.sql")) },
    Migration { name: "warnings, and certificates for the metrics", apply: |conn| conn.execute_batch(include_str!("schema/0008.sql")) },
    Migration { name: "backups of volumes", apply: |conn| conn.execute_batch(include_str!("schema/0009.sql")) },
];

/// The version that a list of steps leads to.
pub(crate) fn newest(migrations: &[Migration]) -> u32 {
    u32::try_from(migrations.len()).expect("the steps are written by hand")
}

/// Takes all steps that are missing. A copy of what is there is kept before the first.
pub(crate) fn migrate(conn: &Conn, migrations: &[Migration]) -> Result<(), StoreError> {
    let open = |cause| conn.fail(cause, |cause| StoreError::Open { path: conn.path.to_path_buf(), cause });
    let have: u32 = conn.raw.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(open)?;
    if have >= newest(migrations) {
        return Ok(());
    }
    if have > 0 {
        keep_copy(conn, have)?;
    }
    conn.raw.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false).map_err(open)?;
    for (version, migration) in (1..).zip(migrations).skip(have as usize) {
        step(&conn.raw, version, migration).map_err(|cause| {
            conn.fail(cause, |cause| StoreError::Migrate { path: conn.path.to_path_buf(), version, step: migration.name, cause })
        })?;
    }
    conn.raw.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true).map_err(open)?;
    Ok(())
}

fn step(conn: &Connection, version: u32, migration: &Migration) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    (migration.apply)(conn)?;
    if let Some(table) = dangling(conn)? {
        return Err(rusqlite::Error::ToSqlConversionFailure(format!("table {table} would refer to what is not there").into()));
    }
    conn.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// A table with a reference to nothing.
fn dangling(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
    let mut tables = statement.query_map([], |row| row.get(0))?;
    tables.next().transpose()
}

/// Keeps the database as it is now as `coffer.db.bak-VERSION`; a copy of that name gives way only to a whole one.
fn keep_copy(conn: &Conn, version: u32) -> Result<(), StoreError> {
    let kept = beside(&conn.path, &format!(".bak-{version}"));
    let new = beside(&kept, ".new");
    let result = write_copy(conn, &new)
        .and_then(|()| std::fs::rename(&new, &kept).map_err(|cause| file_error("keeping a copy of the database as", kept.clone(), cause)));
    if result.is_err() {
        // What is left of the attempt is of no use; should even this fail, the next attempt removes it.
        let _ = std::fs::remove_file(&new);
        return result;
    }
    sync_directory(&kept)
}

fn write_copy(conn: &Conn, new: &std::path::Path) -> Result<(), StoreError> {
    const DOING: &str = "writing a copy of the database to";
    let failed = |cause| file_error(DOING, new.to_owned(), cause);
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => (),
    }
    // SQLite writes into an empty file that is there, and keeps its mode.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new).map_err(failed)?;
    conn.raw
        .execute("VACUUM INTO ?1", [new.to_string_lossy()])
        .map_err(|cause| conn.fail(cause, |cause| StoreError::Open { path: new.to_owned(), cause }))?;
    file.sync_all().map_err(failed)
}

fn sync_directory(path: &std::path::Path) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|cause| file_error("syncing directory", directory.to_owned(), cause))
}
