//! File systems that are mounted in the place of a caller inside.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What an intercepted `mount` may be of, and how its ids are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Mounting {
    /// File systems that the monitor mounts; what is not among them is between the caller and the kernel.
    pub allowed: BTreeSet<Filesystem>,
    /// Ids on disk are those inside; without, they are the host's.
    pub shift: bool,
    /// Programs inside that mount file systems of these types, by FUSE; an absolute path or a name that is looked up.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, String>,
}

/// A file system of the kernel that only root of the host may mount, and that can be mounted for an instance.
///
/// Not btrfs: which devices belong together is known to the kernel by what stands on them, for all of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filesystem {
    /// ext4, whose driver knows ext2 and ext3 too.
    Ext4,
    /// XFS.
    Xfs,
    /// squashfs, which is read only.
    Squashfs,
    /// Huge pages; the one that is on no device.
    Hugetlbfs,
}

impl Filesystem {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Squashfs, Self::Hugetlbfs];

    /// The kernel's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Squashfs => "squashfs",
            Self::Hugetlbfs => "hugetlbfs",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|filesystem| filesystem.name() == name)
    }

    /// Whether it is on a block device.
    #[must_use]
    pub const fn has_device(self) -> bool {
        match self {
            Self::Ext4 | Self::Xfs | Self::Squashfs => true,
            Self::Hugetlbfs => false,
        }
    }
}
