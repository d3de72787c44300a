//! Files that are older, newer, foreign or damaged, and what stays of them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use super::*;
use crate::migration::{MIGRATIONS, Migration};

/// The files of a store that was closed, with a few instances in it.
fn closed(directory: &Path) -> PathBuf {
    let store = with_pool(directory);
    for named in 0..40 {
        let mut instance = some_instance(&format!("i{named}"));
        instance.config.set("user.text", "x".repeat(2000));
        add(&store, instance).unwrap();
    }
    drop(store);
    directory.join("database/coffer.db")
}

/// The files of a store whose server was killed after one more write: copied away while it was open.
fn killed(directory: &Path) -> PathBuf {
    let path = closed(directory);
    let store = open(directory);
    add(&store, some_instance("web")).unwrap();
    let copy = directory.join("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in ["coffer.db", "coffer.db-wal"] {
        std::fs::copy(path.with_file_name(file), copy.join(file)).unwrap();
    }
    copy.join("coffer.db")
}

#[track_caller]
fn check(path: &Path, expect: &str) {
    let before = std::fs::read(path).unwrap();
    let log = || std::fs::read(format!("{}-wal", path.display())).unwrap_or_default();
    let log_before = log();
    let directory = path.parent().unwrap();
    let said = says(Store::open(directory)).replace(&directory.display().to_string(), "DIR");
    assert!(said.contains(expect), "{said}");
    assert!(before == std::fs::read(path).unwrap(), "the database's file was changed");
    assert!(log_before == log(), "the log was changed");
}

#[test]
fn only_root_can_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let mode = |name: &str| std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("database"), 0o700);
    for file in ["coffer.db", "coffer.db-wal", "coffer.db-shm", "lock"] {
        assert_eq!(mode(&format!("database/{file}")), 0o600, "{file}");
    }
    drop(store);
}

#[test]
fn two_servers_cannot_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    let second = says(Store::open(&directory.path().join("database"))).replace(&directory.path().display().to_string(), "DIR");
    assert_eq!(second, "another server uses the database in DIR/database; stop it first");
    drop(first);
    open(directory.path());
}

#[test]
fn a_killed_server_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = killed(directory.path());
    let store = Store::open(path.parent().unwrap()).unwrap();
    assert_eq!(store.read(|conn| instance::count(conn, None)).unwrap(), 41);
    let web = store.read(|conn| instance::get(conn, &default_project(), &name("web"))).unwrap();
    assert_eq!(web, Some(some_instance("web")));
}

#[test]
fn a_closed_database_is_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    let mut files: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["coffer.db", "lock"]);
}

#[test]
fn garbage_is_said_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"not a database", 0).unwrap();
    check(&path, "database DIR/coffer.db is damaged: it does not begin as a database does; it was left as it is; put an intact copy");
}

#[test]
fn a_garbage_page_is_said_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    let pages = std::fs::metadata(&path).unwrap().len() / 4096;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    // Every page in turn, the first after its magic.
    for page in 0..pages {
        let whole = std::fs::read(&path).unwrap();
        let from = page * 4096 + if page == 0 { 100 } else { 0 };
        file.write_all_at(&[0xa5; 3000], from).unwrap();
        check(&path, "is damaged: ");
        file.write_all_at(&whole, 0).unwrap();
    }
    Store::open(path.parent().unwrap()).unwrap();
}

#[test]
fn a_truncated_file_is_said_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let whole = file.metadata().unwrap().len();
    for length in [whole - 4096, whole / 2, 4096, 5000, 100, 10] {
        let kept = std::fs::read(&path).unwrap();
        file.set_len(length).unwrap();
        check(&path, "is damaged: ");
        file.write_all_at(&kept, 0).unwrap();
    }
    Store::open(path.parent().unwrap()).unwrap();
}

#[test]
fn an_empty_file_does_not_cost_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = killed(directory.path());
    File::create(&path).unwrap();
    check(&path, "is damaged: it is empty, but a write-ahead log with changes is beside it");
}

#[test]
fn a_damaged_file_keeps_its_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = killed(directory.path());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for page in 1..file.metadata().unwrap().len() / 4096 {
        file.write_all_at(&[0xa5; 4096], page * 4096).unwrap();
    }
    check(&path, "is damaged: ");
}

#[test]
fn another_programs_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("coffer.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE songs (id INTEGER PRIMARY KEY)").unwrap();
    check(&path, "it is a database of another program");
}

#[test]
fn a_newer_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1000").unwrap();
    let newest = MIGRATIONS.len();
    let expect = format!("database DIR/coffer.db was written by a newer coffer (its version is 1000, this program knows {newest})");
    check(&path, &expect);
}

