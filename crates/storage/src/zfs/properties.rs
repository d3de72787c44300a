//! What is said of a volume, as properties of its dataset.

use coffer_base::Bytes;
use coffer_model::Config;

use crate::mounted::Fault;

/// The largest block of files.
pub(super) const BLOCK_SIZE: &str = "recordsize";

/// The largest block that every ZFS pool takes.
///
/// Source: zpool-features(7), large_blocks.
pub(super) const ALWAYS_TAKEN: Bytes = Bytes(128 << 10);

/// Where the kernel's module says what it takes at most.
///
/// Source: zfs(4), zfs_max_recordsize.
const LARGEST: &str = "/sys/module/zfs/parameters/zfs_max_recordsize";

/// The largest block that a ZFS pool takes, with or without the feature for large ones.
pub(super) fn largest_block(large: bool) -> Result<Bytes, Fault> {
    if !large {
        return Ok(ALWAYS_TAKEN);
    }
    let text = std::fs::read_to_string(LARGEST)?;
    Ok(text.trim().parse().map_or(ALWAYS_TAKEN, Bytes))
}

/// How large the blocks of a dataset are, if that is said.
pub(super) fn block_size(config: &Config) -> Vec<String> {
    config.parse::<Bytes>("zfs.blocksize").map(|size| format!("{BLOCK_SIZE}={}", size.0)).into_iter().collect()
}

/// What limits a dataset and what is kept free for it. All four are said, for what is said may have changed.
pub(super) fn limits(size: Option<Bytes>, config: &Config) -> Vec<String> {
    let size = size.map_or_else(|| "none".to_owned(), |size| size.0.to_string());
    let all = config.flag("zfs.use_refquota", false);
    let reserved = config.flag("zfs.reserve_space", false);
    let property = |name: &str, holds: bool| format!("{name}={}", if holds { size.as_str() } else { "none" });
    vec![
        property("quota", !all),
        property("refquota", all),
        property("reservation", reserved && !all),
        property("refreservation", reserved && all),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(size: Option<u64>, keys: &[(&str, &str)], expect: &str) {
        let config = keys.iter().copied().collect();
        assert_eq!(limits(size.map(Bytes), &config).join(" "), expect);
    }

    #[test]
    fn one_limit_holds_and_the_others_are_lifted() {
        let (all, reserved) = (("zfs.use_refquota", "true"), ("zfs.reserve_space", "true"));
        check(Some(7), &[], "quota=7 refquota=none reservation=none refreservation=none");
        check(Some(7), &[all], "quota=none refquota=7 reservation=none refreservation=none");
        check(Some(7), &[reserved], "quota=7 refquota=none reservation=7 refreservation=none");
        check(Some(7), &[all, reserved], "quota=none refquota=7 reservation=none refreservation=7");
        check(None, &[all, reserved], "quota=none refquota=none reservation=none refreservation=none");
    }

    #[test]
    fn blocks_without_the_feature_for_large_ones() {
        assert_eq!(largest_block(false).unwrap(), Bytes(128 << 10));
        assert_eq!(block_size(&[("zfs.blocksize", "16KiB")].into_iter().collect()), ["recordsize=16384"]);
        assert!(block_size(&Config::default()).is_empty());
    }
}
