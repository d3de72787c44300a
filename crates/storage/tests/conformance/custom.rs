//! What every driver must do with users' volumes and their snapshots.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use coffer_base::{Bytes, Progress};
use coffer_model::ProjectName;
use coffer_storage::{Class, Enforcement, Pool, PoolSpec, Volume, disk_file};

use crate::cases::{Case, check_class, delete, empty, name, path, read, write};

/// Every rule.
pub const ALL: &[Case] = &[
    Case { name: "the_top_of_a_users_volume_is_the_users", run: the_top_of_a_users_volume_is_the_users },
    Case { name: "snapshots_of_a_users_volume", run: snapshots_of_a_users_volume },
    Case { name: "a_volume_is_made_in_its_size", run: a_volume_is_made_in_its_size },
    Case { name: "a_users_volume_goes_to_another_project", run: a_users_volume_goes_to_another_project },
    Case { name: "disks_in_files_stay_sparse", run: disks_in_files_stay_sparse },
];

pub fn data(text: &str) -> Volume {
    Volume::custom(&ProjectName::default_project(), &text.parse().unwrap())
}

/// Owner and permissions of a volume's top.
fn top(pool: &dyn Pool, volume: &Volume) -> (u32, u32, u32) {
    let stat = fs::metadata(path(pool, volume)).unwrap();
    (stat.uid(), stat.gid(), stat.mode() & 0o7777)
}

fn the_top_of_a_users_volume_is_the_users(pool: &dyn Pool, _: &PoolSpec) {
    let (volume, copy) = (data("data"), data("copy"));
    empty(pool, &volume);
    assert_eq!(top(pool, &volume), (0, 0, 0o711));
    // Nobody of the host gets that far.
    let home = fs::metadata(pool.path().join("custom")).map(|stat| stat.mode() & 0o7777);
    assert!(home.is_ok_and(|mode| mode == 0o700));
    let give = |owner: u32, mode: u32| {
        let directory = path(pool, &volume);
        chown(&directory, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
    };
    give(1000, 0o2775);
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    give(33, 0o700);
    pool.copy(&volume, &copy, &[name("s0")], &Progress::default()).unwrap();
    assert_eq!(top(pool, &copy), (33, 33, 0o700));
    assert_eq!(top(pool, &copy.snapshot(&name("s0"))), (1000, 1000, 0o2775));
    pool.snapshots().unwrap().restore(&volume, &name("s0")).unwrap();
    assert_eq!(top(pool, &volume), (1000, 1000, 0o2775));
    delete(pool, &[&volume.snapshot(&name("s0")), &volume, &copy.snapshot(&name("s0")), &copy]);
}

fn snapshots_of_a_users_volume(pool: &dyn Pool, _: &PoolSpec) {
    let (volume, renamed) = (data("data"), data("renamed"));
    let snapshots = pool.snapshots().unwrap();
    empty(pool, &volume);
    for state in ["one", "two"] {
        write(pool, &volume, state);
        snapshots.snapshot(&volume, &name(state)).unwrap();
    }
    write(pool, &volume, "three");
    check_class(snapshots.snapshot(&volume, &name("one")), Class::Exists, "volume snapshot default_data/one already");
    check_class(pool.delete_volume(&volume), Class::InUse, "still has snapshots");
    check_class(snapshots.restore(&volume, &name("none")), Class::NotFound, "default_data/none");
    assert_eq!(read(pool, &volume), "three");
    pool.rename(&volume.snapshot(&name("two")), &volume.snapshot(&name("deux"))).unwrap();
    pool.rename(&volume, &renamed).unwrap();
    assert_eq!(snapshots.list(&volume).unwrap(), []);
    assert_eq!(snapshots.list(&renamed).unwrap(), [name("deux"), name("one")]);
    // Any snapshot can be restored, not only the newest, and all of them stay.
    snapshots.restore(&renamed, &name("one")).unwrap();
    assert_eq!(read(pool, &renamed), "one");
    snapshots.restore(&renamed, &name("deux")).unwrap();
    assert_eq!(read(pool, &renamed), "two");
    delete(pool, &[&renamed.snapshot(&name("one")), &renamed.snapshot(&name("deux")), &renamed]);
}

fn a_volume_is_made_in_its_size(pool: &dyn Pool, spec: &PoolSpec) {
    let volume = data("small");
    // Less than the pool's own default, which not every file system could be made smaller from.
    let size = match spec.config.get("volume.block.filesystem") {
        Some("xfs") => Bytes(304 << 20),
        Some("btrfs") => Bytes(160 << 20),
        _ => Bytes(32 << 20),
    };
    pool.create_sized(&volume, Some(size), &mut |_| Ok(())).unwrap();
    if pool.set_quota(&volume, Some(size)).unwrap() == Enforcement::Enforced {
        assert_eq!(pool.usage(&volume).unwrap().unwrap().limit, Some(size.0));
    }
    delete(pool, &[&volume]);
}

fn a_users_volume_goes_to_another_project(pool: &dyn Pool, _: &PoolSpec) {
    let (volume, moved) = (data("my_data"), Volume::custom(&"dev".parse().unwrap(), &"data".parse().unwrap()));
    empty(pool, &volume);
    write(pool, &volume, "here");
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    pool.rename(&volume, &moved).unwrap();
    assert_eq!((read(pool, &moved), read(pool, &moved.snapshot(&name("s0")))), ("here".to_owned(), "here".to_owned()));
    delete(pool, &[&moved.snapshot(&name("s0")), &moved]);
}

fn disks_in_files_stay_sparse(pool: &dyn Pool, _: &PoolSpec) {
    const SIZE: Bytes = Bytes(64 << 20);
    let (volume, copy) = (data("disk"), data("copy"));
    pool.create(&volume, &mut |top| {
        let file = disk_file::create(top, SIZE)?;
        Ok(rustix::io::pwrite(&file, &[7; 4096], 32 << 20).map(drop)?)
    })
    .unwrap();
    pool.snapshots().unwrap().snapshot(&volume, &name("s0")).unwrap();
    pool.copy(&volume, &copy, &[name("s0")], &Progress::default()).unwrap();
    for volume in [&volume, &volume.snapshot(&name("s0")), &copy, &copy.snapshot(&name("s0"))] {
        let directory = pool.mount(volume).unwrap();
        assert_eq!(disk_file::size(directory.as_fd()).unwrap(), SIZE, "{volume}");
        assert!(disk_file::used(directory.as_fd()).unwrap().0 < 1 << 20, "{volume} takes room for what nobody wrote");
        let mut read = [0; 4096];
        rustix::io::pread(disk_file::open(directory.as_fd()).unwrap(), &mut read, 32 << 20).unwrap();
        assert_eq!(read, [7; 4096], "{volume}");
    }
    let directory = pool.mount(&copy).unwrap();
    disk_file::grow(directory.as_fd(), Bytes(SIZE.0 * 2)).unwrap();
    assert_eq!(disk_file::size(directory.as_fd()).unwrap(), Bytes(SIZE.0 * 2));
    drop(directory);
    delete(pool, &[&volume.snapshot(&name("s0")), &volume, &copy.snapshot(&name("s0")), &copy]);
}
