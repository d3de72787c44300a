//! The configuration keys of pools and volumes: one row each, read by validation and by the manual.

mod volume;

use std::path::Path;

use coffer_base::Bytes;
use coffer_model::key::{self, Class, Key, Support, Value};
use coffer_model::{Config, Expiry, PoolName, Schedule, SnapshotPattern, VolumeKind};

use crate::block::{self, FileSystem};
use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::{btrfs, ceph, cephfs, lvm, zfs};

pub(crate) use self::volume::is_of_driver;
pub use self::volume::{
    CUSTOM_VOLUME, INSTANCE_VOLUME, carried, check_volume, check_volume_change, fixed, for_files_only, new_volume, volume_keys,
    volume_takes,
};

pub(crate) const fn row(name: &'static str, value: Value, default: &'static str, doc: &'static str) -> Key {
    Key { name, value, default, live: true, class: Class::Free, support: Support::Yes, doc }
}

/// A key that is known and refused.
pub(crate) const fn refused(name: &'static str, value: Value, why: &'static str, doc: &'static str) -> Key {
    Key { name, value, default: "", live: true, class: Class::Free, support: Support::No(why), doc }
}

/// An id that an instance may have inside.
pub(crate) const ID: Value = Value::Int(0, 4_294_967_294);

/// Why no volume is shared by machines.
pub(crate) const SHARED: &str = "it is for virtual machines, which this server does not run";

/// Why file systems are made as they are.
pub(crate) const MADE: &str = "file systems are made with their own defaults";

pub(crate) const RECOVER: &str = "a pool that is there already is taken over by coffer admin recover";

/// The keys of a pool: its driver's own, and behind them those that pools of every driver have. What rows are written with is in
/// scope in them.
macro_rules! keys_of_pool {
    ($($own:expr,)*) => {{
            use coffer_model::key::Value;
            use $crate::config::{ID, RECOVER, SHARED, refused, row};
            &[
                $($own,)*
                row("rsync.bwlimit", Value::Size, "0 (no limit)", "The most bytes per second that a transfer between servers may take."),
                row("rsync.compression", Value::Bool, "true", "Whether transfers between servers are compressed."),
                refused("volume.security.shared", Value::Bool, SHARED, "The value of `security.shared` for new volumes."),
                row("volume.security.shifted", Value::Bool, "false", "The value of `security.shifted` for new volumes."),
                row("volume.security.unmapped", Value::Bool, "false", "The value of `security.unmapped` for new volumes."),
                row("volume.snapshots.expiry", Value::Line, "", "The value of `snapshots.expiry` for new volumes."),
                row("volume.snapshots.pattern", Value::Line, "snap%d", "The value of `snapshots.pattern` for new volumes."),
                row("volume.snapshots.schedule", Value::Line, "", "The value of `snapshots.schedule` for new volumes."),
                row("volume.initial.gid", ID, "0", "The value of `initial.gid` for new volumes."),
                row("volume.initial.mode", Value::Line, "711", "The value of `initial.mode` for new volumes."),
                row("volume.initial.uid", ID, "0", "The value of `initial.uid` for new volumes."),
                row("volume.snapshots.expiry.manual", Value::Line, "", "The value of `snapshots.expiry.manual` for new volumes."),
                refused("source.recover", Value::Bool, RECOVER, "Whether what is at the source is taken over."),
                row("user.*", Value::Text, "", "Anything the user wants to keep with the pool."),
            ]
        }};
}

pub(crate) use keys_of_pool;

/// The keys of a `dir` pool.
pub static DIR_POOL: &[Key] = keys_of_pool![
    row(
        "source",
        Value::Line,
        "the pool's place in the state directory",
        "An empty directory of the host, owned by root, that holds the volumes.",
    ),
    row("volatile.initial_source", Value::Line, "", "The source as it was given when the pool was made."),
    row("volume.size", Value::Size, "", "The size of new volumes. Enforced where the file system has project quotas."),
];

/// The keys of an `overlay` pool.
pub static OVERLAY_POOL: &[Key] = keys_of_pool![
    row(
        "source",
        Value::Line,
        "the pool's place in the state directory",
        "An empty directory of the host, owned by root, that holds the volumes.",
    ),
    row("volatile.initial_source", Value::Line, "", "The source as it was given when the pool was made."),
    row(
        "volume.size",
        Value::Size,
        "",
        "The size of new volumes: of an instance, what it may change on top of its image. Enforced where the file system has project quotas.",
    ),
];

