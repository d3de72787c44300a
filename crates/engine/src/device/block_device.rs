//! The block device below a directory or file, as I/O limits want it named.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use coffer_sys::mount::mount_id;

/// Why no block device can be limited.
#[derive(Debug, thiserror::Error)]
pub enum BlockDeviceError {
    /// The kernel did not say where it is mounted.
    #[error("finding the mount")]
    Mount(#[source] std::io::Error),
    /// The file system is on none, or on several.
    #[error("its file system ({kind}, from {source_path}) is not on one block device, so the kernel cannot limit it")]
    None {
        /// The file system's type.
        kind: String,
        /// What it was mounted from.
        source_path: String,
    },
}

/// Finds the whole disk, major and minor number, that something lies on.
///
/// # Errors
/// See [`BlockDeviceError`].
pub fn below(file: BorrowedFd<'_>) -> Result<(u32, u32), BlockDeviceError> {
    let id = mount_id(file.as_fd()).map_err(BlockDeviceError::Mount)?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(BlockDeviceError::Mount)?;
    let mount = mounts.lines().filter_map(Mount::parse).find(|mount| mount.id == id);
    let mount = mount.ok_or_else(|| BlockDeviceError::Mount(rustix::io::Errno::NOENT.into()))?;
    let number = if mount.number.0 == 0 { of_node(&mount.source) } else { Some(mount.number) };
    let none = || BlockDeviceError::None { kind: mount.kind.to_owned(), source_path: mount.source.clone() };
    Ok(whole_disk(number.ok_or_else(none)?))
}

/// A line of `/proc/self/mountinfo`. Source: proc_pid_mountinfo(5).
struct Mount<'a> {
    id: u64,
    number: (u32, u32),
    kind: &'a str,
    source: String,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let (id, number) = (mount.next()?.parse().ok()?, numbers(mount.nth(1)?)?);
        let mut file_system = file_system.split(' ');
        let (kind, source) = (file_system.next()?, file_system.next()?);
        Some(Self { id, number, kind, source: source.replace("\\040", " ") })
    }
}

/// Reads `8:1`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The numbers of a block device's node: btrfs shows its device so, and numbers of its own elsewhere.
fn of_node(source: &str) -> Option<(u32, u32)> {
    let stat = rustix::fs::stat(Path::new(source)).ok()?;
    let is_block = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::BlockDevice;
    is_block.then(|| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}

/// A partition's disk: limits are set on queues, and a partition has none of its own.
fn whole_disk((major, minor): (u32, u32)) -> (u32, u32) {
    let directory = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    if !directory.join("partition").exists() {
        return (major, minor);
    }
    let above = std::fs::canonicalize(&directory).ok().and_then(|real| real.parent().map(|disk| disk.join("dev")));
    let read = above.and_then(|file| std::fs::read_to_string(file).ok());
    read.and_then(|text| numbers(&text)).unwrap_or((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo_are_read() {
        let mount = Mount::parse("36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 - btrfs /dev/my\\040disk rw,subvol=/").unwrap();
        assert_eq!((mount.id, mount.number, mount.kind, mount.source.as_str()), (36, (98, 0), "btrfs", "/dev/my disk"));
    }

    #[test]
    fn a_file_system_of_the_kernel_is_on_none() {
        let proc = std::fs::File::open("/proc").unwrap();
        let error = below(proc.as_fd()).unwrap_err();
        assert_eq!(error.to_string(), "its file system (proc, from proc) is not on one block device, so the kernel cannot limit it");
    }
}
