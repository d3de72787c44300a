//! What every driver must do with volumes.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use coffer_base::{Bytes, Progress, chain};
use coffer_model::{Fingerprint, ProjectName, SnapshotName};
use coffer_storage::{
    Class, DriverKind, Enforcement, FillError, Found, Pool, PoolSpec, Volume, create_from_image, leftovers, open_pool,
    supports_idmapped_mounts, tree,
};
use rustix::fs::{IFlags, Mode, OFlags};

use crate::sample::{self, check_same, describe, path_of};

/// A rule.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&dyn Pool, &PoolSpec),
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every rule.
        pub const ALL: &[Case] = &[$(Case { name: stringify!($name), run: $name }),*];
    };
}

cases!(
    a_new_volume_is_whole_and_private,
    a_failed_fill_leaves_nothing,
    an_image_is_unpacked_as_often_as_needed,
    clones_at_once_share_one_unpacking,
    snapshots_keep_and_restore,
    a_restore_finds_what_hides_its_change,
    copies_are_equal_and_independent,
    a_copy_takes_snapshots_along,
    a_failed_copy_leaves_nothing,
    renaming_takes_snapshots_along,
    deleting_is_all_or_nothing,
    what_was_copied_can_go_first,
    deleting_follows_no_link,
    deep_and_locked_trees_can_be_copied_and_deleted,
    mounts_inside_protect_a_volume,
    sizes_are_enforced_or_said_to_be_ignored,
    nested_subvolumes_go_along,
    owners_can_be_shifted,
    ids_can_be_mapped,
    leftovers_are_named_and_temporaries_cleared,
    the_pool_comes_back_after_unmounting,
    resources_are_plausible,
);

pub fn instance(name: &str) -> Volume {
    Volume::instance(&ProjectName::default_project(), &name.parse().unwrap())
}

/// A volume of the kind that the pool holds before all: an instance's, or else a user's.
pub fn held(pool: &dyn Pool, name: &str) -> Volume {
    if pool.driver().holds_instances() {
        return instance(name);
    }
    Volume::custom(&ProjectName::default_project(), &name.parse().unwrap())
}

pub fn fingerprint(digit: char) -> Fingerprint {
    digit.to_string().repeat(64).parse().unwrap()
}

pub fn name(text: &str) -> SnapshotName {
    text.parse().unwrap()
}

pub fn path(pool: &dyn Pool, volume: &Volume) -> PathBuf {
    path_of(pool.mount(volume).unwrap().as_fd())
}

pub fn write(pool: &dyn Pool, volume: &Volume, text: &str) {
    fs::write(path(pool, volume).join("state"), text).unwrap();
}

pub fn read(pool: &dyn Pool, volume: &Volume) -> String {
    fs::read_to_string(path(pool, volume).join("state")).unwrap_or_else(|error| error.to_string())
}

pub fn delete(pool: &dyn Pool, volumes: &[&Volume]) {
    for volume in volumes {
        pool.delete_volume(volume).unwrap();
        assert!(!pool.exists(volume).unwrap());
    }
}

pub fn empty(pool: &dyn Pool, volume: &Volume) {
    pool.create(volume, &mut |_| Ok(())).unwrap();
}

#[track_caller]
pub fn check_class<T>(result: Result<T, coffer_storage::StorageError>, class: Class, text: &str) {
    let error = result.err().expect("it should be refused");
    assert_eq!(error.class(), class, "{}", chain(&error));
    assert!(chain(&error).contains(text), "{}", chain(&error));
}

fn a_new_volume_is_whole_and_private(pool: &dyn Pool, _: &PoolSpec) {
    let volume = Volume::instance(&"dev".parse().unwrap(), &"web".parse().unwrap());
    pool.create(&volume, &mut sample::fill).unwrap();
    let place = pool.path().join("containers/dev_web");
    assert_eq!(path(pool, &volume), place);
    assert_eq!(fs::read_to_string(place.join("rootfs/etc/hostname")).unwrap(), "sample\n");
    for (inner, mode) in [("", 0o711), ("containers", 0o700), ("images", 0o700), ("custom", 0o700), ("containers/dev_web", 0o700)] {
        let stat = fs::metadata(pool.path().join(inner)).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (mode, 0), "{inner}");
    }
    check_class(pool.create(&volume, &mut |_| panic!("not to be filled")), Class::Exists, "has instance volume dev_web already");
    check_class(pool.mount(&instance("nobody")), Class::NotFound, "has no instance volume nobody");
    let data = Volume::custom(&ProjectName::default_project(), &"data_1".parse().unwrap());
    empty(pool, &data);
    assert_eq!(pool.list().unwrap().into_iter().filter(|found| *found == Found::Volume(data.clone())).count(), 1);
    delete(pool, &[&volume, &data]);
    check_class(pool.delete_volume(&volume), Class::NotFound, "has no instance volume dev_web");
}