/// The keys of a `btrfs` pool.
pub static BTRFS_POOL: &[Key] = keys_of_pool![
    row(
        "source",
        Value::Line,
        "a file that the server makes",
        "A block device, an empty directory or a new path on a btrfs file system, or the UUID of a file system that was made for this pool.",
    ),
    row("source.wipe", Value::Bool, "false", "Whether what is on the block device is overwritten when the pool is made."),
    row("volatile.initial_source", Value::Line, "", "The source as it was given when the pool was made."),
    row(
        "size",
        Value::Size,
        "20% of the free space, at least 5 GiB and at most 30 GiB",
        "The size of the file that the server makes. It can grow.",
    ),
    refused("btrfs.create_options", Value::Line, "file systems are made with btrfs' own defaults", "Options for making the file system."),
    row(
        "btrfs.mount_options",
        Value::Line,
        "user_subvol_rm_allowed",
        "Mount options, separated by commas. Times of access are not kept unless `relatime` or `strictatime` is among them. An option that is taken away lasts until the pool is mounted anew.",
    ),
    row("volume.size", Value::Size, "", "The size of new volumes."),
];

/// The keys of an `lvm` pool.
pub static LVM_POOL: &[Key] = keys_of_pool![
    row(
        "source",
        Value::Line,
        "a file that the server makes",
        "A block device that becomes a volume group, or the name of a volume group that is there and empty.",
    ),
    row("source.wipe", Value::Bool, "false", "Whether what is on the block device is overwritten when the pool is made."),
    row("volatile.initial_source", Value::Line, "", "The source as it was given when the pool was made."),
    row(
        "size",
        Value::Size,
        "20% of the free space, at least 5 GiB and at most 30 GiB",
        "The size of the file that the server makes. It can grow.",
    ),
    row(
        "lvm.use_thinpool",
        Value::Bool,
        "true",
        "Whether volumes share their data with their copies, in a thin pool. Without it copies and snapshots are full copies.",
    ),
    row("lvm.thinpool_name", Value::Line, "LXDThinPool", "The name of the thin pool."),
    refused("block.type", Value::Line, "volumes are logical volumes with a file system on each", "What volumes are on the device."),
    refused(
        "lvm.metadata_size",
        Value::Size,
        "LVM chooses it; of a thin pool it is lvm.thinpool_metadata_size",
        "The size of the group's own data."
    ),
    row("lvm.thinpool_metadata_size", Value::Size, "0 (LVM chooses)", "The size of the thin pool's own data."),
    row("lvm.vg_name", Value::Line, "the pool's name", "The name of the volume group."),
    row("lvm.vg.force_reuse", Value::Bool, "false", "Whether a volume group is used that is not empty or that another pool stands on."),
    refused("volume.block.create_options", Value::Line, MADE, "Options for making file systems."),
    row("volume.block.filesystem", Value::Choice(FileSystem::NAMES), "ext4", "The file system of new volumes."),
    row(
        "volume.block.mount_options",
        Value::Line,
        "discard",
        "How volumes are mounted, unless they have a word of their own: options separated by commas. Times of access are not kept unless `relatime` or `strictatime` is among them.",
    ),
    row("volume.lvm.stripes", Value::Int(1, 128), "1", "Over how many devices a new thick volume is spread."),
    row(
        "volume.lvm.stripes.size",
        Value::Size,
        "LVM's own",
        "How much of a striped volume lies on one device before it goes on on the next: a power of two of at least 4 KiB.",
    ),
    row("volume.size", Value::Size, "10GiB", "The size of new volumes."),
];

