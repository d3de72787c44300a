//! Which mount options a btrfs pool may have.

use rustix::mount::MountAttrFlags;

use crate::mounts::{MountOption, access_times};

/// What a pool is mounted with when its configuration says nothing.
const DEFAULT: &str = "user_subvol_rm_allowed";

/// Options without a value.
const FLAGS: [&str; 22] = [
    "acl",
    "noacl",
    "autodefrag",
    "noautodefrag",
    "compress",
    "compress-force",
    "datacow",
    "nodatacow",
    "datasum",
    "nodatasum",
    "discard",
    "nodiscard",
    "flushoncommit",
    "noflushoncommit",
    "skip_balance",
    "ssd",
    "nossd",
    "ssd_spread",
    "nossd_spread",
    "treelog",
    "notreelog",
    "user_subvol_rm_allowed",
];

/// Checks a list of options, separated by commas.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn check(text: &str) -> Result<(), String> {
    parse(Some(text)).map(drop)
}

/// Splits the options of a pool into those of the file system and the attributes of the mount.
///
/// Without a word about it no times of access are kept: else the first read of each file of a fresh snapshot would be a
/// write.
///
/// # Errors
/// A sentence for the user.
pub(super) fn parse(text: Option<&str>) -> Result<(Vec<MountOption>, MountAttrFlags), String> {
    let mut options = Vec::new();
    let mut attributes = None;
    for option in text.unwrap_or(DEFAULT).split(',').map(str::trim).filter(|option| !option.is_empty()) {
        if let Some(flags) = access_times(option) {
            attributes = Some(attributes.unwrap_or(MountAttrFlags::empty()) | flags);
            continue;
        }
        match option.split_once('=') {
            None if FLAGS.contains(&option) => options.push((option.to_owned(), None)),
            Some((key, value)) if fits(key, value) => options.push((key.to_owned(), Some(value.to_owned()))),
            _ => return Err(format!("mount option {option:?} is not allowed")),
        }
    }
    Ok((options, attributes.unwrap_or(MountAttrFlags::MOUNT_ATTR_NOATIME)))
}

/// Says whether an option may have this value.
fn fits(key: &str, value: &str) -> bool {
    let number = |low: u32, high: u32| value.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number));
    match key {
        "commit" => number(1, 300),
        "max_inline" => number(0, 65536),
        "metadata_ratio" => number(0, 1024),
        "thread_pool" => number(1, 1024),
        "discard" => matches!(value, "sync" | "async"),
        "space_cache" => value == "v2",
        "compress" | "compress-force" => {
            let (method, level) = value.split_once(':').unwrap_or((value, "1"));
            match method {
                "zlib" => level.parse::<u32>().is_ok_and(|level| (1..=9).contains(&level)),
                "zstd" => level.parse::<i32>().is_ok_and(|level| (-15..=15).contains(&level)),
                "lzo" | "no" | "none" => !value.contains(':'),
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(text: &str, expect: &str) {
        let shown = |(options, attributes): (Vec<MountOption>, MountAttrFlags)| {
            let words = options.into_iter().map(|(key, value)| value.map_or(key.clone(), |value| format!("{key}={value}")));
            format!("{} {attributes:?}", words.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(parse(Some(text)).map_or_else(|error| error, shown), expect);
    }

    #[test]
    fn only_what_is_on_the_list() {
        check_text("ssd, compress=zstd:3", "ssd compress=zstd:3 MountAttrFlags(MOUNT_ATTR_NOATIME)");
        check_text("relatime,nodiratime", " MountAttrFlags(MOUNT_ATTR_NODIRATIME)");
        for bad in ["bind", "subvol=/x", "device=/dev/sda", "degraded", "rescue=all", "compress=zstd:99", "commit=0", "nobarrier", "suid"] {
            check_text(bad, &format!("mount option {bad:?} is not allowed"));
        }
    }
}
