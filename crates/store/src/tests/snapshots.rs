//! Snapshots of instances.

use coffer_model::{InstanceSnapshot, SnapshotName};

use super::*;
use crate::snapshot;

fn taken(named: &str, at: &str) -> InstanceSnapshot {
    InstanceSnapshot::of(&some_instance("web"), name(named), at.parse().unwrap(), None)
}

fn names(snapshots: &[InstanceSnapshot]) -> Vec<&str> {
    snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect()
}

#[test]
fn snapshots_live_through_all_their_changes() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    add(&store, some_instance("web")).unwrap();
    let (project, web): (_, InstanceName) = (default_project(), name("web"));
    let (one, two, uno): (SnapshotName, SnapshotName, SnapshotName) = (name("one"), name("two"), name("uno"));
    let insert = |new: &InstanceSnapshot| store.write(|tx| snapshot::insert(tx, &project, &web, new));
    let all = || store.read(|conn| snapshot::of_instance(conn, &project, &web)).unwrap();

    // A fraction of a second more or less decides, however many digits it has.
    insert(&taken("two", "2024-05-06T08:00:00.5Z")).unwrap();
    insert(&taken("one", "2024-05-06T08:00:00Z")).unwrap();
    assert_eq!(names(&all()), ["one", "two"]);
    assert_eq!(all()[0], taken("one", "2024-05-06T08:00:00Z"));
    assert_eq!(says(insert(&taken("one", "2024-05-06T08:00:00Z"))), "snapshot web/one already exists");

    let later: Time = "2030-01-01T00:00:00Z".parse().unwrap();
    store
        .write(|tx| {
            snapshot::set_phase(tx, &project, &web, &one, Phase::Ready)?;
            snapshot::set_expiry(tx, &project, &web, &one, Some(later))
        })
        .unwrap();
    let expect = InstanceSnapshot { phase: Phase::Ready, expires_at: Some(later), ..taken("one", "2024-05-06T08:00:00Z") };
    assert_eq!(all()[0], expect);
    assert_eq!(store.read(snapshot::expiring).unwrap().len(), 1);

    assert_eq!(says(store.write(|tx| snapshot::rename(tx, &project, &web, &one, &two))), "snapshot web/two already exists");
    store.write(|tx| snapshot::rename(tx, &project, &web, &one, &uno)).unwrap();
    let unsettled = store.read(snapshot::unsettled).unwrap();
    let noted: Vec<_> = unsettled.iter().map(|owned| (owned.snapshot.name.as_str(), owned.snapshot.renamed_from.clone())).collect();
    assert_eq!(noted, [("two", None), ("uno", Some(one.clone()))]);
    store.write(|tx| snapshot::set_renamed(tx, &project, &web, &uno)).unwrap();
    assert_eq!(store.read(snapshot::unsettled).unwrap().len(), 1);

    assert_eq!(says(store.write(|tx| snapshot::delete(tx, &project, &web, &one))), "snapshot web/one does not exist");
    store.write(|tx| snapshot::delete(tx, &project, &web, &uno)).unwrap();
    assert_eq!(names(&all()), ["two"]);
}

#[test]
fn they_follow_their_instance_and_outlive_profiles() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    let project = default_project();
    let (web, www): (InstanceName, InstanceName) = (name("web"), name("www"));
    store
        .write(|tx| profile::insert(tx, &gate::profile(Profile { devices: Devices::default(), ..some_profile("extra") }).unwrap()))
        .unwrap();
    add(&store, some_instance("web")).unwrap();
    let mut snapshot = taken("one", "2024-05-06T08:00:00Z");
    snapshot.profiles.push(name("extra"));
    store.write(|tx| snapshot::insert(tx, &project, &web, &snapshot)).unwrap();

    store.write(|tx| instance::rename(tx, &project, &web, &www)).unwrap();
    store.write(|tx| profile::delete(tx, &project, &name("extra"))).unwrap();
    let kept = store.read(|conn| snapshot::get(conn, &project, &www, &name("one"))).unwrap().unwrap();
    assert_eq!(kept.profiles, [name("default")]);

    store.write(|tx| instance::delete(tx, &project, &www)).unwrap();
    assert!(store.read(|conn| snapshot::list(conn, None)).unwrap().is_empty());
}

#[test]
fn a_thousand_are_read_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_pool(directory.path());
    add(&store, some_instance("web")).unwrap();
    let (project, web) = (default_project(), name("web"));
    store
        .write(|tx| {
            (0..1000).try_for_each(|number| snapshot::insert(tx, &project, &web, &taken(&format!("s{number}"), "2024-05-06T08:00:00Z")))
        })
        .unwrap();
    let start = std::time::Instant::now();
    assert_eq!(store.read(|conn| snapshot::list(conn, None)).unwrap().len(), 1000);
    let took = start.elapsed();
    assert!(took.as_millis() < 500, "{took:?}");
}