/// The keys of a `zfs` pool.
pub static ZFS_POOL: &[Key] = keys_of_pool![
    row(
        "source",
        Value::Line,
        "a file that the server makes",
        "A block device that becomes a ZFS pool, or a dataset of a ZFS pool that is there: an empty one, or a new name in one.",
    ),
    row("source.wipe", Value::Bool, "false", "Whether what is on the block device is overwritten when the pool is made."),
    row("volatile.initial_source", Value::Line, "", "The source as it was given when the pool was made."),
    row(
        "size",
        Value::Size,
        "20% of the free space, at least 5 GiB and at most 30 GiB",
        "The size of the file that the server makes. It can grow.",
    ),
    row(
        "zfs.clone_copy",
        Value::Bool,
        "true",
        "Whether copies of volumes share their data with what they were made from. Snapshots always do, and new instances with their image.",
    ),
    row("zfs.export", Value::Bool, "true", "Whether the ZFS pool that was made for this pool is exported when the server ends."),
    row("zfs.pool_name", Value::Line, "the pool's name", "The name of the ZFS pool, or of the dataset in it."),
    row("volume.size", Value::Size, "", "The size of new volumes."),
    refused("volume.zfs.block_mode", Value::Bool, zfs::DATASETS, "Whether new volumes are block devices with a file system on them."),
    row(
        "volume.zfs.blocksize",
        Value::Size,
        "128KiB",
        "The largest block of files in new volumes: a power of two from 512 bytes to 16 MiB, as far as the ZFS pool takes it.",
    ),
    refused("volume.zfs.delegate", Value::Bool, zfs::DELEGATE, "Whether instances may use ZFS in their volumes."),
    refused("volume.zfs.promote", Value::Bool, zfs::PROMOTE, "Whether new volumes stand before what they were made from."),
    row(
        "volume.zfs.remove_snapshots",
        Value::Bool,
        "false",
        "Accepted because LXD needs it to restore anything but the newest snapshot. Here any can be restored, and none is lost.",
    ),
    row("volume.zfs.reserve_space", Value::Bool, "false", "Whether the size of volumes is kept free for them."),
    row(
        "volume.zfs.use_refquota",
        Value::Bool,
        "false",
        "Whether the size of volumes limits all that they hold. Without it, it limits what they do not share: their own data and their snapshots'.",
    ),
];

/// The table of a driver's pools.
#[must_use]
pub fn pool_keys(driver: DriverKind) -> &'static [Key] {
    match driver {
        DriverKind::Dir => DIR_POOL,
        DriverKind::Overlay => OVERLAY_POOL,
        DriverKind::Btrfs => BTRFS_POOL,
        DriverKind::Lvm => LVM_POOL,
        DriverKind::Zfs => ZFS_POOL,
        DriverKind::Ceph => ceph::CEPH_POOL,
        DriverKind::Cephfs => cephfs::CEPHFS_POOL,
    }
}

