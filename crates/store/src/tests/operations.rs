//! The log of operations.

use coffer_model::{LoggedOperation, OperationClass, OperationQuery, OperationStatus, Requestor};

use super::*;
use crate::operation_log;

fn some(id: &str, instance: &str, user: &str, at: &str) -> LoggedOperation {
    LoggedOperation {
        id: id.into(),
        class: OperationClass::Task,
        description: "Starting instance".into(),
        project: default_project(),
        status: OperationStatus::Running,
        error: String::new(),
        requestor: Some(Requestor { username: user.into(), protocol: "unix".into(), address: String::new() }),
        resources: [("instances".to_owned(), vec![format!("/1.0/instances/{instance}")])].into(),
        created_at: at.parse().unwrap(),
        ended_at: None,
    }
}

fn ids(store: &Store, query: OperationQuery) -> Vec<String> {
    let found = store.read(|conn| operation_log::find(conn, &OperationQuery { limit: 100, ..query })).unwrap();
    found.into_iter().map(|operation| operation.id).collect()
}

#[test]
fn operations_are_found_by_what_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let ended = LoggedOperation {
        status: OperationStatus::Failure,
        error: "no \"room\"".into(),
        ended_at: Some("2026-01-01T00:00:00.25Z".parse().unwrap()),
        requestor: None,
        ..some("b", "web-2", "", "2026-01-01T00:00:00.1Z")
    };
    let all = [some("a", "web", "root", "2026-01-01T00:00:00Z"), ended.clone(), some("c", "web", "ann", "2026-01-02T00:00:00Z")];
    store.write_behind(|tx| all.iter().try_for_each(|operation| operation_log::record(tx, operation))).unwrap();
    let query = OperationQuery::default;
    assert_eq!(ids(&store, query()), ["c", "b", "a"]);
    assert_eq!(ids(&store, OperationQuery { instance: Some("web".into()), ..query() }), ["c", "a"]);
    assert_eq!(ids(&store, OperationQuery { username: Some("ann".into()), ..query() }), ["c"]);
    assert_eq!(ids(&store, OperationQuery { status: Some(OperationStatus::Failure), ..query() }), ["b"]);
    assert_eq!(ids(&store, OperationQuery { since: Some("2026-01-01T00:00:00.05Z".parse().unwrap()), ..query() }), ["c", "b"]);
    assert_eq!(ids(&store, OperationQuery { until: Some("2026-01-01T00:00:00.1Z".parse().unwrap()), ..query() }), ["a"]);
    assert_eq!(ids(&store, OperationQuery { project: Some(name("other")), ..query() }), [""; 0]);
    let found = store.read(|conn| operation_log::find(conn, &OperationQuery { limit: 2, ..query() })).unwrap();
    assert_eq!(found, [all[2].clone(), ended]);
}

#[test]
fn an_operation_is_remembered_once_and_a_dead_daemon_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let begun = some("a", "web", "root", "2026-01-01T00:00:00Z");
    let done = LoggedOperation { status: OperationStatus::Success, ended_at: Some(begun.created_at), ..begun.clone() };
    store.write(|tx| [&begun, &done].into_iter().try_for_each(|operation| operation_log::record(tx, operation))).unwrap();
    assert!(!store.read(operation_log::any_running).unwrap());
    store.write(|tx| operation_log::record(tx, &some("b", "web", "root", "2026-01-01T00:00:01Z"))).unwrap();
    assert!(store.read(operation_log::any_running).unwrap());
    let end: Time = "2026-01-02T00:00:00Z".parse().unwrap();
    store.write(|tx| operation_log::cut_off(tx, "the daemon ended", end)).unwrap();
    let found = store.read(|conn| operation_log::find(conn, &OperationQuery { limit: 9, ..OperationQuery::default() })).unwrap();
    assert_eq!((found[0].status, found[0].error.as_str(), found[0].ended_at), (OperationStatus::Cancelled, "the daemon ended", Some(end)));
    assert_eq!(found[1], done);
}

#[test]
fn the_log_is_bounded_by_number_and_age_and_keeps_what_works() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store
        .write(|tx| {
            operation_log::record(tx, &some("works", "web", "root", "2025-01-01T00:00:00Z"))?;
            for number in 0..9u32 {
                let begun = some(&number.to_string(), "web", "root", &format!("2026-01-0{}T00:00:00Z", number + 1));
                operation_log::record(tx, &LoggedOperation { ended_at: Some(begun.created_at), ..begun })?;
            }
            operation_log::prune(tx, 5, None)
        })
        .unwrap();
    assert_eq!(ids(&store, OperationQuery::default()), ["8", "7", "6", "5", "4", "works"]);
    store.write(|tx| operation_log::prune(tx, 5, Some("2026-01-08T00:00:00Z".parse().unwrap()))).unwrap();
    assert_eq!(ids(&store, OperationQuery::default()), ["8", "7", "works"]);
}

#[test]
fn a_write_behind_leaves_the_connection_as_careful_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mode =
        |store: &Store| -> i64 { store.write(|tx| Ok(tx.raw.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap())).unwrap() };
    let careful = mode(&store);
    store.write_behind(|_| Ok(())).unwrap();
    assert_eq!(mode(&store), careful);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.write_behind::<()>(|_| panic!("on purpose"))));
    assert!(panicked.is_err());
    assert_eq!(mode(&store), careful);
}

#[test]
fn what_was_written_behind_is_settled_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.write_behind(|_| Ok(())).unwrap();
    store.settle().unwrap();
    // The log is what is settled: without it there is nothing that could be.
    std::fs::remove_file(directory.path().join("database/coffer.db-wal")).unwrap();
    assert!(store.settle().unwrap_err().to_string().contains("coffer.db-wal"));
}