fn a_failed_fill_leaves_nothing(pool: &dyn Pool, _: &PoolSpec) {
    let volume = held(pool, "web");
    let failed = pool.create(&volume, &mut |directory| {
        sample::fill(directory)?;
        Err(FillError::from(std::io::Error::from_raw_os_error(28)))
    });
    check_class(failed, Class::NoSpace, &format!("filling {volume} in storage pool pool: No space left"));
    assert!(!pool.exists(&volume).unwrap());
    // Even a top that says it is open to all ends up closed, but for a user's, to which the way is closed.
    let open = |directory: std::os::fd::BorrowedFd<'_>| Ok(rustix::fs::fchmod(directory, Mode::from_raw_mode(0o777))?);
    pool.create(&volume, &mut { open }).unwrap();
    let closed = if pool.driver().holds_instances() { 0o700 } else { 0o777 };
    assert_eq!(fs::metadata(path(pool, &volume)).unwrap().mode() & 0o7777, closed);
    delete(pool, &[&volume]);
}

fn an_image_is_unpacked_as_often_as_needed(pool: &dyn Pool, _: &PoolSpec) {
    let unpacked = AtomicUsize::new(0);
    let mut fill = |directory: std::os::fd::BorrowedFd<'_>| {
        unpacked.fetch_add(1, Ordering::Relaxed);
        sample::fill(directory)
    };
    let (one, two) = (held(pool, "one"), held(pool, "two"));
    create_from_image(pool, &one, &fingerprint('a'), &mut fill).unwrap();
    create_from_image(pool, &two, &fingerprint('a'), &mut fill).unwrap();
    check_class(create_from_image(pool, &two, &fingerprint('a'), &mut fill), Class::Exists, &format!("has {two} already"));
    assert_eq!(unpacked.into_inner(), if pool.images().is_some() { 1 } else { 2 });
    if pool.images().is_some() {
        // What is unpacked twice differs at least in its times.
        check_same(&describe(&path(pool, &one)), &describe(&path(pool, &two)));
    }
    write(pool, &one, "changed");
    assert!(read(pool, &two).contains("No such file"));
    delete(pool, &[&one, &two]);
    if pool.images().is_some() {
        let image = Volume::image(&fingerprint('a'));
        assert!(fs::write(path(pool, &image).join("state"), "x").unwrap_err().to_string().contains("Read-only"));
        delete(pool, &[&image]);
    }
}

fn clones_at_once_share_one_unpacking(pool: &dyn Pool, _: &PoolSpec) {
    let unpacked = AtomicUsize::new(0);
    let volumes: Vec<Volume> = (0..8).map(|number| held(pool, &format!("c{number}"))).collect();
    std::thread::scope(|scope| {
        for volume in &volumes {
            scope.spawn(|| {
                let mut fill = |directory: std::os::fd::BorrowedFd<'_>| {
                    unpacked.fetch_add(1, Ordering::Relaxed);
                    sample::fill(directory)
                };
                create_from_image(pool, volume, &fingerprint('b'), &mut fill).unwrap();
            });
        }
    });
    assert_eq!(unpacked.into_inner(), if pool.images().is_some() { 1 } else { 8 });
    delete(pool, &volumes.iter().collect::<Vec<_>>());
    if pool.images().is_some() {
        delete(pool, &[&Volume::image(&fingerprint('b'))]);
    }
}

