//! What can be run in the bed, by name.

/// One test program and how it is run there.
#[derive(Debug, Clone)]
pub struct Suite {
    /// What it is called in `bed test NAME`.
    pub name: &'static str,
    /// The test target.
    pub target: &'static str,
    /// Words that only tests hold which make sense to run there.
    pub words: Vec<String>,
    /// Programs of the workspace that it starts.
    pub programs: &'static [&'static str],
    /// Whether a Ceph cluster is started before it.
    pub cluster: bool,
}

/// A row of the table: name, target, words, programs, whether it needs a Ceph cluster.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str], bool);

/// Every suite, in the order in which they run.
const ALL: [Row; 14] = [
    ("lvm", "conformance", LVM, &[], false),
    ("zfs", "conformance", ZFS, &[], false),
    ("quotas", "conformance", QUOTAS, &[], false),
    ("instances", "end_to_end", &["on_drivers::an_instance", "on_drivers::a_"], PRODUCT, false),
    ("clients", "end_to_end", &["genuine_commands::pool::"], PRODUCT, false),
    ("recovery", "end_to_end", &["on_drivers::everything_comes_back"], PRODUCT, false),
    // They say how much that is.
    ("many", "end_to_end", &["on_drivers::two_hundred", "--nocapture"], PRODUCT, false),
    ("archives", "end_to_end", &["zfs_archives::"], PRODUCT, false),
    ("limits", "end_to_end", &["limits::"], PRODUCT, false),
    ("apparmor", "end_to_end", &["on_apparmor::"], PRODUCT, false),
    ("ceph", "conformance", CEPH, &[], true),
    ("cephfs", "conformance", CEPHFS, &[], true),
    ("ceph-instances", "end_to_end", &["on_ceph::"], PRODUCT, true),
    ("pools", "conformance", &["between::", "pools::"], &[], true),
];

/// All rules for an OSD pool that is made; in one that is there, and with btrfs, those in which they differ.
const CEPH: &[&str] = &[
    "ceph_in_new_pool::",
    "ceph_in_empty_pool_with_btrfs::snapshots",
    "ceph_in_empty_pool_with_btrfs::what_was_copied",
    "ceph_in_empty_pool_with_btrfs::delete_pool",
    "ceph_in_empty_pool_with_xfs::snapshots",
    "ceph_in_empty_pool_with_xfs::sizes",
    "ceph_in_empty_pool_with_xfs::delete_pool",
    "ceph_in_empty_pool_with_full_copies::a_copy",
    "ceph_in_empty_pool_with_full_copies::sizes",
    "ceph_in_empty_pool_with_full_copies::delete_pool",
    "keys::rbd",
    "killed::ceph",
];

/// All rules but the one of directories in directories in directories: Ceph counts what is below each one at every step.
const CEPHFS: &[&str] = &[
    "cephfs_in_new_directory::a",
    "cephfs_in_new_directory::clones",
    "cephfs_in_new_directory::copies",
    "cephfs_in_new_directory::deleting",
    "cephfs_in_new_directory::ids",
    "cephfs_in_new_directory::leftovers",
    "cephfs_in_new_directory::mounts",
    "cephfs_in_new_directory::owners",
    "cephfs_in_new_directory::renaming",
    "cephfs_in_new_directory::resources",
    "cephfs_in_new_directory::s",
    "cephfs_in_new_directory::the",
    "cephfs_in_new_directory::what",
    "cephfs_in_new_directory::delete_pool",
    "killed::cephfs",
];

/// All rules for thin and thick volumes; with other file systems than ext4 those in which they differ.
const LVM: &[&str] = &[
    "lvm_thin_in_file::",
    "lvm_thick_in_file::",
    "lvm_thin_on_device_with_xfs::snapshots",
    "lvm_thin_on_device_with_xfs::sizes",
    "lvm_thin_on_device_with_xfs::delete_pool",
    "lvm_thin_in_file_with_btrfs::snapshots",
    "lvm_thin_in_file_with_btrfs::sizes",
    "lvm_thin_in_file_with_btrfs::delete_pool",
    "keys::logical",
    "killed::lvm",
];

/// Directories on file systems that enforce project quotas, which takes a kernel that has them.
const QUOTAS: &[&str] = &["dir_on_ext4_with_quotas::", "overlay_on_ext4_with_quotas::", "overlay_on_xfs_with_quotas::"];

/// The programs of the product, and the one that holds a test's daemon.
const PRODUCT: &[&str] = &["cofferd", "coffer", "coffer-monitor", "coffer-unpack", "coffer-files", "coffer-test-pen"];

