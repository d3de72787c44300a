//! The keys of volumes: which there are, which of them belong to one driver alone, and what a new volume has of them.

use coffer_base::Bytes;
use coffer_model::key::{self, Key, Support, Value};
use coffer_model::{Config, ContentType, PoolName, VolumeKind};

use super::{ID, MADE, SHARED, check, check_volume_rules, refused, row};
use crate::block::{self, FileSystem};
use crate::error::StorageError;
use crate::kind::DriverKind;
use crate::{lvm, zfs};

/// The keys of the root volume of an instance and of an image volume.
pub static INSTANCE_VOLUME: &[Key] = &[
    row("size", Value::Size, "the pool's volume.size", "The most bytes that the volume may hold."),
    row("volatile.idmap.last", Value::Text, "", "The id map that the files on disk are shifted by."),
    row("volatile.idmap.next", Value::Text, "", "The id map that the files are to be shifted by next."),
    row("volatile.uuid", Value::Line, "random", "The volume's own identity."),
    row("user.*", Value::Text, "", "Anything the user wants to keep with the volume."),
];

/// The keys of a user's volume.
pub static CUSTOM_VOLUME: &[Key] = &[
    refused("block.create_options", Value::Line, MADE, "Options for making the volume's file system."),
    row(
        "block.filesystem",
        Value::Choice(FileSystem::NAMES),
        "the pool's volume.block.filesystem",
        "The file system of a volume of files in a pool of driver lvm or ceph. It stays once the volume is made.",
    ),
    row(
        "block.mount_options",
        Value::Line,
        "the pool's volume.block.mount_options",
        "How that is mounted, from the next mount on: options of that file system, separated by commas, and `noatime`, `relatime`, `strictatime`, `nodiratime`.",
    ),
    refused(
        "btrfs.compression",
        Value::Line,
        "set it for the whole pool: btrfs.mount_options=compress=zstd",
        "How the volume's files are compressed.",
    ),
    row(
        "lvm.stripes",
        Value::Int(1, 128),
        "the pool's volume.lvm.stripes",
        "Over how many devices a volume is spread, in a pool of driver lvm without thin pool. It stays once the volume is made.",
    ),
    row(
        "lvm.stripes.size",
        Value::Size,
        "the pool's volume.lvm.stripes.size",
        "How much of a striped volume lies on one device before it goes on on the next: a power of two of at least 4 KiB. It stays once the volume is made.",
    ),
    row("initial.gid", ID, "0", "The group that the top of a new volume belongs to, as instances see it."),
    row("initial.mode", Value::Line, "711", "The permissions of the top of a new volume, in octal digits."),
    row("initial.uid", ID, "0", "The user that the top of a new volume belongs to, as instances see it."),
    row(
        "size",
        Value::Size,
        "the pool's volume.size; 10GiB for block volumes",
        "The most bytes that the volume may hold. It can change at any time; a block volume only grows.",
    ),
    refused("security.shared", Value::Bool, SHARED, "Whether several virtual machines may use a block volume."),
    row(
        "security.shifted",
        Value::Bool,
        "the pool's volume.security.shifted",
        "Whether privileged and unprivileged instances may share it. Unprivileged ones always can, and see the same owners.",
    ),
    row(
        "security.unmapped",
        Value::Bool,
        "the pool's volume.security.unmapped",
        "Whether owners stand in it as the host's ids: instances then see only the owners that their id maps hold.",
    ),
    row(
        "snapshots.expiry",
        Value::Line,
        "the pool's volume.snapshots.expiry",
        "After what time a snapshot is removed: `1M 2H 3d 4w 5m 6y`.",
    ),
    row(
        "snapshots.expiry.manual",
        Value::Line,
        "the volume's snapshots.expiry",
        "After what time a snapshot that a user takes is removed.",
    ),
    row(
        "snapshots.pattern",
        Value::Line,
        "the pool's volume.snapshots.pattern",
        "The name of snapshots made by schedule; `%d` is a number.",
    ),
    row(
        "snapshots.schedule",
        Value::Line,
        "the pool's volume.snapshots.schedule",
        "When snapshots are made: a cron expression, or `@hourly`, `@daily`, …",
    ),
    row("volatile.idmap.last", Value::Text, "", "The id map that the files on disk are shifted by."),
    row("volatile.idmap.next", Value::Text, "", "The id map that the files are to be shifted by next."),
    refused("volatile.devlxd.owner", Value::Line, "this server's guest API makes no volumes", "Which instance made the volume."),
    row("volatile.uuid", Value::Line, "random", "The volume's own identity."),
    refused("zfs.block_mode", Value::Bool, zfs::DATASETS, "Whether the volume is a block device with a file system on it."),
    row(
        "zfs.blocksize",
        Value::Size,
        "the pool's volume.zfs.blocksize",
        "The largest block of files in a volume of a pool of driver zfs: a power of two from 512 bytes to 16 MiB, as far as the ZFS pool takes it. Changed, it holds for what is written from then on.",
    ),
    refused("zfs.delegate", Value::Bool, zfs::DELEGATE, "Whether an instance may use ZFS in it."),
    refused("zfs.promote", Value::Bool, zfs::PROMOTE, "Whether it stands before what it was made from."),
    row(
        "zfs.remove_snapshots",
        Value::Bool,
        "the pool's volume.zfs.remove_snapshots",
        "Accepted in a pool of driver zfs as `volume.zfs.remove_snapshots` of the pool is: no snapshot has to go.",
    ),
    row(
        "zfs.reserve_space",
        Value::Bool,
        "the pool's volume.zfs.reserve_space",
        "Whether the size of a volume of a pool of driver zfs is kept free for it. Takes effect at once.",
    ),
    row(
        "zfs.use_refquota",
        Value::Bool,
        "the pool's volume.zfs.use_refquota",
        "Whether the size of a volume of a pool of driver zfs limits all that it holds, shared or not. Takes effect at once.",
    ),
    row("user.*", Value::Text, "", "Anything the user wants to keep with the volume."),
];