fn snapshots_keep_and_restore(pool: &dyn Pool, _: &PoolSpec) {
    let snapshots = pool.snapshots().unwrap();
    let volume = held(pool, "web");
    pool.create(&volume, &mut sample::fill).unwrap();
    write(pool, &volume, "one");
    let mut first = describe(&path(pool, &volume));
    snapshots.snapshot(&volume, &name("s1")).unwrap();
    if pool.driver() == DriverKind::Cephfs {
        // Of a file that was made empty its client shows another time than its server keeps.
        first = describe(&path(pool, &volume.snapshot(&name("s1"))));
    }
    write(pool, &volume, "two");
    fs::remove_file(path(pool, &volume).join("rootfs/etc/hostname")).unwrap();
    snapshots.snapshot(&volume, &name("s2")).unwrap();
    check_class(snapshots.snapshot(&volume, &name("s2")), Class::Exists, &format!("has {} already", volume.snapshot(&name("s2"))));
    assert_eq!(snapshots.list(&volume).unwrap(), [name("s1"), name("s2")]);
    if pool.driver() != DriverKind::Cephfs {
        assert_eq!(pool.path().join("containers-snapshots/web/s1"), path(pool, &volume.snapshot(&name("s1"))));
    }
    check_same(&first, &describe(&path(pool, &volume.snapshot(&name("s1")))));

    snapshots.restore(&volume, &name("s1")).unwrap();
    check_same(&first, &describe(&path(pool, &volume)));
    write(pool, &volume, "three");
    snapshots.restore(&volume, &name("s2")).unwrap();
    assert_eq!(read(pool, &volume), "two");
    check_class(snapshots.restore(&volume, &name("s3")), Class::NotFound, &format!("has no {}", volume.snapshot(&name("s3"))));
    assert_eq!(read(pool, &volume), "two");
    delete(pool, &[&volume.snapshot(&name("s1")), &volume.snapshot(&name("s2")), &volume]);
    assert!(!pool.path().join("containers-snapshots/web").exists());
}

fn a_restore_finds_what_hides_its_change(pool: &dyn Pool, _: &PoolSpec) {
    let volume = instance("web");
    pool.create(&volume, &mut sample::fill).unwrap();
    let snapshots = pool.snapshots().unwrap();
    let before = describe(&path(pool, &volume));
    snapshots.snapshot(&volume, &name("s0")).unwrap();
    let etc = path(pool, &volume).join("rootfs/etc");
    // As long as before, and as old as before: only who reads it sees that it is another one.
    let file = etc.join("hostname");
    let old = fs::metadata(&file).unwrap();
    fs::write(&file, "simple\n").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(old.modified().unwrap()).unwrap();
    assert_eq!(
        (fs::metadata(&file).unwrap().len(), fs::metadata(&file).unwrap().modified().unwrap()),
        (old.len(), old.modified().unwrap())
    );
    fs::write(etc.join("later"), "later").unwrap();
    snapshots.restore(&volume, &name("s0")).unwrap();
    check_same(&before, &describe(&path(pool, &volume)));
    // What is written now changes the volume alone.
    write(pool, &volume, "now");
    fs::write(path(pool, &volume).join("rootfs/etc/hostname"), "others\n").unwrap();
    let kept = pool.read(&volume.snapshot(&name("s0"))).unwrap();
    check_same(&before, &describe(&path_of(kept.as_fd())));
    drop(kept);
    pool.unmount_volume(&volume.snapshot(&name("s0"))).unwrap();
    delete(pool, &[&volume.snapshot(&name("s0")), &volume]);
}

fn copies_are_equal_and_independent(pool: &dyn Pool, _: &PoolSpec) {
    let (one, two) = (held(pool, "one"), held(pool, "two"));
    pool.create(&one, &mut sample::fill).unwrap();
    pool.copy(&one, &two, &[], &Progress::default()).unwrap();
    check_same(&describe(&path(pool, &one)), &describe(&path(pool, &two)));
    write(pool, &two, "mine");
    assert!(read(pool, &one).contains("No such file"));
    check_class(pool.copy(&one, &two, &[], &Progress::default()), Class::Exists, &format!("has {two} already"));
    assert_eq!(read(pool, &two), "mine");
    delete(pool, &[&one, &two]);
}

