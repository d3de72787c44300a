//! What every driver must do with roots that were changed on top of an image: names that go, directories that move or are
//! made anew, and many snapshots of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use coffer_base::{Bytes, Progress};
use coffer_storage::{DriverKind, Enforcement, Pool, PoolSpec, Volume, create_from_image};

use crate::cases::{Case, delete, fingerprint, instance, name, path, write_within_limits};
use crate::sample::{self, check_same, describe_names_alone as describe, path_of};

/// Every rule.
pub const ALL: &[Case] = &[
    Case { name: "changes_on_top_of_an_image_are_kept", run: changes_on_top_of_an_image_are_kept },
    Case { name: "a_root_that_runs_can_be_copied", run: a_root_that_runs_can_be_copied },
    Case { name: "many_snapshots_cost_no_content", run: many_snapshots_cost_no_content },
    Case { name: "a_size_limits_what_a_root_changes", run: a_size_limits_what_a_root_changes },
    Case { name: "an_image_can_go_before_its_instances", run: an_image_can_go_before_its_instances },
];

/// Changes a root in all the ways that a layer has to remember.
fn change(root: &Path, round: usize) {
    if round == 0 {
        fs::remove_file(root.join("etc/hostname")).unwrap();
        fs::remove_dir_all(root.join("links")).unwrap();
        // A directory that is made anew shows nothing of the old one.
        fs::create_dir(root.join("links")).unwrap();
        fs::write(root.join("links/new"), "new").unwrap();
        fs::rename(root.join("var/lib"), root.join("var/moved")).unwrap();
        fs::write(root.join("var/moved/deep/inside"), "inside").unwrap();
        fs::set_permissions(root, fs::Permissions::from_mode(0o750)).unwrap();
        chown(root.join("bin/big"), Some(7), Some(8)).unwrap();
    }
    fs::write(root.join("state"), format!("{round}")).unwrap();
    fs::create_dir(root.join(format!("round-{round}"))).unwrap();
    if round > 0 {
        fs::remove_dir(root.join(format!("round-{}", round - 1))).unwrap();
        fs::rename(root.join("var/moved"), root.join("var/away")).unwrap();
        fs::rename(root.join("var/away"), root.join("var/moved")).unwrap();
    }
}

fn made(pool: &dyn Pool) -> Volume {
    let volume = instance("web");
    create_from_image(pool, &volume, &fingerprint('d'), &mut sample::fill).unwrap();
    volume
}

fn gone(pool: &dyn Pool, volumes: &[&Volume]) {
    delete(pool, volumes);
    if pool.images().is_some() {
        delete(pool, &[&Volume::image(&fingerprint('d'))]);
    }
    no_layers(pool);
}

/// A layer that nothing stands on must not stay.
pub fn no_layers(pool: &dyn Pool) {
    if let Ok(layers) = fs::read_dir(pool.path().join("layers")) {
        assert_eq!(layers.count(), 0, "layers are left");
    }
}

/// A volume as those see it who read it as a whole.
fn whole(pool: &dyn Pool, volume: &Volume) -> BTreeMap<PathBuf, String> {
    let view = pool.read(volume).unwrap();
    describe(&path_of(view.as_fd()))
}

fn changes_on_top_of_an_image_are_kept(pool: &dyn Pool, _: &PoolSpec) {
    let (volume, copy) = (made(pool), instance("copy"));
    let fresh = describe(&path(pool, &volume));
    pool.snapshots().unwrap().snapshot(&volume, &name("fresh")).unwrap();
    change(&path(pool, &volume).join("rootfs"), 0);
    let changed = describe(&path(pool, &volume));
    assert!(!changed.contains_key(Path::new("rootfs/etc/hostname")) && changed.contains_key(Path::new("rootfs/var/moved/deep/inside")));
    assert!(!changed.contains_key(Path::new("rootfs/links/root")), "a directory that was made anew shows the old one's content");
    check_same(&changed, &whole(pool, &volume));
    pool.snapshots().unwrap().snapshot(&volume, &name("changed")).unwrap();
    pool.copy(&volume, &copy, &[name("fresh")], &Progress::default()).unwrap();
    for volume in [&volume, &volume.snapshot(&name("changed")), &copy] {
        check_same(&changed, &describe(&path(pool, volume)));
        check_same(&changed, &whole(pool, volume));
    }
    for volume in [&volume.snapshot(&name("fresh")), &copy.snapshot(&name("fresh"))] {
        check_same(&fresh, &describe(&path(pool, volume)));
    }
    pool.snapshots().unwrap().restore(&volume, &name("fresh")).unwrap();
    check_same(&fresh, &describe(&path(pool, &volume)));
    pool.snapshots().unwrap().restore(&volume, &name("changed")).unwrap();
    check_same(&changed, &describe(&path(pool, &volume)));
    pool.unmount_volume(&volume).unwrap();
    check_same(&changed, &describe(&path(pool, &volume)));
    let snapshots = [volume.snapshot(&name("fresh")), volume.snapshot(&name("changed")), copy.snapshot(&name("fresh"))];
    gone(pool, &[&snapshots[0], &snapshots[1], &volume, &snapshots[2], &copy]);
}

