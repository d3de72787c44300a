//! Copies from every driver to every other.

use std::os::fd::AsFd;

use coffer_base::Progress;
use coffer_storage::{Class, DriverKind, Pool, Volume, copy_between, create_pool};
use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::cases::{check_class, instance};
use crate::custom::data as custom;
use crate::ground::{Ground, has_cluster};
use crate::sample::{self, check_same, describe, path_of};

/// The rules, by name.
pub const ALL: &[(&str, fn())] = &[
    ("between::copies_are_equal", copies_are_equal),
    ("between::what_does_not_fit_is_refused_before_it_is_begun", what_does_not_fit_is_refused_before_it_is_begun),
];

fn copies_are_equal() {
    if !DriverKind::Btrfs.available() {
        return println!("     (skipped: no btrfs on this host)");
    }
    let mut grounds =
        vec![Ground::new(DriverKind::Dir), Ground::new(DriverKind::Overlay), Ground::new(DriverKind::Btrfs).with("size", "512MiB")];
    let memory = Ground::new(DriverKind::Dir).mount("tmpfs", "tmpfs".as_ref(), "state", "");
    let set = rustix::fs::setxattr(memory.path("state"), "user.note", b"1", rustix::fs::XattrFlags::empty());
    match set {
        Ok(()) => grounds.insert(1, memory),
        Err(_) => println!("     (without tmpfs: it has no attributes of users before Linux 6.6)"),
    }
    if DriverKind::Lvm.available() {
        grounds.push(Ground::new(DriverKind::Lvm).with("size", "1GiB").with("volume.size", "1GiB"));
    }
    if DriverKind::Zfs.available() {
        grounds.push(Ground::new(DriverKind::Zfs).with("size", "512MiB"));
    }
    if has_cluster() {
        grounds.push(Ground::new(DriverKind::Ceph).with("volume.size", "256MiB").with("ceph.osd.pg_num", "8"));
        grounds.push(Ground::new(DriverKind::Cephfs));
    }
    let pools: Vec<Box<dyn Pool>> = grounds.iter().map(|ground| create_pool(&mut ground.spec("pool"), &|_| ()).unwrap()).collect();
    // Users' volumes: every driver holds those.
    let (volume, copy, snapshot) = (custom("web"), custom("copy"), "s0".parse().unwrap());
    let tree = |pool: &dyn Pool, volume: &Volume| describe(&path_of(pool.mount(volume).unwrap().as_fd()));
    // The one with the fewest kinds of attributes first: what it cannot hold is not in the sample.
    for (from, source) in pools.iter().enumerate() {
        source.create(&volume, &mut sample::fill).unwrap();
        source.snapshots().unwrap().snapshot(&volume, &snapshot).unwrap();
        for (_, target) in pools.iter().enumerate().filter(|(to, _)| *to != from) {
            let begun = std::time::Instant::now();
            copy_between(source.as_ref(), &volume, target.as_ref(), &copy, std::slice::from_ref(&snapshot), &Progress::default()).unwrap();
            check_same(&tree(source.as_ref(), &volume), &tree(target.as_ref(), &copy));
            check_same(&tree(source.as_ref(), &volume), &tree(target.as_ref(), &copy.snapshot(&snapshot)));
            target.delete_volume(&copy.snapshot(&snapshot)).unwrap();
            target.delete_volume(&copy).unwrap();
            println!("     ({} to {} in {:.1} s)", source.driver(), target.driver(), begun.elapsed().as_secs_f32());
        }
        source.delete_volume(&volume.snapshot(&snapshot)).unwrap();
        source.delete_volume(&volume).unwrap();
    }
    for pool in pools {
        pool.delete().unwrap();
    }
}

fn what_does_not_fit_is_refused_before_it_is_begun() {
    if !DriverKind::Btrfs.available() {
        return println!("     (skipped: no btrfs on this host)");
    }
    let grounds = [Ground::new(DriverKind::Dir), Ground::new(DriverKind::Btrfs).with("size", "128MiB")];
    let [source, target] = grounds.each_ref().map(|ground| create_pool(&mut ground.spec("pool"), &|_| ()).unwrap());
    let (volume, copy, snapshot) = (instance("web"), instance("copy"), "s0".parse().unwrap());
    source
        .create(&volume, &mut |top| {
            let flags = OFlags::WRONLY | OFlags::CREATE;
            let file = rustix::fs::openat(top, "big", flags, Mode::RUSR | Mode::WUSR)?;
            Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 200 << 20)?)
        })
        .unwrap();
    source.snapshots().unwrap().snapshot(&volume, &snapshot).unwrap();
    let snapshots = std::slice::from_ref(&snapshot);
    let refused = copy_between(source.as_ref(), &volume, target.as_ref(), &copy, snapshots, &Progress::default());
    check_class(refused, Class::NoSpace, "has no room for instance volume copy: it needs at least 200.0");
    assert_eq!(target.list().unwrap(), []);
    source.delete_volume(&volume.snapshot(&snapshot)).unwrap();
    source.delete_volume(&volume).unwrap();
    for pool in [source, target] {
        pool.delete().unwrap();
    }
}
