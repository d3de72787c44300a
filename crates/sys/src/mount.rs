//! The mount API by descriptors: fsopen, open_tree, mount_setattr, move_mount.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

/// File system types by the number that [`filesystem_type`] answers. Source: linux/magic.h.
pub mod magic {
    /// procfs.
    pub const PROC: i64 = 0x9fa0;
    /// sysfs.
    pub const SYSFS: i64 = 0x6265_6572;
    /// tmpfs.
    pub const TMPFS: i64 = 0x0102_1994;
    /// Control groups, version 1.
    pub const CGROUP: i64 = 0x0027_e0eb;
    /// Control groups, version 2.
    pub const CGROUP2: i64 = 0x6367_7270;
    /// devpts.
    pub const DEVPTS: i64 = 0x1cd1;
}

/// What a mount forbids. Source: mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Writing.
    pub readonly: bool,
    /// Effects of set-id bits and file capabilities.
    pub nosuid: bool,
    /// Effects of device nodes.
    pub nodev: bool,
    /// Executing.
    pub noexec: bool,
}

impl Restrictions {
    /// Nothing is forbidden.
    pub const NONE: Self = Self { readonly: false, nosuid: false, nodev: false, noexec: false };
    /// Set-id bits, devices and executing are forbidden.
    pub const NO_EFFECTS: Self = Self { readonly: false, nosuid: true, nodev: true, noexec: true };
    /// Everything is forbidden.
    pub const ALL: Self = Self { readonly: true, nosuid: true, nodev: true, noexec: true };

    /// Says whether something is forbidden.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::NONE
    }

    fn bits(self) -> u32 {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        // Source: linux/mount.h: RDONLY 1, NOSUID 2, NODEV 4, NOEXEC 8.
        bit(self.readonly, 1) | bit(self.nosuid, 2) | bit(self.nodev, 4) | bit(self.noexec, 8)
    }
}

/// How mounts and unmounts below a mount spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// To and from the copies of the mount.
    Shared,
    /// From the mount it was copied from.
    Slave,
    /// Not at all, and it cannot be copied.
    Unbindable,
}

/// Changes of a mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// What is forbidden from now on, beside what is already.
    pub restrict: Restrictions,
    /// How mounts below spread; absent: as before.
    pub propagation: Option<Propagation>,
    /// The user namespace whose map its ids go through.
    pub idmap: Option<BorrowedFd<'a>>,
    /// Mounts below are changed too.
    pub recursive: bool,
    /// When it is noted that something was read; absent: as before.
    pub access_times: Option<AccessTimes>,
    /// Reading a directory is never noted.
    pub no_directory_times: bool,
    /// Symbolic links on it are not followed.
    pub no_symlinks: bool,
}

/// When a mount notes that something was read. Source: mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTimes {
    /// Once after each change, and once a day.
    Relative,
    /// Never.
    Never,
    /// Always.
    Always,
}

/// Source: linux/mount.h, `struct mount_attr`, version 0.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Changes a mount, all or nothing.
///
/// # Errors
/// `EINVAL` if the file system cannot map ids, the mount has mapped ids already or is attached; `EPERM` without
/// `CAP_SYS_ADMIN`; `EBUSY` if it is to be read-only and somebody has a file open for writing.
///
/// Source: mount_setattr(2); Linux 5.12.
pub fn change(mount: BorrowedFd<'_>, change: Change<'_>) -> io::Result<()> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    const NODIRATIME: u64 = 0x80;
    const NOSYMFOLLOW: u64 = 0x0020_0000;
    const ATIME: u64 = 0x70;
    let mut attr = MountAttr { set: change.restrict.bits().into(), clear: 0, propagation: 0, userns: 0 };
    if let Some(times) = change.access_times {
        attr.clear |= ATIME;
        attr.set |= match times {
            AccessTimes::Relative => 0,
            AccessTimes::Never => 0x10,
            AccessTimes::Always => 0x20,
        };
    }
    attr.set |= if change.no_directory_times { NODIRATIME } else { 0 };
    attr.set |= if change.no_symlinks { NOSYMFOLLOW } else { 0 };
    attr.propagation = match change.propagation {
        None => 0,
        Some(Propagation::Private) => libc::MS_PRIVATE,
        Some(Propagation::Shared) => libc::MS_SHARED,
        Some(Propagation::Slave) => libc::MS_SLAVE,
        Some(Propagation::Unbindable) => libc::MS_UNBINDABLE,
    };
    if let Some(userns) = change.idmap {
        attr.set |= MOUNT_ATTR_IDMAP;
        attr.userns = userns.as_raw_fd() as u64;
    }
    let flags = libc::AT_EMPTY_PATH | if change.recursive { libc::AT_RECURSIVE } else { 0 };
    let (fd, path, size) = (mount.as_raw_fd(), c"".as_ptr(), size_of::<MountAttr>());
    // SAFETY: the path is an empty string, `attr` is a valid mount_attr of the given size, both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, path, flags, &raw const attr, size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Why a file system could not be mounted, with the kernel's own words where it gave some.