fn a_root_that_runs_can_be_copied(pool: &dyn Pool, _: &PoolSpec) {
    let (volume, copy) = (made(pool), instance("copy"));
    // What holds a running instance's root open is a mount, where the driver has such.
    let root = pool.mapped().map(|power| power.mount_root(&volume, None).unwrap());
    let place = path(pool, &volume).join("rootfs");
    change(&place, 0);
    let changed = describe(&path(pool, &volume));
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    pool.copy(&volume, &copy, &[], &Progress::default()).unwrap();
    check_same(&changed, &whole(pool, &volume));
    // It goes on, and the copies do not.
    fs::write(place.join("later"), "later").unwrap();
    fs::write(place.join("state"), "later").unwrap();
    for volume in [&volume.snapshot(&name("s0")), &copy] {
        check_same(&changed, &describe(&path(pool, volume)));
    }
    assert_eq!(fs::read_to_string(place.join("later")).unwrap(), "later");
    drop(root);
    pool.unmount_volume(&volume).unwrap();
    assert_eq!(fs::read_to_string(path(pool, &volume).join("rootfs/state")).unwrap(), "later");
    gone(pool, &[&volume.snapshot(&name("s0")), &volume, &copy]);
}

fn many_snapshots_cost_no_content(pool: &dyn Pool, _: &PoolSpec) {
    // More than there are layers of one volume; elsewhere a few tell the same.
    let rounds = if pool.driver() == DriverKind::Overlay { 14 } else { 4 };
    let volume = made(pool);
    let mut states = Vec::new();
    for round in 0..rounds {
        change(&path(pool, &volume).join("rootfs"), round);
        states.push(describe(&path(pool, &volume)));
        pool.snapshots().unwrap().snapshot(&volume, &name(&format!("s{round}"))).unwrap();
    }
    for (round, state) in states.iter().enumerate() {
        check_same(state, &whole(pool, &volume.snapshot(&name(&format!("s{round}")))));
    }
    check_same(&states[rounds - 1], &describe(&path(pool, &volume)));
    let snapshots: Vec<Volume> = (0..rounds).map(|round| volume.snapshot(&name(&format!("s{round}")))).collect();
    // The order in which they go says nothing about what the others stand on.
    delete(pool, &snapshots.iter().step_by(2).collect::<Vec<_>>());
    check_same(&states[3], &describe(&path(pool, &snapshots[3])));
    let rest: Vec<&Volume> = snapshots.iter().skip(1).step_by(2).chain([&volume]).collect();
    gone(pool, &rest);
}

fn an_image_can_go_before_its_instances(pool: &dyn Pool, _: &PoolSpec) {
    let volume = made(pool);
    if pool.images().is_none() {
        return gone(pool, &[&volume]);
    }
    change(&path(pool, &volume).join("rootfs"), 0);
    let changed = describe(&path(pool, &volume));
    delete(pool, &[&Volume::image(&fingerprint('d'))]);
    check_same(&changed, &describe(&path(pool, &volume)));
    pool.unmount_volume(&volume).unwrap();
    check_same(&changed, &describe(&path(pool, &volume)));
    // Once it is there again, it is unpacked again.
    let other = instance("other");
    create_from_image(pool, &other, &fingerprint('d'), &mut sample::fill).unwrap();
    assert_eq!(fs::metadata(path(pool, &other).join("rootfs/bin/big")).unwrap().uid(), 0);
    gone(pool, &[&volume, &other]);
}

fn a_size_limits_what_a_root_changes(pool: &dyn Pool, _: &PoolSpec) {
    let (volume, other) = (made(pool), instance("other"));
    create_from_image(pool, &other, &fingerprint('d'), &mut sample::fill).unwrap();
    // Others tell by `sizes_are_enforced_or_said_to_be_ignored` why they do not.
    if let Ok(Enforcement::Enforced) = pool.set_quota(&volume, Some(Bytes(32 << 20))) {
        let fill = |volume: &Volume| {
            let path = path(pool, volume).join("rootfs/big");
            let written = write_within_limits(&path);
            fs::remove_file(&path).unwrap();
            written
        };
        let refused = |written: std::io::Result<()>| {
            let error = written.unwrap_err();
            assert!(matches!(error.kind(), std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::StorageFull), "{error}");
        };
        refused(fill(&volume));
        fill(&other).unwrap();
        // Also on what it stands on after a snapshot and after a restore.
        let snapshots = pool.snapshots().unwrap();
        snapshots.snapshot(&volume, &name("s0")).unwrap();
        refused(fill(&volume));
        snapshots.restore(&volume, &name("s0")).unwrap();
        refused(fill(&volume));
        delete(pool, &[&volume.snapshot(&name("s0"))]);
    }
    gone(pool, &[&volume, &other]);
}
