//! Opening the database's file: what is checked before anything is written to it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::conn::Conn;
use crate::error::StoreError;
use crate::migration::{self, Migration};

/// The database's file in its directory.
pub(crate) const FILE: &str = "coffer.db";

/// Marks our databases among SQLite's: `Cofr`.
pub(crate) const APPLICATION_ID: i32 = 0x436f_6672;

/// Up to here the whole database is checked at each start (about a millisecond a megabyte); a larger one only after
/// a server that did not end by itself.
const ALWAYS_CHECKED: u64 = 8 << 20;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long the lock of a server that was killed a moment ago may outlive it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes the directory where it is missing, and takes it for this server. The returned file holds the lock.
pub(crate) fn take_directory(directory: &Path) -> Result<File, StoreError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |cause| file_error(doing, path, cause)
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed("closing to others", directory))?;
        }
        made => made.map_err(failed("making directory", directory))?,
    }
    let path = directory.join("lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed("opening", &path))?;
    let taken = coffer_base::lock::exclusive(lock, PATIENCE).map_err(|cause| file_error("locking", path, cause))?;
    taken.ok_or_else(|| StoreError::Taken { directory: directory.to_owned() })
}

/// Opens the connection that writes, on a database that is sound and up to date.
pub(crate) fn writer(path: &Arc<Path>, migrations: &[Migration]) -> Result<Conn, StoreError> {
    let unclean = first_look(path)?;
    let conn = connect(path)?;
    let opening = |cause| conn.fail(cause, |cause| StoreError::Open { path: path.to_path_buf(), cause });
    identify(&conn, migrations)?;
    if unclean || std::fs::metadata(path).is_ok_and(|meta| meta.len() <= ALWAYS_CHECKED) {
        quick_check(&conn)?;
    }
    let mode: String = conn.raw.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(opening)?;
    if mode != "wal" {
        let cause = io::Error::new(io::ErrorKind::Unsupported, "its file system has no shared memory for a write-ahead log");
        return Err(file_error("opening", path.to_path_buf(), cause));
    }
    migration::migrate(&conn, migrations)?;
    conn.raw.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(opening)?;
    Ok(conn)
}

/// Opens a connection that reads.
pub(crate) fn reader(path: &Arc<Path>) -> Result<Conn, StoreError> {
    let conn = connect(path)?;
    let set = conn.raw.pragma_update(None, "query_only", true);
    set.map_err(|cause| conn.fail(cause, |cause| StoreError::Open { path: path.to_path_buf(), cause }))?;
    Ok(conn)
}

/// Looks at the files before SQLite does; makes the database's file, closed to others, where there is none.
///
/// Says whether the last server left a write-ahead log behind, so did not end by itself.
fn first_look(path: &Path) -> Result<bool, StoreError> {
    let failed = |doing| move |cause| file_error(doing, path.to_owned(), cause);
    let log = std::fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len());
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed("opening"))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed("closing to others"))?;
    let mut head = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut head).map_err(failed("reading"))?;
    let corrupt = |why: &str| Err(StoreError::Corrupt { path: path.to_owned(), why: why.into() });
    match (head.as_slice(), log) {
        // SQLite would take this for a new database and throw the log away.
        ([], 1..) => corrupt("it is empty, but a write-ahead log with changes is beside it"),
        ([], 0) => Ok(false),
        (head, _) if head == MAGIC => Ok(log > 0),
        _ => corrupt("it does not begin as a database does"),
    }
}

/// Opens a connection with the settings that all have.
fn connect(path: &Arc<Path>) -> Result<Conn, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let open = |cause| StoreError::Open { path: path.to_path_buf(), cause };
    let conn = Conn { raw: Connection::open_with_flags(path, flags).map_err(open)?, path: Arc::clone(path) };
    settings(&conn.raw).map_err(|cause| conn.fail(cause, open))?;
    Ok(conn)
}

fn settings(conn: &Connection) -> rusqlite::Result<()> {
    // First of all: until the database is known to be sound, a close must not move anything from the log into the file.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.busy_timeout(Duration::from_secs(10))?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
    // Synchronous FULL syncs the log at each commit, so that a commit outlives a power loss. Temporary tables in memory
    // need no room on a full disk. The cache is in KiB, and there is one for each connection.
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON; PRAGMA cache_size = -1024")
}

/// Refuses what is not ours, or too new.
fn identify(conn: &Conn, migrations: &[Migration]) -> Result<(), StoreError> {
    let numbers = || {
        let version: u32 = conn.raw.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let application: i32 = conn.raw.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: i64 = conn.raw.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        Ok((version, application, tables))
    };
    let path = || conn.path.to_path_buf();
    let (version, application, tables) = numbers().map_err(|cause| conn.fail(cause, |cause| StoreError::Open { path: path(), cause }))?;
    let new = version == 0 && tables == 0;
    if !new && application != APPLICATION_ID {
        return Err(StoreError::Corrupt { path: path(), why: "it is a database of another program".into() });
    }
    match migration::newest(migrations) {
        known if version > known => Err(StoreError::Newer { path: path(), found: version, known }),
        _ => Ok(()),
    }
}

fn quick_check(conn: &Conn) -> Result<(), StoreError> {
    let path = || conn.path.to_path_buf();
    let found: String = conn
        .raw
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|cause| conn.fail(cause, |cause| StoreError::Open { path: path(), cause }))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt { path: path(), why: found.trim().replace('\n', ", ") }) }
}

/// The path of a file beside the database's whose name begins with the database's.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Says what the file system refused; a full disk by its own name.
pub(crate) fn file_error(doing: &'static str, path: PathBuf, cause: io::Error) -> StoreError {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::File { doing, path, cause },
    }
}