#[derive(Debug)]
pub struct NewError {
    /// The error.
    pub error: io::Error,
    /// What the file system said, or nothing.
    pub log: String,
}

impl std::fmt::Display for NewError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.log.is_empty() { self.error.fmt(f) } else { write!(f, "{} ({})", self.log, self.error) }
    }
}

impl std::error::Error for NewError {}

impl From<NewError> for io::Error {
    fn from(error: NewError) -> Self {
        if error.log.is_empty() { error.error } else { Self::new(error.error.kind(), error.to_string()) }
    }
}

/// One option of a file system.
#[derive(Clone, Copy, Debug)]
pub enum FsOption<'a> {
    /// A key without value.
    Flag(&'a str),
    /// A key with a text.
    Text(&'a str, &'a str),
    /// A key with an open file.
    File(&'a str, BorrowedFd<'a>),
}

/// Mounts a file system of the kernel, attached nowhere. Its owner is the user namespace of the caller.
///
/// # Errors
/// `ENODEV` for an unknown type, `EPERM` if it may not be mounted from here, `EINVAL` for options it does not know.
///
/// Source: fsopen(2), fsconfig(2), fsmount(2); Linux 5.2.
pub fn new_filesystem(kind: &str, options: &[FsOption<'_>], restrict: Restrictions) -> Result<OwnedFd, NewError> {
    // What stands in the first column of /proc/mounts; nothing else looks at it.
    filesystem_of(kind, kind, options, restrict)
}

/// Mounts a file system of the kernel that is on `source`, a path where our root is, attached nowhere.
///
/// # Errors
/// As [`new_filesystem`]; `EBUSY` if somebody else uses the device.
pub fn filesystem_of(kind: &str, source: &str, options: &[FsOption<'_>], restrict: Restrictions) -> Result<OwnedFd, NewError> {
    let plain = |error: rustix::io::Errno| NewError { error: error.into(), log: String::new() };
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(plain)?;
    let logged = |error: rustix::io::Errno| NewError { error: error.into(), log: read_log(context.as_fd()) };
    // One that is not taken does not matter: what needs it says so when it is made.
    let _ = rustix::mount::fsconfig_set_string(&context, "source", source);
    for option in options {
        match *option {
            FsOption::Flag(key) => rustix::mount::fsconfig_set_flag(&context, key),
            FsOption::Text(key, value) => rustix::mount::fsconfig_set_string(&context, key, value),
            FsOption::File(key, file) => rustix::mount::fsconfig_set_fd(&context, key, file),
        }
        .map_err(logged)?;
    }
    rustix::mount::fsconfig_create(&context).map_err(logged)?;
    let attributes = MountAttrFlags::from_bits_retain(restrict.bits());
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(logged)
}

/// Reads what a file system context has to say: lines like `e tmpfs: Unknown parameter`.
fn read_log(context: BorrowedFd<'_>) -> String {
    let mut log = Vec::new();
    let mut line = [0; 256];
    while let Ok(length) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(&line[..length]);
        log.push(text.trim_start_matches(['e', 'w', 'i']).trim().to_owned());
        if length == 0 || log.len() > 16 {
            break;
        }
    }
    log.join("; ")
}

/// Copies the mount at a path of ours, attached nowhere; the path becomes its root.
///
/// # Errors
/// `ENOENT`; `EPERM` without `CAP_SYS_ADMIN`; `EINVAL` if a mount below is locked and they are not all copied.
///
/// Source: open_tree(2), `OPEN_TREE_CLONE`; Linux 5.2.
pub fn copy_path(path: impl AsRef<Path>, recursive: bool) -> io::Result<OwnedFd> {
    Ok(rustix::mount::open_tree(CWD, path.as_ref(), copy_flags(recursive))?)
}

/// Copies the mount that a descriptor is on, attached nowhere; what the descriptor stands for becomes its root.
///
/// # Errors
/// As [`copy_path`]; before Linux 6.15 also `EINVAL` if the mount is itself attached nowhere.
pub fn copy(file: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    Ok(rustix::mount::open_tree(file, "", copy_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)?)
}

fn copy_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// Attaches a mount to a directory or file that is held open: nobody can swap the target meanwhile.
///
/// # Errors
/// `ENOTDIR` if only one of both is a directory, `EPERM` without `CAP_SYS_ADMIN` over the mount namespace.
///
/// Source: move_mount(2); Linux 5.2.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", target, "", flags)?)
}