fn a_copy_takes_snapshots_along(pool: &dyn Pool, _: &PoolSpec) {
    let snapshots = pool.snapshots().unwrap();
    let (one, two) = (held(pool, "one"), held(pool, "two"));
    empty(pool, &one);
    for text in ["s0", "s1", "s2"] {
        write(pool, &one, text);
        snapshots.snapshot(&one, &name(text)).unwrap();
    }
    write(pool, &one, "now");
    pool.copy(&one, &two, &[name("s0"), name("s2")], &Progress::default()).unwrap();
    assert_eq!(snapshots.list(&two).unwrap(), [name("s0"), name("s2")]);
    assert_eq!((read(pool, &two), read(pool, &two.snapshot(&name("s2")))), ("now".into(), "s2".into()));
    // A snapshot becomes a volume that can be written.
    let three = held(pool, "three");
    pool.copy(&one.snapshot(&name("s1")), &three, &[], &Progress::default()).unwrap();
    assert_eq!(read(pool, &three), "s1");
    write(pool, &three, "mine");
    for volume in [&one, &two] {
        for snapshot in snapshots.list(volume).unwrap() {
            delete(pool, &[&volume.snapshot(&snapshot)]);
        }
    }
    delete(pool, &[&one, &two, &three]);
}

fn a_failed_copy_leaves_nothing(pool: &dyn Pool, _: &PoolSpec) {
    let snapshots = pool.snapshots().unwrap();
    let (one, two) = (held(pool, "one"), held(pool, "two"));
    empty(pool, &one);
    snapshots.snapshot(&one, &name("s0")).unwrap();
    let failed = pool.copy(&one, &two, &[name("s0"), name("gone")], &Progress::default());
    check_class(failed, Class::NotFound, &format!("has no {}", one.snapshot(&name("gone"))));
    assert!(!pool.exists(&two).unwrap() && snapshots.list(&two).unwrap().is_empty());
    assert!(!pool.path().join("containers-snapshots/two").exists());
    delete(pool, &[&one.snapshot(&name("s0")), &one]);
}

fn renaming_takes_snapshots_along(pool: &dyn Pool, _: &PoolSpec) {
    let snapshots = pool.snapshots().unwrap();
    let (old, new, other) = (held(pool, "old"), held(pool, "new"), held(pool, "other"));
    empty(pool, &old);
    empty(pool, &other);
    write(pool, &old, "text");
    snapshots.snapshot(&old, &name("s0")).unwrap();
    check_class(pool.rename(&old, &other), Class::Exists, &format!("has {other} already"));
    pool.rename(&old, &new).unwrap();
    assert!(!pool.exists(&old).unwrap() && snapshots.list(&old).unwrap().is_empty());
    assert_eq!((read(pool, &new), read(pool, &new.snapshot(&name("s0")))), ("text".into(), "text".into()));
    pool.rename(&new.snapshot(&name("s0")), &new.snapshot(&name("s1"))).unwrap();
    assert_eq!(snapshots.list(&new).unwrap(), [name("s1")]);
    check_class(pool.rename(&old, &held(pool, "older")), Class::NotFound, &format!("has no {old}"));
    delete(pool, &[&new.snapshot(&name("s1")), &new, &other]);
}

fn deleting_is_all_or_nothing(pool: &dyn Pool, _: &PoolSpec) {
    let volume = held(pool, "web");
    empty(pool, &volume);
    write(pool, &volume, "text");
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    check_class(pool.delete_volume(&volume), Class::InUse, "still has snapshots, s0 for one: delete them first");
    assert_eq!(read(pool, &volume), "text");
    delete(pool, &[&volume.snapshot(&name("s0"))]);
    // Somebody who still has a file open does not keep the volume, or keeps all of it.
    let mut held = fs::File::open(path(pool, &volume).join("state")).unwrap();
    if let Err(error) = pool.delete_volume(&volume) {
        assert_eq!(error.class(), Class::InUse, "{}", chain(&error));
        assert!(pool.exists(&volume).unwrap());
        let mut text = String::new();
        std::io::Read::read_to_string(&mut held, &mut text).unwrap();
        assert_eq!((text, read(pool, &volume)), ("text".into(), "text".into()));
        drop(held);
        delete(pool, &[&volume]);
    }
}

