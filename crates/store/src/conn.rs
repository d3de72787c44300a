//! Connections and transactions, and how rows are read and written through them.

use std::error::Error;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, Params, Row, Transaction, TransactionBehavior, ffi};
use serde::de::DeserializeOwned;

use crate::error::{Entity, StoreError, Subject};

/// The view that a read has: one consistent state of everything.
#[derive(Debug)]
pub struct Conn {
    pub(crate) raw: Connection,
    pub(crate) path: Arc<Path>,
}

/// A write transaction. It reads too, and sees what it wrote.
#[derive(Debug)]
pub struct Tx<'c> {
    conn: &'c Conn,
}

impl Deref for Tx<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn
    }
}

impl Conn {
    /// Runs a closure over one consistent state.
    pub(crate) fn snapshot<T, E: From<StoreError>>(&self, read: impl FnOnce(&Conn) -> Result<T, E>) -> Result<T, E> {
        // Ended by its drop: there is nothing to commit.
        let _snapshot = self.begin(TransactionBehavior::Deferred)?;
        read(self)
    }

    /// Runs a closure in a write transaction; an error or panic of the closure takes everything back.
    pub(crate) fn transaction<T, E: From<StoreError>>(&self, write: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        let transaction = self.begin(TransactionBehavior::Immediate)?;
        let value = write(&Tx { conn: self })?;
        transaction.commit().map_err(|cause| self.fail(cause, |cause| StoreError::Transaction { doing: "committing", cause }))?;
        Ok(value)
    }

    /// Runs a closure in a write transaction whose commit does not wait for the disk.
    pub(crate) fn unsynced<T, E: From<StoreError>>(&self, write: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        self.synchronous("NORMAL")?;
        // A panic of the closure must not leave the connection careless.
        let result = catch_unwind(AssertUnwindSafe(|| self.transaction(write)));
        self.synchronous("FULL")?;
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn synchronous(&self, how: &'static str) -> Result<(), StoreError> {
        let set = self.raw.pragma_update(None, "synchronous", how);
        set.map_err(|cause| self.fail(cause, |cause| StoreError::Transaction { doing: "beginning", cause }))
    }

    fn begin(&self, behavior: TransactionBehavior) -> Result<Transaction<'_>, StoreError> {
        Transaction::new_unchecked(&self.raw, behavior)
            .map_err(|cause| self.fail(cause, |cause| StoreError::Transaction { doing: "beginning", cause }))
    }

    /// Reads all rows of a query.
    pub(crate) fn all<T>(
        &self,
        entity: Entity,
        sql: &str,
        params: impl Params,
        decode: impl Fn(&mut Columns<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = || {
            let mut statement = self.raw.prepare_cached(sql)?;
            let rows = statement.query_map(params, |row| decode(&mut Columns { row, next: 0 }))?;
            rows.collect::<rusqlite::Result<Vec<T>>>()
        };
        rows().map_err(|cause| self.fail(cause, |cause| StoreError::Read { entity, cause }))
    }

    /// Reads the only row of a query, if there is one.
    pub(crate) fn one<T>(
        &self,
        entity: Entity,
        sql: &str,
        params: impl Params,
        decode: impl Fn(&mut Columns<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.all(entity, sql, params, decode)?.pop())
    }

    /// Turns SQLite's error into what it means for the user, or into what `other` makes of it.
    pub(crate) fn fail(&self, cause: rusqlite::Error, other: impl FnOnce(rusqlite::Error) -> StoreError) -> StoreError {
        let path = || self.path.to_path_buf();
        match (cause.sqlite_error_code(), extended(&cause)) {
            (Some(ErrorCode::DiskFull), _) => StoreError::Full { path: path() },
            // The shared-memory file beside the database is grown by writing, and that has its own code.
            (_, Some(ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_FSYNC)) if no_room(&self.path) => {
                StoreError::Full { path: path() }
            }
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => StoreError::Corrupt { path: path(), why: cause.to_string() },
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => StoreError::Busy { path: path() },
            _ => other(cause),
        }
    }
}

impl Tx<'_> {
    /// Runs a statement that writes `what`, and returns how many rows it touched.
    pub(crate) fn run(&self, what: &Subject, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        let run = || self.raw.prepare_cached(sql)?.execute(params);
        run().map_err(|cause| match extended(&cause) {
            Some(ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => StoreError::Exists(what.clone()),
            // What RESTRICT refuses carries the code of a trigger.
            Some(ffi::SQLITE_CONSTRAINT_FOREIGNKEY | ffi::SQLITE_CONSTRAINT_TRIGGER) => {
                StoreError::InUse { what: what.clone(), by: "something else".into() }
            }
            _ => self.fail(cause, |cause| StoreError::Write { what: what.clone(), cause }),
        })
    }

    /// Runs a statement that must touch `what`'s row.
    pub(crate) fn change(&self, what: &Subject, sql: &str, params: impl Params) -> Result<(), StoreError> {
        match self.run(what, sql, params)? {
            0 => Err(StoreError::NotFound(what.clone())),
            _ => Ok(()),
        }
    }

    /// The id that the next row of a table gets: one more than the greatest.
    pub(crate) fn next_id(&self, entity: Entity, table: &'static str) -> Result<i64, StoreError> {
        let id = self.one(entity, &format!("SELECT coalesce(max(id), 0) + 1 FROM {table}"), [], |columns| columns.get())?;
        Ok(id.unwrap_or(1))
    }
}

/// Reads a row's columns from left to right.
pub(crate) struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    /// The next column, as SQLite has it.
    pub(crate) fn get<T: rusqlite::types::FromSql>(&mut self) -> rusqlite::Result<T> {
        self.next += 1;
        self.row.get(self.next - 1)
    }

    /// The next column, parsed from text.
    pub(crate) fn parse<T: FromStr>(&mut self) -> rusqlite::Result<T>
    where
        T::Err: Error + Send + Sync + 'static,
    {
        self.text()?.parse().map_err(|error| self.unreadable(error))
    }

    /// The next column, parsed from text; `None` for NULL.
    pub(crate) fn parse_some<T: FromStr>(&mut self) -> rusqlite::Result<Option<T>>
    where
        T::Err: Error + Send + Sync + 'static,
    {
        let text = self.row.get_ref(self.next)?.as_str_or_null()?;
        self.next += 1;
        text.map(|text| text.parse().map_err(|error| self.unreadable(error))).transpose()
    }

    /// The next column, read from JSON.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        serde_json::from_str(self.text()?).map_err(|error| self.unreadable(error))
    }

    /// The next column, a whole number that is not negative.
    pub(crate) fn number(&mut self) -> rusqlite::Result<u64> {
        let number: i64 = self.get()?;
        u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(self.next - 1, number))
    }

    /// The next column, read by a function that knows its closed set of words.
    pub(crate) fn word<T>(&mut self, read: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
        let word = self.text()?;
        read(word).ok_or_else(|| self.unreadable(UnknownWord(word.to_owned())))
    }

    fn text(&mut self) -> rusqlite::Result<&'r str> {
        self.next += 1;
        let index = self.next - 1;
        let value = self.row.get_ref(index)?;
        value.as_str().map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, value.data_type(), Box::new(error)))
    }

    fn unreadable(&self, error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(self.next - 1, Type::Text, Box::new(error))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown word {0:?}")]
struct UnknownWord(String);

/// Writes a value as JSON.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps and lists of strings always serialise")
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

fn no_room(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|fs| fs.f_bavail == 0)
}