/// Makes the mount that is held open the root of this mount namespace, and forgets the old one with everything below.
///
/// # Errors
/// `EINVAL` if it is not attached here or shared, `EPERM` without `CAP_SYS_ADMIN`.
///
/// Source: pivot_root(2): with `.` twice the old root lies on top of the new one, and is unmounted by `.`.
pub fn pivot(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Makes a mount that nobody sees yet the root of this mount namespace, a new one, and forgets all others.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`.
pub fn move_in(root: BorrowedFd<'_>) -> io::Result<()> {
    let slash = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // What is unmounted here must stay mounted where this namespace was copied from.
    change(slash.as_fd(), Change { propagation: Some(Propagation::Private), recursive: true, ..Change::default() })?;
    attach(root, slash.as_fd())?;
    pivot(root)
}

/// Unmounts what is on top at the mount point that is held open, at once, even if it is in use.
///
/// # Errors
/// `EINVAL` if nothing is mounted there or it is locked.
///
/// Source: umount2(2), `MNT_DETACH`.
pub fn detach(mount: BorrowedFd<'_>) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH)?)
}

/// Unmounts what is on top at a path of ours, at once, even if it is in use; a link in the last place is refused.
///
/// # Errors
/// `EINVAL` if nothing is mounted there or it is locked.
pub fn detach_path(path: impl AsRef<Path>) -> io::Result<()> {
    Ok(rustix::mount::unmount(path.as_ref(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Says on which kind of file system a file is: see [`magic`].
///
/// # Errors
/// None in practice.
///
/// Source: fstatfs(2).
pub fn filesystem_type(file: BorrowedFd<'_>) -> io::Result<i64> {
    Ok(rustix::fs::fstatfs(file)?.f_type)
}

/// Says whether two descriptors are on the same mount.
///
/// # Errors
/// None in practice.
///
/// Source: statx(2), `STATX_MNT_ID`; Linux 5.8.
pub fn mount_id(file: BorrowedFd<'_>) -> io::Result<u64> {
    let flags = rustix::fs::AtFlags::EMPTY_PATH;
    Ok(rustix::fs::statx(file, "", flags, rustix::fs::StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// A private mount point in a fresh mount namespace is what tests of this module run in.
#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `work` on a thread with its own mount namespace, in which nothing spreads out.
    fn apart(work: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(|| {
            if let Err(error) = crate::ns::unshare(crate::ns::Namespaces::MOUNT) {
                println!("skipped: no mount namespace of our own: {error}");
                return;
            }
            let root = copy_path("/", false).map(|_| ());
            assert!(root.is_ok(), "{root:?}");
            let slash = rustix::fs::open("/", OFlags::PATH, Mode::empty()).unwrap();
            let private = Change { propagation: Some(Propagation::Private), recursive: true, ..Change::default() };
            change(slash.as_fd(), private).unwrap();
            work();
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_tmpfs_is_made_restricted_and_attached() {
        apart(|| {
            let mount = new_filesystem("tmpfs", &[FsOption::Text("size", "64k")], Restrictions::NO_EFFECTS).unwrap();
            assert_eq!(filesystem_type(mount.as_fd()).unwrap(), magic::TMPFS);
            let target = rustix::fs::open("/mnt", OFlags::PATH, Mode::empty()).unwrap();
            attach(mount.as_fd(), target.as_fd()).unwrap();
            std::fs::write("/mnt/x", "y").unwrap();
            let readonly = Restrictions { readonly: true, ..Restrictions::NONE };
            change(mount.as_fd(), Change { restrict: readonly, ..Change::default() }).unwrap();
            assert_eq!(std::fs::write("/mnt/x", "z").unwrap_err().raw_os_error(), Some(libc::EROFS));
            detach(mount.as_fd()).unwrap();
            assert!(!Path::new("/mnt/x").exists());
        });
    }

    #[test]
    fn the_kernels_words_are_in_the_error() {
        let error = new_filesystem("tmpfs", &[FsOption::Text("colour", "red")], Restrictions::NONE).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
        let error = new_filesystem("no-such-fs", &[], Restrictions::NONE).unwrap_err();
        assert_eq!(error.error.raw_os_error(), Some(libc::ENODEV));
    }
}
