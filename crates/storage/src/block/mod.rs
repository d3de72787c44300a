//! Volumes that are block devices with a file system on them: making it, telling which it is, changing its size.
//!
//! What LVM, RBD and any other driver whose volumes are devices share. The device itself is the driver's.

mod fit;
mod loop_file;
mod options;
mod resize;

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use coffer_base::Bytes;
use coffer_base::run::{self, Program, RunError};
use coffer_model::Config;

pub(crate) use fit::require_fit;
pub(crate) use loop_file::{LoopFile, file_path, file_size, refuse_size, write_down_source};
pub(crate) use options::{DEFAULT_OPTIONS, check, check_for, fitting, parse};
pub(crate) use resize::{grow, shrink};

use crate::mounted::Fault;

/// How long a file system may take to be made or changed.
const DEADLINE: Duration = Duration::from_secs(1800);

/// The size of a volume when nothing says one: it only bounds what the volume may hold where space is given out thinly.
pub(crate) const DEFAULT_SIZE: Bytes = Bytes(10 << 30);

/// The size of a device.
pub(crate) fn size_of(device: &Path) -> io::Result<u64> {
    File::open(device)?.seek(SeekFrom::End(0))
}

/// Checks what is said of a volume's file system and size, as far as the host has to do with it.
pub(crate) fn check_volume(keys: &Config) -> Result<(), Fault> {
    let Some(kind) = keys.get("block.filesystem").and_then(FileSystem::named) else { return Ok(()) };
    if let Some(why) = kind.missing() {
        return Err(Fault::Key("block.filesystem", why));
    }
    match keys.parse::<Bytes>("size") {
        Some(size) if size < kind.least_size() => {
            Err(Fault::Key("size", format!("{} needs at least {}", kind.as_str(), kind.least_size())))
        }
        _ => Ok(()),
    }
}

/// A file system that a volume can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    /// Every one, the default first.
    pub(crate) const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// The names, as a key's choice.
    pub(crate) const NAMES: &'static [&'static str] = &["ext4", "xfs", "btrfs"];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The file system of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The least size that its maker takes.
    pub(crate) fn least_size(self) -> Bytes {
        match self {
            Self::Ext4 => Bytes(4 << 20),
            Self::Xfs => Bytes(300 << 20),
            Self::Btrfs => Bytes(128 << 20),
        }
    }

    /// Which file system is on a device.
    pub(crate) fn probe(device: &Path) -> io::Result<Option<Self>> {
        let opened = File::open(device)?;
        let holds = |offset: u64, magic: &[u8]| {
            let mut bytes = vec![0; magic.len()];
            opened.read_exact_at(&mut bytes, offset).is_ok_and(|()| bytes == magic)
        };
        // Source: the superblocks' layouts; ext4 s_magic, xfs sb_magicnum, btrfs magic.
        Ok(if holds(1024 + 56, &[0x53, 0xef]) {
            Some(Self::Ext4)
        } else if holds(0, b"XFSB") {
            Some(Self::Xfs)
        } else if holds((64 << 10) + 64, b"_BHRfS_M") {
            Some(Self::Btrfs)
        } else {
            None
        })
    }

    /// Makes the file system on an empty device.
    pub(crate) fn make(self, device: &Path) -> Result<(), RunError> {
        let program = match self {
            // Small volumes have the same blocks as large ones, which attributes have to fit into. The tables of inodes are
            // written when they are used, not before: most volumes never use most of them.
            Self::Ext4 => Program::new("mkfs.ext4").args([
                "-q",
                "-F",
                "-b",
                "4096",
                "-m",
                "0",
                "-E",
                "nodiscard,lazy_itable_init=1,lazy_journal_init=1",
            ]),
            Self::Xfs => Program::new("mkfs.xfs").args(["-q", "-f", "-K"]),
            Self::Btrfs => Program::new("mkfs.btrfs").args(["-q", "-f", "-K"]),
        };
        program.arg("--").arg(device).deadline(DEADLINE).run().map(drop)
    }

    /// Gives the copy of a file system that its kernel driver knows by its identity an identity of its own.
    pub(crate) fn renew(self, device: &Path) -> Result<(), RunError> {
        match self {
            // Their identity is of no consequence: xfs is mounted with `nouuid`.
            Self::Ext4 | Self::Xfs => Ok(()),
            Self::Btrfs => Program::new("btrfstune").args(["-f", "-m"]).arg(device).deadline(DEADLINE).run().map(drop),
        }
    }

    /// What is missing on this host to make such file systems, if something is.
    pub(crate) fn missing(self) -> Option<String> {
        let (programs, package) = self.programs();
        let there = programs.iter().all(|program| run::installed(program));
        (!there).then(|| format!("{} needs {} (package {package})", self.as_str(), programs.join(", ")))
    }

    /// The programs that it needs, and the package that has them.
    fn programs(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Ext4 => (&["mkfs.ext4", "resize2fs", "e2fsck"], "e2fsprogs"),
            Self::Xfs => (&["mkfs.xfs", "xfs_growfs"], "xfsprogs"),
            Self::Btrfs => (&["mkfs.btrfs", "btrfstune"], "btrfs-progs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_by_their_magic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        assert_eq!(FileSystem::probe(file.path()).unwrap(), None);
        for (offset, magic, kind) in
            [(65600, &b"_BHRfS_M"[..], FileSystem::Btrfs), (0, b"XFSB", FileSystem::Xfs), (1080, b"\x53\xef", FileSystem::Ext4)]
        {
            file.as_file().write_all_at(magic, offset).unwrap();
            assert_eq!(FileSystem::probe(file.path()).unwrap(), Some(kind));
        }
    }
}
