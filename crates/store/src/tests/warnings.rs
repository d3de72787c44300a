//! Warnings.

use coffer_model::{Warning, WarningKind, WarningStatus};

use super::*;
use crate::warning;

fn some(kind: WarningKind, entity: &str, message: &str, at: &str) -> Warning {
    let at: Time = at.parse().unwrap();
    Warning {
        id: format!("{kind:?}-{entity}-{at}"),
        kind,
        entity: entity.into(),
        project: None,
        status: WarningStatus::New,
        count: 1,
        first_seen_at: at,
        last_seen_at: at,
        message: message.into(),
    }
}

#[test]
fn a_thing_is_warned_of_once_and_counted_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let pool = "/1.0/storage-pools/p";
    let first = some(WarningKind::PoolUnavailable, pool, "gone", "2026-01-01T00:00:00Z");
    let again = some(WarningKind::PoolUnavailable, pool, "still gone", "2026-01-02T00:00:00Z");
    store.write(|tx| warning::raise(tx, &first)).unwrap();
    assert_eq!(store.read(warning::list).unwrap(), std::slice::from_ref(&first));
    store.write(|tx| warning::raise(tx, &again)).unwrap();
    drop(store);
    let store = open(directory.path());
    let all = || store.read(warning::list).unwrap();
    let expect = Warning { count: 2, last_seen_at: again.last_seen_at, message: "still gone".into(), ..first };
    assert_eq!(all(), std::slice::from_ref(&expect));

    // What somebody saw stays seen while it lasts, and is new again when it comes back.
    store.write(|tx| warning::set_status(tx, &expect.id, WarningStatus::Acknowledged)).unwrap();
    store.write(|tx| warning::raise(tx, &again)).unwrap();
    assert_eq!((all()[0].status, all()[0].count), (WarningStatus::Acknowledged, 3));
    let later: Time = "2026-01-03T00:00:00Z".parse().unwrap();
    let resolve = |entity: &str| store.write(|tx| warning::resolve(tx, WarningKind::PoolUnavailable, entity, None, later)).unwrap();
    resolve("/1.0/storage-pools/other");
    assert_eq!(all()[0].status, WarningStatus::Acknowledged);
    resolve(pool);
    assert_eq!((all()[0].status, all()[0].last_seen_at), (WarningStatus::Resolved, later));
    store.write(|tx| warning::prune(tx, later)).unwrap();
    assert_eq!(all().len(), 1);
    store.write(|tx| warning::raise(tx, &again)).unwrap();
    assert_eq!((all()[0].status, all()[0].count), (WarningStatus::New, 4));

    // Each kind and thing has its own.
    store.write(|tx| warning::raise(tx, &some(WarningKind::NetworkUnavailable, pool, "", "2026-01-01T00:00:00Z"))).unwrap();
    assert_eq!(all().len(), 2);
    assert_eq!(says(store.write(|tx| warning::delete(tx, "no"))), "warning no does not exist");
    store.write(|tx| warning::delete(tx, &expect.id)).unwrap();
    store.write(|tx| warning::forget(tx, pool, None)).unwrap();
    assert!(all().is_empty());
}