/// Every table with the name that `/1.0/metadata/configuration` has for it and a title for the manual.
#[must_use]
pub fn tables() -> Vec<(String, String, &'static [Key])> {
    let pool = |driver: DriverKind| (format!("storage-{driver}"), format!("Storage pools: {driver}"), pool_keys(driver));
    let volumes: [(&str, &str, &'static [Key]); 2] = [
        ("storage-volume", "Storage volumes", volume_keys(VolumeKind::Custom)),
        ("storage-volume-instance", "Storage volumes of instances and images", volume_keys(VolumeKind::Container)),
    ];
    let volumes = volumes.into_iter().map(|(name, title, table)| (name.to_owned(), title.to_owned(), table));
    DriverKind::ALL.into_iter().map(pool).chain(volumes).collect()
}

/// Checks every key of a pool. Looks at no file and no device.
///
/// # Errors
/// [`StorageError::Key`] for an unknown key or a value of the wrong type, [`StorageError::Value`] for one without sense.
pub fn check_pool(pool: &PoolName, driver: DriverKind, config: &Config) -> Result<(), StorageError> {
    for (name, value) in config.iter() {
        check("storage pool", pool, pool_keys(driver), name, value)?;
    }
    let refuse = |key, why: String| Err(StorageError::Value { pool: pool.clone(), key, why });
    if let Some(source) = config.get("source") {
        let name = match driver {
            DriverKind::Dir | DriverKind::Overlay => false,
            DriverKind::Btrfs => source.parse::<uuid::Uuid>().is_ok(),
            DriverKind::Lvm => lvm::is_name(source),
            DriverKind::Zfs => zfs::is_dataset(source),
            DriverKind::Ceph => ceph::is_name(source),
            DriverKind::Cephfs => cephfs::is_source(source),
        };
        if driver == DriverKind::Cephfs && !name {
            return refuse(
                "source",
                format!("{source:?} is no directory of a file system of the cluster: FILE-SYSTEM or FILE-SYSTEM/DIRECTORY"),
            );
        }
        if !name && !Path::new(source).is_absolute() {
            return refuse("source", format!("{source:?} is no absolute path"));
        }
        if Path::new(source).components().any(|part| part == std::path::Component::ParentDir) {
            return refuse("source", "it must not contain ..".into());
        }
    }
    if let Some(size) = config.parse::<Bytes>("size")
        && let Some((what, least)) = least_size(driver)
        && size < least
    {
        return refuse("size", format!("{what} needs at least {least}"));
    }
    if let Some(options) = config.get("volume.block.mount_options")
        && let Err(why) = block::check(options)
    {
        return refuse("volume.block.mount_options", why);
    }
    for key in ["lvm.vg_name", "lvm.thinpool_name"] {
        if let Some(name) = config.get(key)
            && !lvm::is_name(name)
        {
            return refuse(key, format!("{name:?} is no name that LVM takes: it may hold letters, digits and + _ . -"));
        }
    }
    if let Some(name) = config.get("zfs.pool_name")
        && !zfs::is_dataset(name)
    {
        return refuse("zfs.pool_name", format!("{name:?} can name no ZFS pool or dataset"));
    }
    if let Err((key, why)) = ceph::check(config).and_then(|()| cephfs::check(config)) {
        return refuse(key, why);
    }
    volume::check_sizes(pool, config, ["volume.zfs.blocksize", "volume.lvm.stripes.size"])?;
    if let Some(options) = config.get("btrfs.mount_options")
        && let Err(why) = btrfs::check_options(options)
    {
        return refuse("btrfs.mount_options", why);
    }
    check_volume_rules(pool, config, "volume.")
}

/// The least size of a pool's file, and what needs it.
fn least_size(driver: DriverKind) -> Option<(&'static str, Bytes)> {
    match driver {
        DriverKind::Dir | DriverKind::Overlay | DriverKind::Ceph | DriverKind::Cephfs => None,
        DriverKind::Btrfs => Some(("a btrfs file system", btrfs::LEAST_SIZE)),
        DriverKind::Lvm => Some(("a volume group", lvm::LEAST_SIZE)),
        DriverKind::Zfs => Some(("a ZFS pool", zfs::LEAST_SIZE)),
    }
}

/// The keys that say what a pool is made of.
const FIXED: [&str; 9] = [
    "source",
    "source.wipe",
    "volatile.initial_source",
    "lvm.use_thinpool",
    "lvm.thinpool_name",
    "lvm.thinpool_metadata_size",
    "lvm.vg_name",
    "lvm.vg.force_reuse",
    "zfs.pool_name",
];

/// Checks that a pool's configuration may be changed from `old` to `new`.
///
/// # Errors
/// Those of [`check_pool`]; [`StorageError::Value`] for a key that cannot be changed, or a size that shrinks.
pub fn check_change(pool: &PoolName, driver: DriverKind, old: &Config, new: &Config) -> Result<(), StorageError> {
    check_pool(pool, driver, new)?;
    let refuse = |key, why: &str| Err(StorageError::Value { pool: pool.clone(), key, why: why.into() });
    for key in FIXED.into_iter().chain(ceph::FIXED).chain(cephfs::FIXED) {
        if old.get(key) != new.get(key) {
            return refuse(key, "it cannot be changed once the pool is made");
        }
    }
    match (old.parse::<Bytes>("size"), new.parse::<Bytes>("size")) {
        (Some(old), Some(new)) if new < old => refuse("size", "a pool cannot shrink"),
        (Some(_), None) => refuse("size", "it cannot be removed once the pool is made"),
        (None, Some(_)) => refuse("size", "only a pool in a file that the server made has a size"),
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}

fn check(entity: &'static str, pool: &PoolName, table: &'static [Key], name: &str, value: &str) -> Result<(), StorageError> {
    key::check(entity, table, name, value).map(drop).map_err(|cause| StorageError::Key { pool: pool.clone(), cause })
}

/// Says what is wrong with a value, if anything.
type Rule = fn(&str) -> Result<(), &'static str>;

fn check_volume_rules(pool: &PoolName, config: &Config, prefix: &str) -> Result<(), StorageError> {
    let rules: [(&'static str, Rule); 5] = [
        ("initial.mode", mode),
        ("snapshots.expiry", expiry),
        ("snapshots.expiry.manual", expiry),
        ("snapshots.pattern", pattern),
        ("snapshots.schedule", schedule),
    ];
    for (key, rule) in rules {
        if let Some(value) = config.get(&format!("{prefix}{key}")) {
            rule(value).map_err(|why| StorageError::Value { pool: pool.clone(), key, why: why.into() })?;
        }
    }
    Ok(())
}

fn mode(text: &str) -> Result<(), &'static str> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(()),
        _ => Err("it must be octal digits such as 711"),
    }
}

fn expiry(text: &str) -> Result<(), &'static str> {
    match text.parse::<Expiry>() {
        Ok(_) => Ok(()),
        Err(_) => Err("it must be a time such as 1M 2H 3d 4w 5m 6y, each unit once"),
    }
}

