//! File systems that may be mounted in an instance's place.

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
}