/// The keys of a user's volume that only some drivers have, and the pool's word for new volumes behind each.
const OF_DRIVERS: [(&str, &[DriverKind]); 8] = [
    ("block.filesystem", &[DriverKind::Lvm, DriverKind::Ceph]),
    ("block.mount_options", &[DriverKind::Lvm, DriverKind::Ceph]),
    ("lvm.stripes", &[DriverKind::Lvm]),
    ("lvm.stripes.size", &[DriverKind::Lvm]),
    ("zfs.blocksize", &[DriverKind::Zfs]),
    ("zfs.remove_snapshots", &[DriverKind::Zfs]),
    ("zfs.reserve_space", &[DriverKind::Zfs]),
    ("zfs.use_refquota", &[DriverKind::Zfs]),
];

/// The keys that say what a volume is made of.
const FIXED: [&str; 3] = ["block.filesystem", "lvm.stripes", "lvm.stripes.size"];

/// The keys that mean something only where there are files.
const FILES_ONLY: [&str; 4] = ["block.", "initial.", "security.shifted", "security.unmapped"];

/// The table of a kind of volumes. What only some drivers have is in it too: see [`volume_takes`].
#[must_use]
pub fn volume_keys(kind: VolumeKind) -> &'static [Key] {
    match kind {
        VolumeKind::Container | VolumeKind::Image => INSTANCE_VOLUME,
        VolumeKind::Custom => CUSTOM_VOLUME,
    }
}

/// Says whether users' volumes of a driver have a key, and it can be set.
#[must_use]
pub fn volume_takes(driver: DriverKind, name: &str) -> bool {
    let supported = key::find(CUSTOM_VOLUME, name).is_some_and(|row| matches!(row.support, Support::Yes));
    supported && foreign(driver, name).is_none()
}

/// Says whether a key is one that not all drivers have, and this one has.
pub(crate) fn is_of_driver(driver: DriverKind, name: &str) -> bool {
    OF_DRIVERS.iter().any(|(key, drivers)| *key == name && drivers.contains(&driver))
}