fn pattern(text: &str) -> Result<(), &'static str> {
    match text.parse::<SnapshotPattern>() {
        Ok(_) => Ok(()),
        Err(_) => Err("it must make a snapshot's name, with at most one %d or a {{ creation_date }}"),
    }
}

fn schedule(text: &str) -> Result<(), &'static str> {
    match text.parse::<Schedule>() {
        Ok(_) => Ok(()),
        Err(_) => Err("it must be a cron expression of five fields, or words such as @daily, separated by commas"),
    }
}

#[cfg(test)]
mod table;

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_base::chain;

    #[track_caller]
    fn check(driver: DriverKind, keys: &[(&str, &str)], expect: &str) {
        let config: Config = keys.iter().copied().collect();
        let got = check_pool(&"p".parse().unwrap(), driver, &config).map_or_else(|error| chain(&error), |()| "fine".into());
        assert_eq!(got, expect);
    }

    #[test]
    fn pools() {
        for driver in DriverKind::ALL {
            check(driver, &[("volume.initial.uid", "7"), ("rsync.compression", "false"), ("user.note", "x")], "fine");
        }
        check(DriverKind::Dir, &[("source", "/srv/p"), ("rsync.bwlimit", "1MiB"), ("user.note", "x\ny")], "fine");
        check(
            DriverKind::Dir,
            &[("btrfs.mount_options", "ssd")],
            "configuring storage pool p: unknown storage pool configuration key \"btrfs.mount_options\"",
        );
        check(DriverKind::Dir, &[("source", "srv")], "storage pool p: key source: \"srv\" is no absolute path");
        check(DriverKind::Btrfs, &[("source", "/srv/../etc")], "storage pool p: key source: it must not contain ..");
        check(DriverKind::Btrfs, &[("source", "1aa22a9f-8ea8-4c36-b7c8-02a8d0cbbc15")], "fine");
        check(DriverKind::Btrfs, &[("size", "1MiB")], "storage pool p: key size: a btrfs file system needs at least 128.00MiB");
        check(DriverKind::Btrfs, &[("btrfs.mount_options", "compress=zstd:3,noatime")], "fine");
        check(
            DriverKind::Btrfs,
            &[("btrfs.mount_options", "device=/dev/sda")],
            "storage pool p: key btrfs.mount_options: mount option \"device=/dev/sda\" is not allowed",
        );
        check(
            DriverKind::Btrfs,
            &[("volume.snapshots.schedule", "often")],
            "storage pool p: key snapshots.schedule: it must be a cron expression of five fields, or words such as @daily, separated by commas",
        );
    }

    #[test]
    fn a_source_stays_and_a_size_only_grows() {
        let pool: PoolName = "p".parse().unwrap();
        let old: Config = [("source", "/a"), ("size", "5GiB")].into_iter().collect();
        let change = |key: &str, value: &str| {
            let mut new = old.clone();
            new.set(key, value);
            check_change(&pool, DriverKind::Btrfs, &old, &new).map_or_else(|error| chain(&error), |()| "fine".into())
        };
        assert_eq!(change("size", "6GiB"), "fine");
        assert_eq!(change("size", "4GiB"), "storage pool p: key size: a pool cannot shrink");
        assert_eq!(change("source", "/b"), "storage pool p: key source: it cannot be changed once the pool is made");
    }

    #[test]
    fn snapshot_keys() {
        assert!(expiry("1d 2H").is_ok() && expiry("soon").is_err() && expiry("1x").is_err());
        assert!(schedule("@daily,@startup").is_ok() && schedule("*/5 0 * * 1-5").is_ok() && schedule("* * *").is_err());
    }
}