#[test]
fn every_table_has_a_primary_key_and_no_surprises() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    let conn = rusqlite::Connection::open(&path).unwrap();
    let mut statement = conn.prepare("SELECT type, name, sql FROM sqlite_master").unwrap();
    let objects = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let objects: Vec<(String, String, Option<String>)> = objects.map(Result::unwrap).collect();
    assert!(objects.iter().filter(|(kind, ..)| kind == "table").count() >= 11);
    for (kind, name, sql) in objects {
        assert!(kind == "table" || kind == "index", "{kind} {name}");
        assert!(!sql.unwrap_or_default().to_uppercase().contains("AUTOINCREMENT"), "{name}");
        if kind == "table" {
            let keys: i64 = conn.query_row("SELECT count(*) FROM pragma_table_info(?1) WHERE pk > 0", [&name], |row| row.get(0)).unwrap();
            let nullable: i64 = conn
                .query_row("SELECT count(*) FROM pragma_table_info(?1) WHERE pk > 0 AND \"notnull\" = 0", [&name], |row| row.get(0))
                .unwrap();
            assert!(keys > 0, "table {name} has no primary key");
            assert_eq!(nullable, 0, "table {name} has a primary key that may be NULL");
        }
    }
}

/// What a database of the newest version looks like, as text.
fn schema(directory: &Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(directory.join("coffer.db")).unwrap();
    let mut statement = conn.prepare("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master ORDER BY 1").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn each_older_version_comes_up_to_the_newest() {
    let fresh = tempfile::tempdir().unwrap();
    drop(Store::open_with(&fresh.path().join("d"), MIGRATIONS).unwrap());
    for version in 1..MIGRATIONS.len() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d");
        drop(Store::open_with(&path, &MIGRATIONS[..version]).unwrap());
        drop(Store::open(&path).unwrap());
        assert_eq!(schema(&path), schema(&fresh.path().join("d")), "from version {version}");
        assert!(path.join(format!("coffer.db.bak-{version}")).exists());
    }
}

const ADD_COLUMN: Migration =
    Migration { name: "a column", apply: |conn| conn.execute_batch("ALTER TABLE pools ADD COLUMN note TEXT NOT NULL DEFAULT ''") };

/// Rebuilds a table that others refer to, as SQLite demands for many changes.
const REBUILD: Migration = Migration {
    name: "a rebuilt table",
    apply: |conn| {
        conn.execute_batch(
            "CREATE TABLE new (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL,
                driver TEXT NOT NULL, config TEXT NOT NULL, made INTEGER NOT NULL) STRICT;
             INSERT INTO new SELECT id, name, description, driver, config, made FROM pools;
             DROP TABLE pools;
             ALTER TABLE new RENAME TO pools;",
        )
    },
};

const FAIL: Migration =
    Migration { name: "a failure", apply: |conn| conn.execute_batch("DELETE FROM instances; SELECT * FROM no_such_table") };

const LEAVE_DANGLING: Migration = Migration { name: "a careless one", apply: |conn| conn.execute_batch("DELETE FROM pools") };

fn steps(more: &[fn() -> Migration]) -> Vec<Migration> {
    let own = MIGRATIONS.iter().map(|step| Migration { name: step.name, apply: step.apply });
    own.chain(more.iter().map(|step| step())).collect()
}

#[test]
fn steps_keep_a_copy_and_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    let directory = path.parent().unwrap();
    let before = schema(directory);
    let store = Store::open_with(directory, &steps(&[|| ADD_COLUMN, || REBUILD])).unwrap();
    assert_eq!(store.read(|conn| instance::count(conn, None)).unwrap(), 40);
    let refused = store.write(|tx| pool::delete(tx, &name("default")));
    assert!(says(refused).contains("is in use"), "references hold after a rebuild");
    let what = crate::Subject::new(crate::Entity::Pool, "x");
    let refused = store.write(|tx| tx.run(&what, "DELETE FROM pools", []));
    assert_eq!(says(refused), "storage pool x is in use by something else");
    drop(store);
    let newest = MIGRATIONS.len();
    check(&path, &format!("was written by a newer coffer (its version is {}, this program knows {newest})", newest + 2));

    // The copy is a whole database of the old version.
    let copy = directory.join(format!("coffer.db.bak-{newest}"));
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::rename(&copy, &path).unwrap();
    assert_eq!(schema(directory), before);
    let store = Store::open(directory).unwrap();
    assert_eq!(store.read(|conn| instance::count(conn, None)).unwrap(), 40);
}

#[test]
fn a_failing_step_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = closed(directory.path());
    let directory = path.parent().unwrap();
    for (bad, expect) in
        [(FAIL, "(a failure); it keeps its version: no such table"), (LEAVE_DANGLING, "(a careless one); it keeps its version: table ")]
    {
        let expect = format!("to version {} {expect}", MIGRATIONS.len() + 2);
        let mut all = steps(&[|| ADD_COLUMN]);
        all.push(bad);
        let said = says(Store::open_with(directory, &all));
        assert!(said.contains(&expect), "{said}");
        // What came before the failing step stays, and goes on where it was.
        let store = Store::open_with(directory, &steps(&[|| ADD_COLUMN])).unwrap();
        assert_eq!(store.read(|conn| instance::count(conn, None)).unwrap(), 40);
    }
}
