//! Every key that LXD has for pools and volumes of zfs, lvm, ceph and cephfs, and what becomes of it here: it is taken, or refused in
//! words that say why. None is unknown.

use super::*;
use coffer_base::chain;

/// What a key's value comes to: nothing if it is taken, else a part of what is said.
type Row = (&'static str, &'static str, Option<&'static str>);

const ZFS: &[Row] = &[
    ("size", "5GiB", None),
    ("source", "tank/coffer", None),
    ("source.recover", "true", Some("coffer admin recover")),
    ("source.wipe", "true", None),
    ("zfs.clone_copy", "false", None),
    ("zfs.clone_copy", "rebase", Some("rebase")),
    ("zfs.export", "false", None),
    ("zfs.pool_name", "tank", None),
    ("volume.size", "1GiB", None),
    ("volume.zfs.block_mode", "true", Some("volumes are datasets")),
    ("volume.zfs.blocksize", "16KiB", None),
    ("volume.zfs.blocksize", "3KiB", Some("power of two")),
    ("volume.zfs.delegate", "true", Some("ZFS 2.2 is needed")),
    ("volume.zfs.promote", "true", Some("in any order without it")),
    ("volume.zfs.remove_snapshots", "true", None),
    ("volume.zfs.reserve_space", "true", None),
    ("volume.zfs.use_refquota", "true", None),
];

const LVM: &[Row] = &[
    ("block.type", "qcow2", Some("logical volumes")),
    ("lvm.metadata_size", "1GiB", Some("lvm.thinpool_metadata_size")),
    ("lvm.thinpool_metadata_size", "1GiB", None),
    ("lvm.thinpool_name", "thin", None),
    ("lvm.use_thinpool", "false", None),
    ("lvm.vg.force_reuse", "true", None),
    ("lvm.vg_name", "group", None),
    ("rsync.bwlimit", "1MiB", None),
    ("rsync.compression", "false", None),
    ("size", "5GiB", None),
    ("source", "group", None),
    ("source.recover", "true", Some("coffer admin recover")),
    ("source.wipe", "true", None),
    ("volume.block.create_options", "-O x", Some("their own defaults")),
    ("volume.block.filesystem", "xfs", None),
    ("volume.block.filesystem", "ntfs", Some("ext4")),
    ("volume.block.mount_options", "noatime", None),
    ("volume.lvm.stripes", "2", None),
    ("volume.lvm.stripes.size", "64KiB", None),
    ("volume.lvm.stripes.size", "3KiB", Some("power of two")),
    ("volume.size", "1GiB", None),
];

const CEPH: &[Row] = &[
    ("ceph.cluster_name", "ceph", None),
    ("ceph.osd.data_pool_name", "data", None),
    ("ceph.osd.force_reuse", "true", None),
    ("ceph.osd.pg_name", "32", Some("ceph.osd.pg_num")),
    ("ceph.osd.pg_num", "32", None),
    ("ceph.osd.pool_name", "pool", None),
    ("ceph.osd.pool_size", "3", None),
    ("ceph.rbd.clone_copy", "false", None),
    ("ceph.rbd.du", "false", None),
    ("ceph.rbd.features", "layering,exclusive-lock", None),
    ("ceph.rbd.features", "striping", Some("striping")),
    ("ceph.user.name", "coffer", None),
    ("source", "pool", None),
    ("source.recover", "true", Some("coffer admin recover")),
    ("volatile.pool.pristine", "true", None),
    ("volume.block.create_options", "-O x", Some("their own defaults")),
    ("volume.block.filesystem", "btrfs", None),
    ("volume.block.mount_options", "noatime", None),
    ("volume.size", "1GiB", None),
];

const CEPHFS: &[Row] = &[
    ("cephfs.cluster_name", "ceph", None),
    ("cephfs.create_missing", "true", Some("ceph fs volume create")),
    ("cephfs.data_pool", "data", Some("ceph fs volume create")),
    ("cephfs.fscache", "true", None),
    ("cephfs.meta_pool", "meta", Some("ceph fs volume create")),
    ("cephfs.osd_pg_num", "32", Some("ceph fs volume create")),
    ("cephfs.osd_pool_size", "3", Some("ceph fs volume create")),
    ("cephfs.path", "/coffer", None),
    ("cephfs.user.name", "coffer", None),
    ("source", "files/coffer", None),
    ("source.recover", "true", Some("coffer admin recover")),
    ("volatile.pool.pristine", "true", None),
    ("volume.size", "1GiB", None),
];

/// What pools of all four say of new volumes.
const OF_NEW_VOLUMES: &[Row] = &[
    ("volume.initial.gid", "1000", None),
    ("volume.initial.mode", "0700", None),
    ("volume.initial.uid", "1000", None),
    ("volume.security.shared", "true", Some("virtual machines")),
    ("volume.security.shifted", "true", None),
    ("volume.security.unmapped", "true", None),
    ("volume.snapshots.expiry", "3d", None),
    ("volume.snapshots.expiry.manual", "3d", None),
    ("volume.snapshots.pattern", "s%d", None),
    ("volume.snapshots.schedule", "@daily", None),
];

const CUSTOM: &[Row] = &[
    ("block.create_options", "-O x", Some("their own defaults")),
    ("initial.gid", "1000", None),
    ("initial.mode", "0700", None),
    ("initial.uid", "1000", None),
    ("security.shared", "true", Some("virtual machines")),
    ("security.shifted", "true", None),
    ("security.unmapped", "true", None),
    ("size", "1GiB", None),
    ("snapshots.expiry", "3d", None),
    ("snapshots.expiry.manual", "3d", None),
    ("snapshots.pattern", "s%d", None),
    ("snapshots.schedule", "@daily", None),
    ("volatile.devlxd.owner", "x", Some("makes no volumes")),
    ("volatile.idmap.last", "[]", None),
    ("volatile.idmap.next", "[]", None),
    ("volatile.uuid", "5f2", None),
    ("zfs.block_mode", "true", Some("volumes are datasets")),
    ("zfs.delegate", "true", Some("ZFS 2.2 is needed")),
    ("zfs.promote", "true", Some("in any order without it")),
];

/// What volumes of one driver have beside that.
const ZFS_VOLUME: &[Row] = &[
    ("zfs.blocksize", "16KiB", None),
    ("zfs.blocksize", "3KiB", Some("power of two")),
    ("zfs.remove_snapshots", "true", None),
    ("zfs.reserve_space", "true", None),
    ("zfs.use_refquota", "true", None),
];

const LVM_VOLUME: &[Row] = &[
    ("lvm.stripes", "2", None),
    ("lvm.stripes", "0", Some("from 1 to 128")),
    ("lvm.stripes.size", "64KiB", None),
    ("lvm.stripes.size", "3KiB", Some("power of two")),
];

/// What volumes have that are devices with a file system on each.
const DEVICE_VOLUME: &[Row] = &[
    ("block.filesystem", "xfs", None),
    ("block.filesystem", "ntfs", Some("ext4")),
    ("block.mount_options", "noatime", None),
    ("block.mount_options", "suid", Some("not allowed")),
];

#[track_caller]
fn check_rows(of: &str, rows: &[Row], take: impl Fn(&Config) -> Result<(), StorageError>) {
    for (key, value, refusal) in rows {
        let said = take(&[(*key, *value)].into_iter().collect()).map_err(|error| chain(&error));
        match (said, refusal) {
            (Ok(()), None) => {}
            (Err(said), Some(words)) if said.contains(words) && said.contains(key.trim_start_matches("volume.")) => {}
            (said, expect) => panic!("{of} {key}={value}: {said:?}, but expected is {expect:?}"),
        }
        let unknown = take(&[(format!("{key}x").as_str(), *value)].into_iter().collect()).expect_err("a key that nobody has");
        assert!(chain(&unknown).contains("unknown"), "{of} {key}x: {}", chain(&unknown));
    }
}

#[test]
fn every_key_of_the_large_drivers_is_taken_or_refused_by_name() {
    let pool: PoolName = "p".parse().unwrap();
    for (driver, rows) in [(DriverKind::Zfs, ZFS), (DriverKind::Lvm, LVM), (DriverKind::Ceph, CEPH), (DriverKind::Cephfs, CEPHFS)] {
        for rows in [rows, OF_NEW_VOLUMES] {
            check_rows(driver.as_str(), rows, |config| check_pool(&pool, driver, config));
        }
    }
    for driver in DriverKind::ALL {
        check_rows("volume", CUSTOM, |config| check_volume(&pool, driver, config));
    }
    let own =
        [(ZFS_VOLUME, &[DriverKind::Zfs][..]), (LVM_VOLUME, &[DriverKind::Lvm]), (DEVICE_VOLUME, &[DriverKind::Lvm, DriverKind::Ceph])];
    for (rows, drivers) in own {
        for driver in DriverKind::ALL {
            if drivers.contains(&driver) {
                check_rows(driver.as_str(), rows, |config| check_volume(&pool, driver, config));
                continue;
            }
            let foreign = |row: &Row| (row.0, row.1, Some("only volumes of driver"));
            check_rows(driver.as_str(), &rows.iter().map(foreign).collect::<Vec<_>>(), |config| check_volume(&pool, driver, config));
        }
    }
}
