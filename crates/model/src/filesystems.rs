//! File systems that may be mounted in an instance's place, and programs inside that mount others.

use std::collections::BTreeMap;

/// Those that can be: on a block device of the instance, and huge pages.
pub const MOUNTABLE: [&str; 4] = ["ext4", "xfs", "squashfs", "hugetlbfs"];

/// The names in a list.
pub fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Says what is wrong with a list, if anything.
///
/// # Errors
/// A sentence for the user.
pub fn check(list: &str) -> Result<(), String> {
    match names(list).find(|name| !MOUNTABLE.contains(name)) {
        // What belongs together is known to the kernel by what stands on the devices, for all of the host.
        Some("btrfs") => Err("\"btrfs\" would join devices of the host that say they belong to it; use a custom volume".into()),
        Some(name) => Err(format!("{name:?} is none of the file systems that can be mounted for an instance: {}", MOUNTABLE.join(", "))),
        None => Ok(()),
    }
}

/// Reads a list such as `ext4=fuse2fs,squashfs=squashfuse`: types of file systems, and the programs inside that mount them.
///
/// # Errors
/// A sentence for the user.
pub fn programs(list: &str) -> Result<BTreeMap<String, String>, String> {
    let mut programs = BTreeMap::new();
    for entry in names(list) {
        let (kind, program) = entry.split_once('=').ok_or_else(|| format!("{entry:?} is not of the form ext4=fuse2fs"))?;
        if !is_kind(kind) {
            return Err(format!("{kind:?} is no type of a file system"));
        }
        // A program mounts what it serves as one of these, which would start it again.
        if kind == "fuse" || kind == "fuseblk" || kind.starts_with("fuse.") || kind.starts_with("fuseblk.") {
            return Err(format!("{kind:?} is what FUSE programs themselves mount; name what is to be mounted, such as ext4"));
        }
        if !is_program(program) {
            return Err(format!("{program:?} is no program: an absolute path inside, or a name that is looked up there, such as fuse2fs"));
        }
        if programs.insert(kind.to_owned(), program.to_owned()).is_some() {
            return Err(format!("{kind:?} is there twice"));
        }
    }
    Ok(programs)
}

/// A type as the kernel's list has them.
fn is_kind(kind: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    kind.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit()) && kind.len() <= 64 && kind.bytes().all(fits)
}

/// The path of a program, or its name.
fn is_program(program: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-/".contains(&byte);
    let relative = program.contains('/') && !program.starts_with('/');
    let begins = program.starts_with(|first: char| first == '/' || first.is_ascii_alphanumeric());
    begins && !relative && !program.ends_with('/') && program.len() <= 255 && program.bytes().all(fits)
}

/// The file system that both lists name, if there is one: only one of them could mount it.
#[must_use]
pub fn in_both<'a>(allowed: &'a str, fuse: &str) -> Option<&'a str> {
    let programs = programs(fuse).unwrap_or_default();
    names(allowed).find(|name| programs.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_only_what_can_be_mounted() {
        check("ext4").unwrap();
        check("ext4, xfs,squashfs").unwrap();
        for (list, told) in [("ext4,debugfs", "\"debugfs\""), ("btrfs", "custom volume"), ("EXT4", "\"EXT4\""), ("overlay", "ext4, xfs")] {
            let error = check(list).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn programs_are_named_by_what_they_mount() {
        let two = programs("ext4=fuse2fs, squashfs=/usr/bin/squashfuse").unwrap();
        assert_eq!(two.get("ext4").map(String::as_str), Some("fuse2fs"));
        assert_eq!(two.get("squashfs").map(String::as_str), Some("/usr/bin/squashfuse"));
        assert_eq!(programs("").unwrap(), BTreeMap::new());
        for (list, told) in [
            ("ext4", "of the form"),
            ("=fuse2fs", "\"\" is no type"),
            ("Ext4=fuse2fs", "\"Ext4\""),
            ("ext4=", "\"\" is no program"),
            ("ext4=bin/fuse2fs", "\"bin/fuse2fs\""),
            ("ext4=-x", "\"-x\""),
            ("ext4=/", "\"/\""),
            ("ext4=fuse2fs -o allow_other", "\"fuse2fs -o allow_other\""),
            ("ext4=fuse2fs=x", "\"fuse2fs=x\""),
            ("ext4=a,ext4=b", "\"ext4\" is there twice"),
            ("fuse=x", "themselves mount"),
            ("fuse.sshfs=sshfs", "themselves mount"),
        ] {
            let error = programs(list).unwrap_err();
            assert!(error.contains(told), "{list}: {error}");
        }
    }

    #[test]
    fn what_both_lists_name_is_found() {
        assert_eq!(in_both("xfs, ext4", "ext4=fuse2fs"), Some("ext4"));
        assert_eq!(in_both("xfs", "ext4=fuse2fs"), None);
    }
}
