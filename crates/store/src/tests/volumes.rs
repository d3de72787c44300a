//! Users' volumes and their snapshots.

use coffer_model::{ContentType, CustomVolume, SnapshotName, VolumeName, VolumeSnapshot, gate::Origin};

use super::*;
use crate::{usage, volume, volume_snapshot};

fn some_volume(named: &str) -> CustomVolume {
    CustomVolume {
        pool: name("slow"),
        project: default_project(),
        name: name(named),
        description: String::new(),
        config: Config::default(),
        content: ContentType::Block,
        created_at: Time::UNIX_EPOCH,
        phase: Phase::Creating,
        renamed_from: None,
    }
}

fn some_snapshot(named: &str, created_at: &str, expires_at: Option<&str>) -> VolumeSnapshot {
    VolumeSnapshot {
        name: name(named),
        description: String::new(),
        config: [("size", "1GiB")].into_iter().collect(),
        created_at: created_at.parse().unwrap(),
        expires_at: expires_at.map(|time| time.parse().unwrap()),
        phase: Phase::Ready,
        renamed_from: None,
    }
}

fn checked(volume: CustomVolume) -> Checked<CustomVolume> {
    gate::volume(volume, coffer_model::DeviceKind::Disk.table(), None, Origin::Server).unwrap()
}

fn with_volume(directory: &Path) -> Store {
    let store = open(directory);
    store.write(|tx| pool::insert(tx, &some_pool("slow"))).unwrap();
    store.write(|tx| volume::insert(tx, &checked(some_volume("data")))).unwrap();
    store
}

#[test]
fn a_volume_lives_through_all_its_changes() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_volume(directory.path());
    let (pool, project) = (name("slow"), default_project());
    let (data, more): (VolumeName, VolumeName) = (name("data"), name("more"));
    let mut kept = some_volume("data");
    kept.config.set("size", "1GiB");
    store.write(|tx| volume::update(tx, &checked(kept.clone()))).unwrap();
    store.write(|tx| volume::set_phase(tx, &pool, &project, &data, Phase::Ready)).unwrap();
    kept.phase = Phase::Ready;
    assert_eq!(store.read(|conn| volume::list(conn, Some(&pool), Some(&project))).unwrap(), [kept.clone()]);
    assert_eq!(says(store.write(|tx| pool::delete(tx, &pool))), "storage pool slow is in use by storage volume data");
    assert_eq!(says(store.write(|tx| volume::insert(tx, &checked(kept.clone())))), "storage volume data already exists");

    let disk = [("type", "disk"), ("path", "/d"), ("pool", "slow"), ("source", "data")].into_iter().collect();
    let mut user = some_profile("user");
    user.devices = Devices([(name("d"), disk)].into());
    store.write(|tx| profile::insert(tx, &gate::profile(user).unwrap())).unwrap();
    let users = store.read(|conn| usage::of_volume(conn, &pool, &project, &data)).unwrap();
    assert_eq!(users.to_string(), "profile user");

    let (old, new) = (some_volume("data").key(), some_volume("more").key());
    store.write(|tx| volume::rename(tx, &pool, &old, &new)).unwrap();
    let renamed = CustomVolume { name: more.clone(), renamed_from: Some(old.clone()), ..kept };
    assert_eq!(store.read(|conn| volume::get(conn, &pool, &project, &more)).unwrap(), Some(renamed));
    assert_eq!(store.read(|conn| volume::get(conn, &pool, &project, &data)).unwrap(), None);
    assert_eq!(says(store.write(|tx| volume::rename(tx, &pool, &old, &new))), "storage volume data does not exist");
    store.write(|tx| volume::renamed(tx, &pool, &project, &more)).unwrap();
    store.write(|tx| volume::delete(tx, &pool, &project, &more)).unwrap();
    assert_eq!(says(store.write(|tx| volume::delete(tx, &pool, &project, &more))), "storage volume more does not exist");
}

#[test]
fn snapshots_belong_to_their_volume() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_volume(directory.path());
    let of = some_volume("data");
    let (old, new) =
        (some_snapshot("old", "2024-01-01T00:00:00Z", Some("2024-02-01T00:00:00Z")), some_snapshot("new", "2024-01-02T00:00:00.5Z", None));
    store.write(|tx| volume_snapshot::insert(tx, &of, &new)).unwrap();
    store.write(|tx| volume_snapshot::insert(tx, &of, &old)).unwrap();
    assert_eq!(store.read(|conn| volume_snapshot::list(conn, &of)).unwrap(), [old.clone(), new.clone()]);
    let again = store.write(|tx| volume_snapshot::insert(tx, &of, &new));
    assert_eq!(says(again), "storage volume snapshot data/new already exists");

    let at = "2024-02-01T00:00:00Z".parse().unwrap();
    assert_eq!(store.read(volume_snapshot::expiring).unwrap(), [((of.pool.clone(), of.key()), old.name.clone(), at)]);

    let kept: SnapshotName = name("kept");
    store.write(|tx| volume_snapshot::rename(tx, &of, &old.name, &kept)).unwrap();
    let read = |named: &SnapshotName| store.read(|conn| volume_snapshot::get(conn, &of, named)).unwrap();
    assert_eq!(read(&kept).and_then(|snapshot| snapshot.renamed_from), Some(old.name.clone()));
    store.write(|tx| volume_snapshot::renamed(tx, &of, &kept)).unwrap();
    store.write(|tx| volume_snapshot::set_phase(tx, &of, &kept, Phase::Deleting)).unwrap();
    let changed = VolumeSnapshot { description: "why".into(), expires_at: None, ..some_snapshot("kept", "2024-01-01T00:00:00Z", None) };
    store.write(|tx| volume_snapshot::update(tx, &of, &changed)).unwrap();
    assert_eq!(read(&kept), Some(VolumeSnapshot { phase: Phase::Deleting, ..changed }));
    assert_eq!(says(store.write(|tx| volume_snapshot::delete(tx, &of, &old.name))), "storage volume snapshot data/old does not exist");
    // A volume takes its snapshots along.
    store.write(|tx| volume::delete(tx, &of.pool, &of.project, &of.name)).unwrap();
    store.write(|tx| volume::insert(tx, &checked(of.clone()))).unwrap();
    assert_eq!(store.read(|conn| volume_snapshot::list(conn, &of)).unwrap(), []);
}