fn what_was_copied_can_go_first(pool: &dyn Pool, spec: &PoolSpec) {
    let snapshots = pool.snapshots().unwrap();
    let (one, two, three, four) = (held(pool, "one"), held(pool, "two"), held(pool, "three"), held(pool, "four"));
    create_from_image(pool, &one, &fingerprint('c'), &mut sample::fill).unwrap();
    if pool.images().is_some() {
        delete(pool, &[&Volume::image(&fingerprint('c'))]);
    }
    write(pool, &one, "one");
    snapshots.snapshot(&one, &name("s0")).unwrap();
    pool.copy(&one, &two, &[name("s0")], &Progress::default()).unwrap();
    pool.copy(&one.snapshot(&name("s0")), &three, &[], &Progress::default()).unwrap();
    write(pool, &one, "later");
    snapshots.snapshot(&one, &name("s1")).unwrap();
    // The older state comes back, which the newer one outlives.
    snapshots.restore(&one, &name("s0")).unwrap();
    assert_eq!((read(pool, &one), read(pool, &one.snapshot(&name("s1")))), ("one".into(), "later".into()));
    delete(pool, &[&one.snapshot(&name("s0"))]);
    pool.copy(&one, &four, &[name("s1")], &Progress::default()).unwrap();
    delete(pool, &[&one.snapshot(&name("s1")), &one]);
    // What is left is what it was, and can be made again by the same names.
    for (volume, expect) in [(&two, "one"), (&two.snapshot(&name("s0")), "one"), (&three, "one"), (&four.snapshot(&name("s1")), "later")] {
        assert_eq!(read(pool, volume), expect, "{volume}");
        assert!(path(pool, volume).join("rootfs/bin/big").exists(), "{volume}");
    }
    create_from_image(pool, &one, &fingerprint('c'), &mut sample::fill).unwrap();
    delete(pool, &[&four.snapshot(&name("s1")), &two.snapshot(&name("s0")), &two, &three, &four, &one]);
    if pool.images().is_some() {
        delete(pool, &[&Volume::image(&fingerprint('c'))]);
    }
    if pool.driver() == DriverKind::Ceph {
        let output = std::process::Command::new("rbd").args(["ls", spec.config.get("source").unwrap()]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "coffer_pool", "something is kept that nobody needs");
    }
    if pool.driver() == DriverKind::Zfs {
        let deleted = format!("{}/deleted", spec.config.get("zfs.pool_name").unwrap());
        let output = std::process::Command::new("zfs").args(["list", "-H", "-r", "-t", "all", "-o", "name", &deleted]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), deleted, "something is kept that nobody needs");
    }
}

fn deleting_follows_no_link(pool: &dyn Pool, spec: &PoolSpec) {
    let canary = spec.state_dir.join("canary");
    fs::create_dir_all(canary.join("inner")).unwrap();
    fs::write(canary.join("inner/file"), "text").unwrap();
    let volume = held(pool, "web");
    pool.create(&volume, &mut |directory| {
        let top = path_of(directory);
        std::os::unix::fs::symlink(&canary, top.join("rootfs"))?;
        std::os::unix::fs::symlink(&canary, top.join("templates"))?;
        Ok(fs::hard_link(top.join("templates"), top.join("other"))?)
    })
    .unwrap();
    tree::measure(pool.mount(&volume).unwrap().as_fd()).unwrap();
    delete(pool, &[&volume]);
    assert_eq!(fs::read_to_string(canary.join("inner/file")).unwrap(), "text");
    fs::remove_dir_all(canary).unwrap();
}

