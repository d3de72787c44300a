//! Making a file system, attached nowhere.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use coffer_runtime_spec::{Device, Filesystem};
use coffer_sys::mount::{self, FsOption, NewError, Restrictions};
use coffer_sys::path::Root;
use rustix::fs::{FileType, Mode, OFlags};

use super::flags::Flags;
use super::options::MountOption;

/// Makes the file system on a device, or on none.
///
/// Whoever is root inside chose its bytes, and our rights as root of the host are in it: no node on it is ever a device, for
/// nobody who gets hold of a descriptor. Where ids on disk are the host's, set-id bits have no effect either.
pub(super) fn make(
    filesystem: Filesystem,
    device: Option<&Device>,
    options: &[MountOption],
    flags: Flags,
    shift: bool,
) -> io::Result<OwnedFd> {
    let restrict = Restrictions { nodev: true, nosuid: !shift, ..Restrictions::NONE };
    let mut all: Vec<FsOption<'_>> = options.iter().map(MountOption::as_option).collect();
    for (wanted, name) in [
        (flags.restrict.readonly, "ro"),
        (flags.synchronous, "sync"),
        (flags.synchronous_directories, "dirsync"),
        (flags.lazy_times, "lazytime"),
    ] {
        all.extend(wanted.then_some(FsOption::Flag(name)));
    }
    match device {
        None => mount::new_filesystem(filesystem.name(), &all, restrict).map_err(plain),
        Some(device) => beside(device, || mount::filesystem_of(filesystem.name(), &device.path, &all, restrict).map_err(plain)),
    }
}

/// What the kernel says of a file system is for its own log: whoever asked gets the number.
fn plain(error: NewError) -> io::Error {
    error.error
}

/// Does something with a root in which there is nothing but a node of a device, at the device's own path.
fn beside<T>(device: &Device, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let apart = mount::new_filesystem("tmpfs", &[FsOption::Text("mode", "700"), FsOption::Text("size", "64k")], Restrictions::NONE)?;
    let copy = apart.try_clone()?;
    let root = Root::from_fd(apart);
    let path = Path::new(device.path.trim_start_matches('/'));
    if let Some(above) = path.parent() {
        root.create_dir_all(above, 0o700)?;
    }
    root.make_node(path, FileType::BlockDevice, 0o600, device.major, device.minor)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let before = rustix::fs::open("/", flags, Mode::empty())?;
    let enter = |directory: &OwnedFd| rustix::process::fchdir(directory).and_then(|()| rustix::process::chroot("."));
    enter(&copy)?;
    let done = work();
    enter(&before)?;
    done
}