/// The key that only meant something in the files of a volume, where it has such keys.
#[must_use]
pub fn for_files_only(config: &Config) -> Option<&str> {
    config.iter().map(|(key, _)| key).find(|key| is_for_files(key))
}

/// What goes along when a volume goes to a pool of a driver: all but the keys that only other drivers have, or other pools of this one.
#[must_use]
pub fn carried(driver: DriverKind, pool: &Config, config: &Config) -> Config {
    config.iter().filter(|(key, _)| foreign(driver, key).is_none() && !(is_stripes(key) && is_thin(driver, pool))).collect()
}

/// What a new volume has: what is said of it, and what the pool says of new volumes.
#[must_use]
pub fn new_volume(driver: DriverKind, pool: &Config, content: ContentType, said: &Config) -> Config {
    let files = content == ContentType::Filesystem;
    let thin = is_thin(driver, pool);
    // What is in a thin pool is spread as that is, whatever holds for volumes with room of their own.
    let fits = |key: &str| (files || !is_for_files(key)) && !(thin && is_stripes(key));
    let mut config: Config = pool.under("volume.").filter(|(key, _)| fits(key) && volume_takes(driver, key)).collect();
    config.merge(said);
    config.0.retain(|_, value| !value.is_empty());
    if files && volume_takes(driver, "block.filesystem") {
        // Written down, for the pool may say something else of later ones.
        let kind = config.get("block.filesystem").unwrap_or(FileSystem::Ext4.as_str()).to_owned();
        if said.get("block.mount_options").is_none()
            && let Some(kind) = FileSystem::named(&kind)
        {
            let options = block::fitting(kind, config.get("block.mount_options").unwrap_or(block::DEFAULT_OPTIONS));
            config.set("block.mount_options", options);
        }
        config.set("block.filesystem", kind);
        config.0.retain(|_, value| !value.is_empty());
    }
    config
}

/// Checks every key of a user's volume. Looks at no file and no device.
///
/// # Errors
/// Those of [`super::check_pool`]; [`StorageError::Value`] for a key that volumes of other drivers have.
pub fn check_volume(pool: &PoolName, driver: DriverKind, config: &Config) -> Result<(), StorageError> {
    let refuse = |key, why: String| Err(StorageError::Value { pool: pool.clone(), key, why });
    for (name, value) in config.iter() {
        if let Some((key, drivers)) = foreign(driver, name).filter(|_| !value.is_empty()) {
            let names: Vec<&str> = drivers.iter().map(|driver| driver.as_str()).collect();
            return refuse(key, format!("only volumes of driver {} have it, and this pool is of driver {driver}", names.join(" or ")));
        }
        check("storage volume", pool, CUSTOM_VOLUME, name, value)?;
    }
    if config.flag("security.shifted", false) && config.flag("security.unmapped", false) {
        return refuse("security.shifted", "it cannot be used together with security.unmapped".into());
    }
    if let Some(options) = config.get("block.mount_options") {
        let kind = config.get("block.filesystem").and_then(FileSystem::named);
        if let Err(why) = kind.map_or_else(|| block::check(options), |kind| block::check_for(kind, options)) {
            return refuse("block.mount_options", why);
        }
    }
    check_sizes(pool, config, ["zfs.blocksize", "lvm.stripes.size"])?;
    check_volume_rules(pool, config, "")
}

/// Checks that a volume's configuration may be changed from `old` to `new`.
///
/// # Errors
/// [`StorageError::Value`] for a key that cannot be changed.
pub fn check_volume_change(pool: &PoolName, old: &Config, new: &Config) -> Result<(), StorageError> {
    match FIXED.into_iter().find(|key| old.get(key) != new.get(key)) {
        Some(key) => {
            let why = "it cannot be changed once the volume is made: copy the volume and say it of the copy".into();
            Err(StorageError::Value { pool: pool.clone(), key, why })
        }
        None => Ok(()),
    }
}

