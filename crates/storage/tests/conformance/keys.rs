//! What is said of single volumes shows on the disk, whatever their pool says of new ones.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::Command;

use coffer_base::{Bytes, Progress, chain};
use coffer_model::Config;
use coffer_storage::{Class, DriverKind, Pool, PoolSpec, Volume, create_pool, open_pool};
use coffer_sys::loop_device::LoopDevice;

use crate::cases::{check_class, delete, empty, instance, name, path, read, write};
use crate::custom::data;
use crate::ground::{Ground, has_cluster};

/// The rules, by name.
pub const ALL: &[(&str, fn())] = &[
    ("keys::datasets_have_blocks_and_limits_of_their_own", datasets_have_blocks_and_limits_of_their_own),
    ("keys::logical_volumes_have_file_systems_of_their_own", logical_volumes_have_file_systems_of_their_own),
    ("keys::logical_volumes_are_spread_over_devices", logical_volumes_are_spread_over_devices),
    ("keys::rbd_images_have_file_systems_of_their_own", rbd_images_have_file_systems_of_their_own),
];

/// Says what holds of a volume.
fn say(pool: &dyn Pool, volume: &Volume, keys: &[(&str, &str)]) {
    let keys: Config = keys.iter().copied().collect();
    let power = pool.keys().unwrap();
    power.check(&keys).unwrap();
    power.configure(volume, &keys).unwrap();
}

#[track_caller]
fn refused(pool: &dyn Pool, keys: &[(&str, &str)], expect: &str) {
    check_class(pool.keys().unwrap().check(&keys.iter().copied().collect()), Class::Invalid, expect);
}

fn with_pool(ground: &Ground, test: fn(&dyn Pool, &PoolSpec)) {
    let mut spec = ground.spec("pool");
    let pool = create_pool(&mut spec, &|warning| panic!("{warning}")).unwrap();
    test(pool.as_ref(), &spec);
    assert_eq!((pool.list().unwrap(), pool.clear_temporaries().unwrap()), (Vec::new(), 0));
    pool.delete().unwrap();
}