fn deep_and_locked_trees_can_be_copied_and_deleted(pool: &dyn Pool, _: &PoolSpec) {
    const DEPTH: usize = 1500;
    let (volume, copy) = (held(pool, "deep"), held(pool, "copy"));
    let mut locked = false;
    pool.create(&volume, &mut |directory| {
        let mut at = rustix::io::dup(directory)?;
        for level in 0..DEPTH {
            let name = format!("directory-{level}");
            rustix::fs::mkdirat(&at, name.as_str(), Mode::RWXU)?;
            at = rustix::fs::openat(&at, name.as_str(), OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        }
        let file = rustix::fs::openat(&at, "locked", OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR)?;
        rustix::fs::linkat(&at, "locked", directory, "link", rustix::fs::AtFlags::empty())?;
        locked = lock(&file) && lock(&at);
        Ok(())
    })
    .unwrap();
    pool.copy(&volume, &copy, &[], &Progress::default()).unwrap();
    let mut at: OwnedFd = pool.mount(&copy).unwrap();
    for level in 0..DEPTH {
        at = rustix::fs::openat(&at, format!("directory-{level}"), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let link = rustix::fs::statat(&at, "locked", rustix::fs::AtFlags::empty()).unwrap();
    assert_eq!(link.st_nlink, 2);
    drop(at);
    delete(pool, &[&volume, &copy]);
    if !locked {
        println!("     (skipped: this file system has no immutable files)");
    }
}

fn lock(file: &OwnedFd) -> bool {
    rustix::fs::ioctl_getflags(file).and_then(|flags| rustix::fs::ioctl_setflags(file, flags | IFlags::IMMUTABLE)).is_ok()
}

fn mounts_inside_protect_a_volume(pool: &dyn Pool, _: &PoolSpec) {
    let snapshots = pool.snapshots().unwrap();
    let (volume, copy) = (held(pool, "web"), held(pool, "copy"));
    empty(pool, &volume);
    write(pool, &volume, "text");
    snapshots.snapshot(&volume, &name("s0")).unwrap();
    let point = path(pool, &volume).join("mnt");
    fs::create_dir(&point).unwrap();
    rustix::mount::mount("tmpfs", &point, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    fs::write(point.join("inside"), "x").unwrap();
    check_class(snapshots.restore(&volume, &name("s0")), Class::InUse, "is mounted there");
    delete(pool, &[&volume.snapshot(&name("s0"))]);
    check_class(pool.delete_volume(&volume), Class::InUse, "is mounted there");
    assert_eq!(read(pool, &volume), "text");
    pool.copy(&volume, &copy, &[], &Progress::default()).unwrap();
    assert!(!path(pool, &copy).join("mnt/inside").exists());
    rustix::mount::unmount(&point, rustix::mount::UnmountFlags::empty()).unwrap();
    delete(pool, &[&volume, &copy]);
}

fn sizes_are_enforced_or_said_to_be_ignored(pool: &dyn Pool, _: &PoolSpec) {
    let volume = held(pool, "web");
    empty(pool, &volume);
    match pool.set_quota(&volume, Some(Bytes(32 << 20))) {
        Ok(Enforcement::Enforced) => {}
        Ok(Enforcement::Ignored(why)) => {
            assert!(!why.is_empty());
            assert_eq!(pool.usage(&volume).unwrap(), None);
            return delete(pool, &[&volume]);
        }
        // Not every file system can be made smaller; then nothing has changed, and growing works.
        Err(error) => {
            check_class::<()>(Err(error), Class::Invalid, "smaller");
            let before = pool.usage(&volume).unwrap().unwrap().limit.unwrap();
            pool.set_quota(&volume, Some(Bytes(before + (64 << 20)))).unwrap();
            assert_eq!(pool.usage(&volume).unwrap().unwrap().limit, Some(before + (64 << 20)));
            return delete(pool, &[&volume]);
        }
    }
    let big = path(pool, &volume).join("big");
    let error = write_within_limits(&big).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::StorageFull), "{error}");
    fs::remove_file(&big).unwrap();
    // Nobody else is hurt, and the limit stays through a restore and goes when asked.
    let other = held(pool, "other");
    empty(pool, &other);
    fs::write(path(pool, &other).join("big"), noise()).unwrap();
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    pool.snapshots().unwrap().restore(&volume, &name("s0")).unwrap();
    let usage = pool.usage(&volume).unwrap().unwrap();
    assert_eq!(usage.limit, Some(32 << 20));
    assert!(usage.used < 32 << 20, "{usage:?}");
    pool.set_quota(&volume, None).unwrap();
    // Where volumes are devices they always have some size.
    let limit = pool.usage(&volume).unwrap().unwrap().limit;
    assert!(limit.is_none_or(|limit| limit > 96 << 20), "{limit:?}");
    fs::write(path(pool, &volume).join("big"), noise()).unwrap();
    delete(pool, &[&volume.snapshot(&name("s0")), &volume, &other]);
}

/// Writes [`noise`] to disk as a process of an instance would: whoever has `CAP_SYS_RESOURCE` on the host is above the limits
/// of ext4.
///
/// Source: `ignore_hardlimit` in the kernel's fs/quota/dquot.c.
pub fn write_within_limits(path: &Path) -> std::io::Result<()> {
    let bound = || {
        let mut own = rustix::thread::capabilities(None)?;
        own.effective.remove(rustix::thread::CapabilitySet::SYS_RESOURCE);
        rustix::thread::set_capabilities(None, own)?;
        fs::write(path, noise()).and_then(|()| fs::File::open(path)?.sync_all())
    };
    std::thread::scope(|scope| scope.spawn(bound).join().expect("no panic"))
}

/// 64 MiB in which no file system finds anything to compress.
pub fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(1 << 20);
    while block.len() < 1 << 20 {
        // Xorshift: any numbers without a pattern do, and no file system looks for repetitions a MiB away.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_ne_bytes());
    }
    block.repeat(64)
}

fn nested_subvolumes_go_along(pool: &dyn Pool, _: &PoolSpec) {
    let snapshots = pool.snapshots().unwrap();
    let (volume, copy) = (held(pool, "web"), held(pool, "copy"));
    pool.create(&volume, &mut |directory| {
        fs::create_dir_all(path_of(directory).join("var/lib/docker"))?;
        let inner = rustix::fs::openat(directory, "var/lib/docker", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        for outer in ["one", "two"] {
            coffer_sys::btrfs::create_subvolume(inner.as_fd(), outer.as_ref())?;
            let outer = rustix::fs::openat(&inner, outer, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            coffer_sys::btrfs::create_subvolume(outer.as_fd(), "nested".as_ref())?;
            let nested = rustix::fs::openat(&outer, "nested", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            fs::write(path_of(nested.as_fd()).join("file"), "deep")?;
            coffer_sys::btrfs::set_read_only(nested.as_fd(), true)?;
            coffer_sys::btrfs::set_read_only(outer.as_fd(), true)?;
        }
        Ok(())
    })
    .unwrap();
    let deep = "var/lib/docker/two/nested/file";
    let check = |volume: &Volume| assert_eq!(fs::read_to_string(path(pool, volume).join(deep)).unwrap(), "deep");
    snapshots.snapshot(&volume, &name("s0")).unwrap();
    check(&volume.snapshot(&name("s0")));
    pool.copy(&volume, &copy, &[name("s0")], &Progress::default()).unwrap();
    check(&copy);
    write(pool, &copy, "writable");
    assert!(fs::write(path(pool, &copy).join("var/lib/docker/one/x"), "x").is_err(), "read-only ones stay so");
    snapshots.restore(&volume, &name("s0")).unwrap();
    check(&volume);
    for volume in [&volume, &copy] {
        delete(pool, &[&volume.snapshot(&name("s0")), volume]);
    }
}

fn owners_can_be_shifted(pool: &dyn Pool, _: &PoolSpec) {
    let volume = held(pool, "web");
    pool.create(&volume, &mut sample::fill).unwrap();
    let before = describe(&path(pool, &volume));
    let map = coffer_model::IdMap { host: coffer_model::IdRange { start: 1_000_000, size: 65536 } };
    let directory = pool.mount(&volume).unwrap();
    tree::shift(directory.as_fd(), tree::Shift::In(map)).unwrap();
    tree::shift(directory.as_fd(), tree::Shift::In(map)).unwrap();
    let root = path(pool, &volume).join("rootfs");
    let su = fs::metadata(root.join("bin/su")).unwrap();
    assert_eq!((su.uid(), su.mode() & 0o7777), (1_000_000, 0o4755));
    assert_eq!(fs::symlink_metadata(root.join("links/0")).unwrap().uid(), 1_000_033);
    tree::shift(directory.as_fd(), tree::Shift::Out(map)).unwrap();
    check_same(&before, &describe(&path(pool, &volume)));
    fs::write(root.join("foreign"), "").unwrap();
    std::os::unix::fs::chown(root.join("foreign"), Some(70_000), None).unwrap();
    let error = tree::shift(directory.as_fd(), tree::Shift::In(map)).unwrap_err();
    assert_eq!(chain(&error), "at rootfs/foreign: id 70000 is not in the id map");
    drop(directory);
    delete(pool, &[&volume]);
}

fn ids_can_be_mapped(pool: &dyn Pool, _: &PoolSpec) {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};
    let volume = held(pool, "web");
    pool.create(&volume, &mut |top| Ok(rustix::fs::mkdirat(top, "rootfs", Mode::RWXU)?)).unwrap();
    let mut child = Command::new("unshare");
    child.args(["--user", "--map-root-user", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    // What comes back was written by a program that is in the namespace.
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let namespace = fs::File::open(format!("/proc/{}/ns/user", child.id())).unwrap();
    let can = |directory: OwnedFd| supports_idmapped_mounts(directory.as_fd(), namespace.as_fd()).unwrap();
    let old_zfs = || DriverKind::Zfs.version().starts_with("2.1.") || DriverKind::Zfs.version().starts_with("0.");
    let expect = match pool.driver() {
        DriverKind::Zfs => !old_zfs(),
        DriverKind::Cephfs => kernel() >= (6, 7),
        DriverKind::Dir | DriverKind::Overlay | DriverKind::Btrfs | DriverKind::Lvm | DriverKind::Ceph => true,
    };
    match pool.mapped() {
        None => assert_eq!(can(pool.mount(&volume).unwrap()), expect),
        Some(power) => {
            let root = power.mount_root(&volume, Some(namespace.as_fd())).unwrap();
            fs::write(path_of(root.as_fd()).join("inside"), "").unwrap();

            drop(root);
            pool.unmount_volume(&volume).unwrap();
            // Root there is root on disk, and nobody else has an id.
            assert_eq!(fs::metadata(path(pool, &volume).join("rootfs/inside")).unwrap().uid(), 0);
        }
    }
    assert!(!can(fs::File::open("/proc/self").unwrap().into()));
    drop(child.stdin.take());
    child.wait().unwrap();
    delete(pool, &[&volume]);
}

/// The running kernel's version.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn leftovers_are_named_and_temporaries_cleared(pool: &dyn Pool, _: &PoolSpec) {
    let (known, unknown) = (held(pool, "known"), held(pool, "unknown"));
    empty(pool, &known);
    empty(pool, &unknown);
    pool.snapshots().unwrap().snapshot(&unknown, &name("s0")).unwrap();
    fs::create_dir(pool.path().join("containers/not_a_name!")).unwrap();
    let left = leftovers(pool, &BTreeSet::from([known.clone()])).unwrap();
    let foreign = Found::Foreign("containers/not_a_name!".into());
    let expect = [foreign, Found::Volume(unknown.clone()), Found::Volume(unknown.snapshot(&name("s0")))];
    assert_eq!(left, expect);
    check_class(pool.delete(), Class::InUse, "delete its volumes first");
    fs::remove_dir(pool.path().join("containers/not_a_name!")).unwrap();

    // What a server that was killed leaves behind.
    let scratch = pool.path().join(".coffer-tmp");
    fs::create_dir_all(scratch.join("1-1/rootfs/etc")).unwrap();
    fs::set_permissions(scratch.join("1-1"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::write(scratch.join("1-2"), "x").unwrap();
    if pool.driver() == DriverKind::Btrfs {
        let opened = fs::File::open(&scratch).unwrap();
        coffer_sys::btrfs::create_subvolume(opened.as_fd(), "1-3".as_ref()).unwrap();
    } else {
        fs::create_dir(scratch.join("1-3")).unwrap();
    }
    assert_eq!(pool.clear_temporaries().unwrap(), 3);
    delete(pool, &[&unknown.snapshot(&name("s0")), &unknown, &known]);
}

fn the_pool_comes_back_after_unmounting(pool: &dyn Pool, spec: &PoolSpec) {
    let volume = held(pool, "web");
    empty(pool, &volume);
    write(pool, &volume, "text");
    let mut filled = spec.clone();
    // What creation filled in is what is kept and what the pool is opened from.
    assert!(filled.config.get("source").is_some());
    open_pool(&filled).unwrap();
    pool.unmount().unwrap();
    let again = open_pool(&filled).unwrap();
    assert_eq!(read(again.as_ref(), &volume), "text");
    open_pool(&filled).unwrap();
    if path(pool, &volume).exists() {
        delete(pool, &[&volume]);
    }
    filled.config.set("source", "/nowhere/at/all");
    check_class(open_pool(&filled).map(drop), Class::Unavailable, "storage pool pool is not available");
}

fn resources_are_plausible(pool: &dyn Pool, _: &PoolSpec) {
    let resources = pool.resources().unwrap();
    assert!(resources.space_total > 100 << 20 && resources.space_used < resources.space_total, "{resources:?}");
    assert!(resources.inodes_used <= resources.inodes_total);
}
