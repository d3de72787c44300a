//! Which mount options a volume's file system may have: what cannot harm others, and nothing that names a device.

use rustix::mount::MountAttrFlags;

use super::FileSystem;
use crate::mounts::{MountOption, access_times};

/// What a volume is mounted with when its configuration says nothing.
pub(crate) const DEFAULT_OPTIONS: &str = "discard";

/// Options without a value.
fn flags(kind: FileSystem) -> &'static [&'static str] {
    match kind {
        FileSystem::Ext4 => &[
            "acl",
            "auto_da_alloc",
            "barrier",
            "delalloc",
            "discard",
            "i_version",
            "init_itable",
            "noacl",
            "noauto_da_alloc",
            "nodelalloc",
            "nodiscard",
            "noinit_itable",
            "nouser_xattr",
            "user_xattr",
        ],
        FileSystem::Xfs => &["discard", "filestreams", "inode32", "inode64", "largeio", "nodiscard", "nolargeio", "swalloc", "wsync"],
        FileSystem::Btrfs => &["acl", "autodefrag", "discard", "noacl", "noautodefrag", "nodiscard", "user_subvol_rm_allowed"],
    }
}

/// Says whether an option may have this value.
fn fits(kind: FileSystem, key: &str, value: &str) -> bool {
    let number = |low: u32, high: u32| value.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number));
    match (kind, key) {
        (FileSystem::Ext4, "commit") | (FileSystem::Btrfs, "commit") => number(1, 300),
        (FileSystem::Ext4, "data") => matches!(value, "ordered" | "writeback" | "journal"),
        (FileSystem::Ext4, "errors") => matches!(value, "continue" | "remount-ro"),
        (FileSystem::Xfs, "logbufs") => number(2, 8),
        (FileSystem::Btrfs, "compress" | "compress-force") => matches!(value, "zlib" | "lzo" | "zstd" | "no"),
        _ => false,
    }
}

/// Checks a list of options, separated by commas: each must be one of some file system that volumes can have.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let known = |option: &str| FileSystem::ALL.into_iter().any(|kind| is_known(kind, option));
    match split(text).find(|option| access_times(option).is_none() && !known(option)) {
        Some(option) => Err(format!("mount option {option:?} is not allowed")),
        None => Ok(()),
    }
}

/// Checks a list of options for one file system.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn check_for(kind: FileSystem, text: &str) -> Result<(), String> {
    check(text)?;
    match split(text).find(|option| !fits_in(kind, option)) {
        Some(option) => Err(format!("{} has no mount option {option:?}", kind.as_str())),
        None => Ok(()),
    }
}

/// Those options of a list that a file system has.
pub(crate) fn fitting(kind: FileSystem, text: &str) -> String {
    split(text).filter(|option| fits_in(kind, option)).collect::<Vec<_>>().join(",")
}

/// Splits options into those of the file system and the attributes of the mount. What is another file system's is left out.
///
/// Without a word about it no times of access are kept: else reading a fresh clone would be writing to it.
pub(crate) fn parse(kind: FileSystem, text: Option<&str>) -> (Vec<MountOption>, MountAttrFlags) {
    let text = text.unwrap_or(DEFAULT_OPTIONS);
    let mut options: Vec<MountOption> = match kind {
        // Copies have the identity of what they were copied from.
        FileSystem::Xfs => vec![("nouuid".to_owned(), None)],
        FileSystem::Ext4 | FileSystem::Btrfs => Vec::new(),
    };
    for option in split(text).filter(|option| is_known(kind, option)) {
        let (key, value) = option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value.to_owned())));
        options.push((key.to_owned(), value));
    }
    let times = split(text).filter_map(access_times).reduce(|all, flags| all | flags);
    (options, times.unwrap_or(MountAttrFlags::MOUNT_ATTR_NOATIME))
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|option| !option.is_empty())
}

/// Says whether an option means something where this file system is mounted.
fn fits_in(kind: FileSystem, option: &str) -> bool {
    access_times(option).is_some() || is_known(kind, option)
}

fn is_known(kind: FileSystem, option: &str) -> bool {
    match option.split_once('=') {
        None => flags(kind).contains(&option),
        Some((key, value)) => fits(kind, key, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_parsed(kind: FileSystem, text: &str, expect: &str) {
        let (options, attributes) = parse(kind, Some(text));
        let words: Vec<String> =
            options.into_iter().map(|(key, value)| value.map_or(key.clone(), |value| format!("{key}={value}"))).collect();
        assert_eq!(format!("{} {attributes:?}", words.join(" ")), expect);
    }

    #[test]
    fn each_file_system_takes_its_own() {
        let text = "discard, data=writeback,logbufs=8,relatime";
        check(text).unwrap();
        check_parsed(FileSystem::Ext4, text, "discard data=writeback MountAttrFlags(0x0)");
        check_parsed(FileSystem::Xfs, text, "nouuid discard logbufs=8 MountAttrFlags(0x0)");
        check_parsed(FileSystem::Btrfs, "compress=zstd", "compress=zstd MountAttrFlags(MOUNT_ATTR_NOATIME)");
    }

    #[test]
    fn only_what_is_on_the_list() {
        for bad in ["bind", "journal_path=/dev/sda", "logdev=/dev/sda", "device=/dev/sda", "norecovery", "errors=panic", "suid", "commit=0"]
        {
            assert_eq!(check(bad).unwrap_err(), format!("mount option {bad:?} is not allowed"));
        }
    }
}