/// What a program prints.
fn output(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn datasets_have_blocks_and_limits_of_their_own() {
    if !DriverKind::Zfs.available() {
        return println!("     (skipped: no zfs on this host)");
    }
    with_pool(&Ground::new(DriverKind::Zfs).with("size", "1GiB").with("volume.zfs.blocksize", "64KiB"), of_datasets);
}

/// The block size in KiB, and the limits in MiB: quota, refquota, reservation, refreservation.
fn properties(spec: &PoolSpec, dataset: &str) -> Vec<u64> {
    let dataset = format!("{}/{dataset}", spec.config.get("zfs.pool_name").unwrap());
    let names = "recordsize,quota,refquota,reservation,refreservation";
    let values = output("zfs", &["get", "-H", "-p", "-o", "value", names, &dataset]);
    let mut values: Vec<u64> = values.split(' ').map(|value| value.parse::<u64>().unwrap() >> 10).collect();
    values[1..].iter_mut().for_each(|value| *value >>= 10);
    values
}

fn of_datasets(pool: &dyn Pool, spec: &PoolSpec) {
    let (volume, copy, renamed) = (data("data"), data("copy"), data("renamed"));
    let most: u64 = fs::read_to_string("/sys/module/zfs/parameters/zfs_max_recordsize").unwrap().trim().parse().unwrap();
    let more = Bytes(most * 2);
    refused(pool, &[("zfs.blocksize", &most.saturating_mul(2).to_string())], &format!("takes blocks of at most {}", Bytes(most)));
    let mut config = spec.config.clone();
    config.set("volume.zfs.blocksize", more.0.to_string());
    assert!(chain(&pool.update(&config).unwrap_err()).contains("key volume.zfs.blocksize"), "a pool's word is looked at too");

    say(pool, &volume, &[("zfs.blocksize", "16KiB"), ("zfs.use_refquota", "true"), ("zfs.reserve_space", "true"), ("size", "1EiB")]);
    pool.create_sized(&volume, Some(Bytes(96 << 20)), &mut |_| Ok(())).unwrap();
    assert_eq!(properties(spec, "custom/default_data"), [16, 0, 96, 0, 96]);
    say(pool, &volume, &[("zfs.blocksize", "32KiB"), ("zfs.reserve_space", "true")]);
    assert_eq!(properties(spec, "custom/default_data"), [32, 96, 0, 96, 0]);
    say(pool, &volume, &[]);
    assert_eq!(properties(spec, "custom/default_data"), [64, 96, 0, 0, 0], "what the pool says");
    say(pool, &volume, &[("zfs.blocksize", "8KiB"), ("zfs.use_refquota", "true")]);

    // What is made of a volume has what is said of the new one, and keeps it.
    write(pool, &volume, "one");
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    say(pool, &copy, &[("zfs.blocksize", "4KiB")]);
    pool.copy(&volume, &copy, &[name("s0")], &Progress::default()).unwrap();
    assert_eq!(properties(spec, "custom/default_copy")[0], 4);
    pool.rename(&volume, &renamed).unwrap();
    pool.snapshots().unwrap().restore(&renamed, &name("s0")).unwrap();
    assert_eq!(properties(spec, "custom/default_renamed"), [8, 0, 96, 0, 0]);
    pool.unmount().unwrap();
    let again = open_pool(spec).unwrap();
    again.keys().unwrap().learn(&renamed, &[("zfs.blocksize", "8KiB"), ("zfs.use_refquota", "true")].into_iter().collect());
    again.snapshots().unwrap().restore(&renamed, &name("s0")).unwrap();
    assert_eq!(properties(spec, "custom/default_renamed"), [8, 0, 96, 0, 0], "what was learned when the pool was opened");
    assert_eq!(read(again.as_ref(), &renamed), "one");
    delete(again.as_ref(), &[&renamed.snapshot(&name("s0")), &renamed, &copy.snapshot(&name("s0")), &copy]);

    // Nobody says anything of an instance's, and the name of what is gone says nothing either.
    let (first, second) = (instance("first"), instance("second"));
    empty(again.as_ref(), &first);
    again.copy(&first, &second, &[], &Progress::default()).unwrap();
    empty(again.as_ref(), &renamed);
    for dataset in ["containers/first", "containers/second", "custom/default_renamed"] {
        assert_eq!(properties(spec, dataset), [64, 0, 0, 0, 0], "{dataset}");
    }
    delete(again.as_ref(), &[&first, &second, &renamed]);
}

fn logical_volumes_have_file_systems_of_their_own() {
    if !DriverKind::Lvm.available() {
        return println!("     (skipped: no LVM on this host)");
    }
    let ground = Ground::new(DriverKind::Lvm).with("size", "3GiB").with("volume.size", "192MiB");
    with_pool(&ground, |pool, spec| {
        let thin = "volumes of a thin pool are spread as that is";
        refused(pool, &[("lvm.stripes", "1")], thin);
        refused(pool, &[("lvm.stripes.size", "64KiB")], thin);
        of_devices(pool, spec);
    });
}

fn rbd_images_have_file_systems_of_their_own() {
    if !has_cluster() {
        return println!("     (skipped: no Ceph cluster for tests)");
    }
    with_pool(&Ground::new(DriverKind::Ceph).with("volume.size", "192MiB").with("ceph.osd.pg_num", "8"), of_devices);
}

/// The file system of a volume and how it is mounted, by the table of mounts.
fn mounted(pool: &dyn Pool, volume: &Volume) -> String {
    let path = path(pool, volume);
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = table.lines().find(|line| line.split(' ').nth(1) == path.to_str()).unwrap();
    line.split(' ').skip(2).take(2).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check_mounted(pool: &dyn Pool, volume: &Volume, words: &[&str], none: &[&str]) {
    let line = mounted(pool, volume);
    let has = |word: &&&str| line.split([' ', ',']).any(|found| found.starts_with(**word));
    assert!(words.iter().all(|word| has(&word)) && !none.iter().any(|word| has(&word)), "{line}");
}

fn of_devices(pool: &dyn Pool, _: &PoolSpec) {
    let (volume, copy, clone) = (data("data"), data("copy"), data("clone"));
    refused(pool, &[("block.filesystem", "xfs")], "key size: xfs needs at least 300.00MiB");
    let plain = data("plain");
    empty(pool, &plain);
    check_mounted(pool, &plain, &["ext4", "noatime", "discard"], &["compress"]);
    delete(pool, &[&plain]);

    let btrfs = [("block.filesystem", "btrfs"), ("block.mount_options", "relatime,compress=zstd")];
    say(pool, &volume, &btrfs);
    pool.create_sized(&volume, Some(Bytes(256 << 20)), &mut |_| Ok(())).unwrap();
    check_mounted(pool, &volume, &["btrfs", "relatime", "compress=zstd"], &["noatime"]);
    write(pool, &volume, "one");
    // What a mount is like changes with the next one.
    say(pool, &volume, &[btrfs[0], ("block.mount_options", "noatime")]);
    check_mounted(pool, &volume, &["compress=zstd"], &["noatime"]);
    pool.unmount_volume(&volume).unwrap();
    check_mounted(pool, &volume, &["btrfs", "noatime"], &["compress", "discard"]);

    // A copy is a clone, unless it is to have another file system.
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    write(pool, &volume, "two");
    say(pool, &clone, &btrfs[..1]);
    say(pool, &copy, &[("block.filesystem", "ext4"), ("block.mount_options", "strictatime")]);
    for target in [&clone, &copy] {
        pool.copy(&volume, target, &[name("s0")], &Progress::default()).unwrap();
        assert_eq!((read(pool, target), read(pool, &target.snapshot(&name("s0")))), ("two".to_owned(), "one".to_owned()));
    }
    check_mounted(pool, &clone, &["btrfs", "noatime"], &[]);
    check_mounted(pool, &copy, &["ext4"], &["noatime", "relatime", "discard"]);
    check_mounted(pool, &copy.snapshot(&name("s0")), &["ext4", "ro"], &[]);
    pool.snapshots().unwrap().restore(&copy, &name("s0")).unwrap();
    check_mounted(pool, &copy, &["ext4"], &["noatime", "relatime"]);
    assert_eq!(read(pool, &copy), "one");
    let all = [&volume, &copy, &clone].map(|volume| [volume.snapshot(&name("s0")), volume.clone()]);
    delete(pool, &all.iter().flatten().collect::<Vec<_>>());
}

fn logical_volumes_are_spread_over_devices() {
    if !DriverKind::Lvm.available() {
        return println!("     (skipped: no LVM on this host)");
    }
    let ground = Ground::new(DriverKind::Lvm).with("lvm.use_thinpool", "false").with("volume.size", "64MiB");
    let group = ground.config.get("lvm.vg_name").unwrap().to_owned();
    let devices = ["one", "two"].map(|file| {
        let opened = File::options().read(true).write(true).create_new(true).open(ground.path(file)).unwrap();
        opened.set_len(256 << 20).unwrap();
        LoopDevice::attach(opened.as_fd()).unwrap()
    });
    let paths = devices.each_ref().map(|device| device.path().to_str().unwrap().to_owned());
    output("vgcreate", &["--yes", &group, &paths[0], &paths[1]]);
    let ground = ground.with("source", &group);
    with_pool(&ground, of_striped_volumes);
    output("vgremove", &["--yes", &group]);
    for (device, path) in devices.into_iter().zip(&paths) {
        output("pvremove", &["--yes", path]);
        device.detach().unwrap();
    }
}

/// Over how many devices each volume of a group is spread, and in stripes of how many bytes. What a volume grew by has a line of its
/// own, which has to say the same.
fn stripes(spec: &PoolSpec) -> String {
    let group = spec.config.get("lvm.vg_name").unwrap();
    let fields = ["--options", "lv_name,stripes,stripesize", "--sort", "lv_name"];
    let words = ["--noheadings", "--units", "b", "--nosuffix", "--separator", "/"];
    let lines = output("lvs", &[&words[..], &fields, &[group]].concat());
    let mut lines: Vec<&str> = lines.split(' ').filter_map(|line| Some(line.split_once('/')?.1)).collect();
    lines.dedup();
    lines.join(" ")
}

fn of_striped_volumes(pool: &dyn Pool, spec: &PoolSpec) {
    let (volume, copy) = (data("a"), data("b"));
    refused(pool, &[("lvm.stripes", "3")], "it has 2");
    refused(pool, &[("lvm.stripes.size", "8MiB")], "is made of pieces of 4.00MiB");
    say(pool, &volume, &[("lvm.stripes", "2"), ("lvm.stripes.size", "64KiB")]);
    empty(pool, &volume);
    assert_eq!(stripes(spec), "2/65536");
    write(pool, &volume, "kept");
    // A copy has what is said of it, and that is nothing.
    pool.copy(&volume, &copy, &[], &Progress::default()).unwrap();
    assert_eq!(stripes(spec), "2/65536 1/0");
    // Whole stripes are cut off, and none of what the file system still has.
    for size in [Bytes(37 << 20), Bytes(75 << 20)] {
        pool.set_quota(&volume, Some(size)).unwrap();
        assert!(pool.usage(&volume).unwrap().unwrap().limit.unwrap() >= size.0);
        assert_eq!((read(pool, &volume), stripes(spec).as_str()), ("kept".to_owned(), "2/65536 1/0"));
        pool.unmount_volume(&volume).unwrap();
    }
    delete(pool, &[&volume, &copy]);
}
