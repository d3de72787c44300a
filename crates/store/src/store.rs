//! The store: one connection that writes, a few that read.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::conn::{Conn, Tx};
use crate::error::StoreError;
use crate::migration::{MIGRATIONS, Migration};
use crate::open;

/// Connections for reading that are kept open while nobody reads. More are made when more threads read at once.
const IDLE_READERS: usize = 4;

/// The open database. It is shared between threads; its methods block and belong on threads that may.
///
/// A read sees one consistent state and waits for nobody. Writes come one after the other; each is durable when its
/// function returns.
#[derive(Debug)]
pub struct Store {
    // In this order they are dropped: the writer's close empties the write-ahead log, and then others may have the directory.
    idle: Mutex<Vec<Conn>>,
    writer: Mutex<Conn>,
    path: Arc<Path>,
    _lock: File,
}

impl Store {
    /// Opens the database in `directory`, and makes both where they are missing.
    ///
    /// An older database is brought up to date, after a copy of it was put beside it as `coffer.db.bak-VERSION`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::Newer`], which leave the file untouched, [`StoreError::Taken`] while
    /// another server runs, [`StoreError::Full`], and what the file system says.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with(directory, MIGRATIONS)
    }

    /// Says whether `directory` holds a database already.
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        directory.join(open::FILE).exists()
    }

    /// Opens the database with a chosen list of migrations.
    pub(crate) fn open_with(directory: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        let lock = open::take_directory(directory)?;
        let path: Arc<Path> = directory.join(open::FILE).into();
        let writer = open::writer(&path, migrations)?;
        Ok(Self { idle: Mutex::default(), writer: Mutex::new(writer), path, _lock: lock })
    }

    /// Reads.
    ///
    /// # Errors
    /// The closure's, and what beginning a transaction says.
    pub fn read<T>(&self, read: impl FnOnce(&Conn) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.try_read(read)
    }

    /// Writes, all or nothing.
    ///
    /// # Errors
    /// The closure's, and what beginning or committing a transaction says; nothing was changed then.
    pub fn write<T>(&self, write: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.try_write(write)
    }

    /// Reads, where the closure has errors of its own.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn try_read<T, E: From<StoreError>>(&self, read: impl FnOnce(&Conn) -> Result<T, E>) -> Result<T, E> {
        let idle = lock(&self.idle).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open::reader(&self.path)?,
        };
        let result = conn.snapshot(read);
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_READERS {
            idle.push(conn);
        }
        result
    }

    /// Writes, where the closure has errors of its own: checks and what depends on them are one step.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn try_write<T, E: From<StoreError>>(&self, write: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        lock(&self.writer).transaction(write)
    }

    /// Writes, all or nothing, without waiting for the disk: what was written outlives the server, but a power loss may take
    /// back the last of it, up to the next [`Store::write`] or [`Store::settle`]. For records that nothing else depends on.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_behind<T>(&self, write: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        lock(&self.writer).unsynced(write)
    }

    /// Waits until the disk has all that was written so far, so that a power loss takes nothing of it back.
    ///
    /// # Errors
    /// [`StoreError::Full`], and what the file system says.
    pub fn settle(&self) -> Result<(), StoreError> {
        let log = open::beside(&self.path, "-wal");
        let synced = File::open(&log).and_then(|file| file.sync_data());
        synced.map_err(|cause| open::file_error("writing out", log, cause))
    }
}

/// A panic in a closure has rolled its transaction back, so what the mutex guards is still sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