/// All rules for a pool in a file; on other ground those in which they differ.
const ZFS: &[&str] = &[
    "zfs_in_file::",
    "zfs_on_device_with_refquota::sizes",
    "zfs_on_device_with_refquota::the_pool",
    "zfs_on_device_with_refquota::delete_pool",
    "zfs_in_new_dataset::snapshots",
    "zfs_in_new_dataset::delete_pool",
    "zfs_in_empty_dataset_with_full_copies::a_copy",
    "zfs_in_empty_dataset_with_full_copies::delete_pool",
    "keys::datasets",
    "killed::zfs",
    "streams::",
];

/// What continuous integration runs of it, the most telling first: whole instances, every rule on one kind of ground for each
/// driver, and on others what differs there. `cargo xtask bed test` runs all.
const CI: &[(&str, &[&str])] = &[
    ("instances", &["on_drivers::an_instance", "on_drivers::a_"]),
    ("recovery", &["on_drivers::everything_comes_back"]),
    ("limits", &["limits::"]),
    ("apparmor", &["on_apparmor::"]),
    (
        "zfs",
        &[
            "zfs_in_file::",
            "zfs_in_empty_dataset_with_full_copies::a_copy",
            "zfs_in_empty_dataset_with_full_copies::delete_pool",
            "keys::datasets",
        ],
    ),
    (
        "lvm",
        &[
            "lvm_thin_in_file::",
            "lvm_thick_in_file::snapshots",
            "lvm_thick_in_file::a_copy",
            "lvm_thick_in_file::delete_pool",
            "keys::logical",
        ],
    ),
    ("quotas", &["dir_on_ext4_with_quotas::s", "overlay_on_ext4_with_quotas::a_size", "overlay_on_xfs_with_quotas::s"]),
    // A whole life of an instance takes an emulated cluster minutes, and its waits are over before: `bed test ceph-instances`.
    ("ceph-instances", &["on_ceph::a_server"]),
    ("ceph", &["ceph_in_new_pool::what_was_copied", "ceph_in_new_pool::sizes", "ceph_in_new_pool::delete_pool"]),
    ("cephfs", &["cephfs_in_new_directory::snapshots", "cephfs_in_new_directory::sizes", "cephfs_in_new_directory::delete_pool"]),
];

/// The names of all suites, for a sentence.
pub fn names() -> String {
    ALL.map(|(name, ..)| name).join(", ")
}

/// The suites of these names, or all. `NAME:WORD` runs only the tests of that suite whose names hold the word.
///
/// # Errors
/// An unknown name.
pub fn wanted(names: &[&str]) -> Result<Vec<Suite>, String> {
    if names.is_empty() {
        return Ok(ALL.map(|row| suite(row, None)).into());
    }
    let find = |name: &&str| {
        let (name, word) = name.split_once(':').map_or((*name, None), |(name, word)| (name, Some(word)));
        let row = ALL.into_iter().find(|(known, ..)| *known == name);
        row.map(|row| suite(row, word)).ok_or_else(|| format!("no suite {name}; there are {}", self::names()))
    };
    names.iter().map(find).collect()
}

/// What continuous integration runs.
pub fn of_ci() -> Vec<Suite> {
    let suite = |(name, words): &(&str, &[&str])| {
        let row = ALL.into_iter().find(|(known, ..)| known == name)?;
        Some(Suite { words: words.iter().map(|&word| word.to_owned()).collect(), ..suite(row, None) })
    };
    CI.iter().filter_map(suite).collect()
}

fn suite((name, target, words, programs, cluster): Row, word: Option<&str>) -> Suite {
    // What a suite is told beside names stays.
    let options = words.iter().copied().filter(|word| word.starts_with("--"));
    let words = word.map_or_else(|| words.to_vec(), |word| std::iter::once(word).chain(options).collect());
    let words = words.into_iter().map(str::to_owned).collect();
    Suite { name, target, words, programs, cluster }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_by_name_and_word() {
        assert_eq!(wanted(&[]).unwrap().len(), ALL.len());
        assert_eq!(wanted(&["lvm:lvm_thick"]).unwrap()[0].words, ["lvm_thick"]);
        assert_eq!(wanted(&["many:on_zfs"]).unwrap()[0].words, ["on_zfs", "--nocapture"]);
        assert_eq!(wanted(&["zfs", "none"]).unwrap_err(), format!("no suite none; there are {}", names()));
    }

    #[test]
    fn continuous_integration_runs_suites_that_there_are() {
        let names: Vec<&str> = of_ci().iter().map(|suite| suite.name).collect();
        assert_eq!(names, CI.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