/// What says of a volume what it is made of, and so stays when its configuration is replaced.
pub fn fixed(config: &Config) -> impl Iterator<Item = (&str, &str)> {
    config.iter().filter(|(key, _)| FIXED.contains(key))
}

/// Checks the sizes of blocks and stripes, under the names that they have with a volume or with a pool.
pub(super) fn check_sizes(pool: &PoolName, config: &Config, [block, stripe]: [&'static str; 2]) -> Result<(), StorageError> {
    let size = |key| config.parse::<Bytes>(key).map(|size| (key, size));
    let refuse = |key, why: &str| Err(StorageError::Value { pool: pool.clone(), key, why: why.into() });
    match (size(block), size(stripe)) {
        (Some((key, size)), _) if !zfs::is_block_size(size) => refuse(key, "it must be a power of two from 512 bytes to 16MiB"),
        (_, Some((key, size))) if !lvm::is_stripe_size(size) => refuse(key, "it must be a power of two of at least 4KiB"),
        _ => Ok(()),
    }
}

/// Names the drivers whose volumes have a key that those of this one have not.
fn foreign(driver: DriverKind, name: &str) -> Option<(&'static str, &'static [DriverKind])> {
    OF_DRIVERS.into_iter().find(|(key, drivers)| *key == name && !drivers.contains(&driver))
}

/// Says whether volumes of a pool are in a thin pool, and spread over devices as that is.
fn is_thin(driver: DriverKind, pool: &Config) -> bool {
    driver == DriverKind::Lvm && pool.flag("lvm.use_thinpool", true)
}

fn is_stripes(key: &str) -> bool {
    key.starts_with("lvm.stripes")
}

fn is_for_files(key: &str) -> bool {
    FILES_ONLY.iter().any(|prefix| key.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_base::chain;

    #[track_caller]
    fn refused(driver: DriverKind, keys: &[(&str, &str)], expect: &str) {
        let config: Config = keys.iter().copied().collect();
        let error = check_volume(&"p".parse().unwrap(), driver, &config).expect_err("it should be refused");
        assert_eq!(chain(&error), expect);
    }

    #[track_caller]
    fn made(driver: DriverKind, pool: &[(&str, &str)], content: ContentType, said: &[(&str, &str)], expect: &[(&str, &str)]) {
        let [pool, said, expect] = [pool, said, expect].map(|keys| keys.iter().copied().collect::<Config>());
        assert_eq!(new_volume(driver, &pool, content, &said), expect);
    }

    #[test]
    fn a_key_of_another_driver_names_it() {
        for driver in DriverKind::ALL.into_iter().filter(|driver| *driver != DriverKind::Zfs) {
            let expect =
                format!("storage pool p: key zfs.blocksize: only volumes of driver zfs have it, and this pool is of driver {driver}");
            refused(driver, &[("zfs.blocksize", "16KiB")], &expect);
        }
        let expect = "storage pool p: key block.filesystem: only volumes of driver lvm or ceph have it, and this pool is of driver dir";
        refused(DriverKind::Dir, &[("block.filesystem", "xfs")], expect);
    }

    #[test]
    fn values_without_sense() {
        let blocks = "storage pool p: key zfs.blocksize: it must be a power of two from 512 bytes to 16MiB";
        for size in ["256", "3KiB", "32MiB", "0"] {
            refused(DriverKind::Zfs, &[("zfs.blocksize", size)], blocks);
        }
        let stripes = "storage pool p: key lvm.stripes.size: it must be a power of two of at least 4KiB";
        refused(DriverKind::Lvm, &[("lvm.stripes.size", "6KiB")], stripes);
        for option in ["dev", "suid", "exec", "bind", "logdev=/dev/sda", "context=x"] {
            let expect = format!("storage pool p: key block.mount_options: mount option {option:?} is not allowed");
            refused(DriverKind::Ceph, &[("block.mount_options", option)], &expect);
        }
        let keys = [("block.filesystem", "ext4"), ("block.mount_options", "noatime,compress=zstd")];
        refused(DriverKind::Lvm, &keys, "storage pool p: key block.mount_options: ext4 has no mount option \"compress=zstd\"");
    }

    #[test]
    fn new_volumes_have_what_their_pool_says() {
        let pool =
            [("volume.zfs.blocksize", "16KiB"), ("volume.security.shifted", "true"), ("volume.size", "1GiB"), ("zfs.export", "false")];
        let expect = [("zfs.blocksize", "16KiB"), ("security.shifted", "true"), ("size", "2GiB")];
        made(DriverKind::Zfs, &pool, ContentType::Filesystem, &[("size", "2GiB")], &expect);
        made(DriverKind::Zfs, &pool, ContentType::Block, &[], &[("zfs.blocksize", "16KiB"), ("size", "1GiB")]);
        made(DriverKind::Zfs, &pool[..1], ContentType::Filesystem, &[("zfs.blocksize", "")], &[]);
    }

    #[test]
    fn a_volume_that_is_a_device_knows_its_file_system() {
        let plain = [("block.filesystem", "ext4"), ("block.mount_options", "discard")];
        made(DriverKind::Ceph, &[], ContentType::Filesystem, &[], &plain);
        made(DriverKind::Ceph, &[], ContentType::Block, &[], &[]);
        let pool = [("volume.block.filesystem", "btrfs"), ("volume.block.mount_options", "noatime,compress=zstd")];
        let own = [("block.filesystem", "btrfs"), ("block.mount_options", "noatime,compress=zstd")];
        made(DriverKind::Lvm, &pool, ContentType::Filesystem, &[], &own);
        // What only the pool's file system has is not for a volume of another.
        let other = [("block.filesystem", "xfs"), ("block.mount_options", "noatime")];
        made(DriverKind::Lvm, &pool, ContentType::Filesystem, &[("block.filesystem", "xfs")], &other);
    }

    #[test]
    fn only_volumes_with_room_of_their_own_are_spread() {
        let thick = [("lvm.use_thinpool", "false"), ("volume.lvm.stripes", "2")];
        made(DriverKind::Lvm, &thick, ContentType::Block, &[], &[("lvm.stripes", "2")]);
        made(DriverKind::Lvm, &thick[1..], ContentType::Block, &[], &[]);
    }

    #[test]
    fn what_a_volume_is_made_of_stays() {
        let old: Config = [("block.filesystem", "ext4"), ("block.mount_options", "discard")].into_iter().collect();
        let change = |key: &str, value: &str| {
            let mut new = old.clone();
            new.set(key, value);
            check_volume_change(&"p".parse().unwrap(), &old, &new).map_err(|error| chain(&error))
        };
        assert_eq!(change("block.mount_options", "noatime"), Ok(()));
        assert!(change("block.filesystem", "xfs").unwrap_err().contains("key block.filesystem: it cannot be changed"));
        assert!(change("lvm.stripes", "2").unwrap_err().contains("key lvm.stripes: it cannot be changed"));
        assert_eq!(fixed(&old).collect::<Vec<_>>(), [("block.filesystem", "ext4")]);
    }

    #[test]
    fn keys_of_other_drivers_stay_behind() {
        let config: Config = [("zfs.blocksize", "4KiB"), ("block.filesystem", "xfs"), ("user.a", "b")].into_iter().collect();
        let left = |driver| carried(driver, &Config::default(), &config).0.into_keys().collect::<Vec<_>>();
        assert_eq!(left(DriverKind::Zfs), ["user.a", "zfs.blocksize"]);
        assert_eq!(left(DriverKind::Ceph), ["block.filesystem", "user.a"]);
        assert_eq!(left(DriverKind::Dir), ["user.a"]);
        let (spread, thick): (Config, Config) =
            ([("lvm.stripes", "2")].into_iter().collect(), [("lvm.use_thinpool", "false")].into_iter().collect());
        assert_eq!(carried(DriverKind::Lvm, &thick, &spread), spread);
        assert_eq!(carried(DriverKind::Lvm, &Config::default(), &spread), Config::default());
    }
}
