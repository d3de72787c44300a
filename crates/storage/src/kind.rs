//! Which drivers there are.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::StorageError;

/// A storage driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriverKind {
    /// Plain directories on any file system.
    Dir,
    /// Thin layers over images, by overlayfs, on any file system.
    Overlay,
    /// Subvolumes and snapshots of a btrfs file system.
    Btrfs,
    /// Logical volumes with a file system on each.
    Lvm,
    /// Datasets and clones of ZFS.
    Zfs,
    /// RBD images of a Ceph cluster, with a file system on each.
    Ceph,
    /// Directories of a Ceph cluster's own file system, for users' volumes alone.
    Cephfs,
}

/// LXD's drivers that this server does not have.
const NOT_SUPPORTED: [&str; 1] = ["cephobject"];

impl DriverKind {
    /// Every driver.
    pub const ALL: [Self; 7] = [Self::Dir, Self::Overlay, Self::Btrfs, Self::Lvm, Self::Zfs, Self::Ceph, Self::Cephfs];

    /// The driver's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Overlay => "overlay",
            Self::Btrfs => "btrfs",
            Self::Lvm => "lvm",
            Self::Zfs => "zfs",
            Self::Ceph => "ceph",
            Self::Cephfs => "cephfs",
        }
    }

    /// Says whether this host can run the driver: the kernel knows the file system and the programs are installed.
    #[must_use]
    pub fn available(self) -> bool {
        match self {
            Self::Dir => true,
            Self::Overlay => crate::overlay::available(),
            Self::Btrfs => crate::btrfs::available(),
            Self::Lvm => crate::lvm::missing().is_none(),
            Self::Zfs => crate::zfs::missing().is_none(),
            Self::Ceph => crate::ceph::missing().is_none(),
            Self::Cephfs => crate::cephfs::missing().is_none(),
        }
    }

    /// The version of what stands behind the driver, as `environment.storage_version` shows it.
    #[must_use]
    pub fn version(self) -> String {
        match self {
            Self::Dir => "1".into(),
            Self::Overlay => crate::overlay::version(),
            Self::Btrfs => crate::btrfs::version(),
            Self::Lvm => crate::lvm::version(),
            Self::Zfs => crate::zfs::version(),
            Self::Ceph => crate::ceph::version(),
            Self::Cephfs => crate::cephfs::version(),
        }
    }

    /// Says whether instances of a pool share their image's data instead of having a copy each.
    #[must_use]
    pub fn shares_data(self) -> bool {
        match self {
            Self::Dir | Self::Cephfs => false,
            Self::Overlay | Self::Btrfs | Self::Lvm | Self::Zfs | Self::Ceph => true,
        }
    }

    /// Says whether a pool holds instances, their images and disks in files; else it holds users' volumes of files alone.
    #[must_use]
    pub fn holds_instances(self) -> bool {
        match self {
            Self::Dir | Self::Overlay | Self::Btrfs | Self::Lvm | Self::Zfs | Self::Ceph => true,
            Self::Cephfs => false,
        }
    }

    /// The names of all drivers, for a sentence.
    pub(crate) fn names() -> String {
        let (last, first) = Self::ALL.split_last().unwrap_or((&Self::Dir, &[]));
        format!("{} or {last}", first.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "))
    }
}

/// Says whether the running kernel has a module at a path below `kernel/`, whatever its file's ending.
pub(crate) fn has_module(path: &str) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let path = Path::new("/lib/modules").join(release.trim()).join("kernel").join(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return false };
    let is = |file: std::fs::DirEntry| file.file_name().to_string_lossy().split('.').next() == Some(name);
    std::fs::read_dir(folder).is_ok_and(|files| files.flatten().any(is))
}

/// Says whether a module of this name was built for the running kernel, wherever it lies: what a distribution adds to the
/// kernel has many places.
pub(crate) fn is_built(name: &str) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = std::fs::read_to_string(Path::new("/lib/modules").join(release.trim()).join("modules.dep")).unwrap_or_default();
    let of = |line: &str| line.split_once(':')?.0.rsplit('/').next()?.split_once(".ko").map(|(found, _)| found == name);
    list.lines().any(|line| of(line) == Some(true))
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DriverKind {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, StorageError> {
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.as_str() == text) {
            return Ok(kind);
        }
        match NOT_SUPPORTED.into_iter().find(|name| *name == text) {
            Some(name) => Err(StorageError::UnsupportedDriver { name }),
            None => Err(StorageError::UnknownDriver { name: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = text.parse::<DriverKind>().map(|kind| kind.to_string()).unwrap_or_else(|error| error.to_string());
        assert_eq!(got, expect);
    }

    #[test]
    fn drivers_by_name() {
        check("dir", "dir");
        check("btrfs", "btrfs");
        check("overlay", "overlay");
        check("zfs", "zfs");
        check("ceph", "ceph");
        check("cephfs", "cephfs");
        check("cephobject", "storage driver cephobject is not supported yet: use dir, overlay, btrfs, lvm, zfs, ceph or cephfs");
        check("floppy", "unknown storage driver \"floppy\": use dir, overlay, btrfs, lvm, zfs, ceph or cephfs");
    }
}
