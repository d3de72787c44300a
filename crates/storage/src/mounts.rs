//! What is mounted where, and mounting a pool.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

/// One option of a file system: a flag, or a key with a value.
pub(crate) type MountOption = (String, Option<String>);

/// How an option wants times of access to be kept, if it is about that: these belong to the mount, not to the file system.
pub(crate) fn access_times(option: &str) -> Option<MountAttrFlags> {
    match option {
        "noatime" => Some(MountAttrFlags::MOUNT_ATTR_NOATIME),
        "relatime" => Some(MountAttrFlags::empty()),
        "strictatime" => Some(MountAttrFlags::MOUNT_ATTR_STRICTATIME),
        "nodiratime" => Some(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
        _ => None,
    }
}

/// Says whether a directory is where something is mounted.
pub(crate) fn is_mount(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = rustix::fs::statx(directory, c"", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Makes a directory stand at another place too.
pub(crate) fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    attach(rustix::mount::open_tree(source, c"", flags)?.as_fd(), target)
}

/// Mounts a file system from a device.
///
/// On failure the second value is what the file system said about it.
pub(crate) fn mount_device(
    kind: &str,
    device: &Path,
    options: &[MountOption],
    attributes: MountAttrFlags,
    target: BorrowedFd<'_>,
) -> Result<(), (io::Error, Option<String>)> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| (error.into(), None))?;
    let prepare = || -> io::Result<OwnedFd> {
        rustix::mount::fsconfig_set_string(&context, c"source", device)?;
        configure(&context, options)?;
        rustix::mount::fsconfig_create(&context)?;
        Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
    };
    let mount = prepare().map_err(|error| (error, said(&context)))?;
    attach(mount.as_fd(), target).map_err(|error| (error, None))
}

/// Changes the options of a mounted file system.
pub(crate) fn reconfigure(mount: &Path, options: &[MountOption]) -> Result<(), (io::Error, Option<String>)> {
    let flags = rustix::mount::FsPickFlags::FSPICK_CLOEXEC;
    let context = rustix::mount::fspick(rustix::fs::CWD, mount, flags).map_err(|error| (error.into(), None))?;
    let change = || -> io::Result<()> {
        configure(&context, options)?;
        Ok(rustix::mount::fsconfig_reconfigure(&context)?)
    };
    change().map_err(|error| (error, said(&context)))
}

/// Takes away what is mounted at a path of ours.
///
/// # Errors
/// `EBUSY` while somebody uses it.
pub fn unmount(path: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::NOFOLLOW)?)
}

/// What is mounted at or below a path, and from which device.
///
/// # Errors
/// If the table of mounts cannot be read.
pub fn below(path: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(parse(&table).into_iter().filter(|(point, _)| point.starts_with(path)).collect())
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, c"", target, c"", flags)?)
}

fn configure(context: &OwnedFd, options: &[MountOption]) -> io::Result<()> {
    for (key, value) in options {
        match value {
            None => rustix::mount::fsconfig_set_flag(context, key.as_str())?,
            Some(value) => rustix::mount::fsconfig_set_string(context, key.as_str(), value.as_str())?,
        }
    }
    Ok(())
}

/// The messages that the kernel left in a file system context.
fn said(context: &OwnedFd) -> Option<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(count) = rustix::io::read(context, &mut buffer) {
        if count == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&buffer[..count]);
        // A message starts with its level: `e `, `w ` or `i `.
        lines.push(line.trim().get(2..).unwrap_or_default().to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// Reads mount points and devices out of a mountinfo table.
///
/// Source: proc_pid_mountinfo(5).
fn parse(table: &[u8]) -> Vec<(PathBuf, String)> {
    let line = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let separator = fields.iter().position(|field| *field == b"-")?;
        let point = PathBuf::from(OsString::from_vec(unescape(fields.get(4)?)));
        Some((point, String::from_utf8_lossy(&unescape(fields.get(separator + 2)?)).into_owned()))
    };
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Undoes the octal escapes of white space and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        if let Some(digits) = octal {
            plain.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
            rest = &tail[3..];
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_odd_names_are_read() {
        let table = b"22 27 0:21 / /a\\040b\\134c rw,relatime shared:1 - btrfs /dev/loop3 rw\n1 2 0:3 / / rw - ext4 /dev/root rw\n";
        let expect = [(PathBuf::from("/a b\\c"), "/dev/loop3".to_owned()), (PathBuf::from("/"), "/dev/root".to_owned())];
        assert_eq!(parse(table), expect);
    }
}
