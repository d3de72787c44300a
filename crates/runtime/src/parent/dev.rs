//! The file system for `/dev`, made outside because only root of the host can make device nodes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_runtime_spec::{Device, DeviceKind, Spec, Stage};
use coffer_sys::mount::{FsOption, Restrictions, new_filesystem};
use coffer_sys::path::Root;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::failed::{At, Failed};

/// A usual device: its path below `/dev` and its numbers.
struct Usual {
    path: &'static str,
    minor: u32,
    major: u32,
    /// It is left out where the host's kernel does not have it.
    optional: bool,
}

const fn usual(path: &'static str, major: u32, minor: u32) -> Usual {
    Usual { path, major, minor, optional: false }
}

/// Source: Documentation/admin-guide/devices.txt of the kernel.
const USUAL: [Usual; 8] = [
    usual("null", 1, 3),
    usual("zero", 1, 5),
    usual("full", 1, 7),
    usual("random", 1, 8),
    usual("urandom", 1, 9),
    usual("tty", 5, 0),
    Usual { path: "fuse", major: 10, minor: 229, optional: true },
    Usual { path: "net/tun", major: 10, minor: 200, optional: true },
];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the file system for `/dev` with everything that needs no rights inside, attached nowhere.
pub(crate) fn prepare(spec: &Spec, warnings: &mut Vec<String>) -> Result<OwnedFd, Failed> {
    let stage = Stage::Dev;
    let (uid, gid) = owner(spec, 0, 0);
    let (uid_text, gid_text) = (uid.to_string(), gid.to_string());
    // As much as a directory of nodes needs: its memory is nobody's limit.
    let options =
        [FsOption::Text("mode", "755"), FsOption::Text("size", "512k"), FsOption::Text("uid", &uid_text), FsOption::Text("gid", &gid_text)];
    let restrict = Restrictions { nosuid: true, ..Restrictions::NONE };
    let dev = new_filesystem("tmpfs", &options, restrict).at(stage, || "making its file system".into())?;
    for (dir, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777), ("net", 0o755)] {
        make_dir(&dev, dir, mode, uid, gid).at(stage, || format!("making /dev/{dir}"))?;
    }
    for (link, target) in LINKS {
        make_link(&dev, link, target, uid, gid).at(stage, || format!("making /dev/{link}"))?;
    }
    if spec.security.nesting {
        for dir in [".lxc", ".lxc/proc", ".lxc/sys"] {
            make_dir(&dev, dir, 0o755, uid, gid).at(stage, || format!("making /dev/{dir}"))?;
        }
    }
    empty_file(&dev, "console").at(stage, || "making /dev/console".into())?;
    for usual in &USUAL {
        let made = make_first(&dev, usual, uid, gid);
        match made {
            Err(error) if usual.optional => warnings.push(format!("/dev/{} left out: {error}", usual.path)),
            other => other.at(stage, || format!("making /dev/{}", usual.path))?,
        }
    }
    for device in &spec.devices {
        make_node(dev.as_fd(), device, owner(spec, device.uid, device.gid)).at(stage, || format!("making {}", device.path))?;
    }
    Ok(dev)
}

/// Makes a node while nobody else has the file system in sight: no walk is needed, and our umask is 0.
fn make_first(dev: &OwnedFd, usual: &Usual, uid: u32, gid: u32) -> io::Result<()> {
    let number = rustix::fs::makedev(usual.major, usual.minor);
    rustix::fs::mknodat(dev, usual.path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number)?;
    Ok(rustix::fs::chownat(dev, usual.path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Makes a device node of a spec in the instance's `/dev`, from outside.
///
/// # Errors
/// `EINVAL` if its path is not below `/dev`; `EEXIST` if the name is taken.
pub(crate) fn make_node(dev: BorrowedFd<'_>, device: &Device, owner: (u32, u32)) -> io::Result<()> {
    let path = device.path.strip_prefix("/dev/").ok_or(Errno::INVAL)?;
    let kind = match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
    };
    make(dev, path, kind, (device.major, device.minor), device.mode & 0o7777, owner)
}

fn make(dev: BorrowedFd<'_>, path: &str, kind: FileType, number: (u32, u32), mode: u32, owner: (u32, u32)) -> io::Result<()> {
    // Root inside may have put links here meanwhile: none is followed, and no other mount is entered.
    let dir = Root::from_fd(dev.try_clone_to_owned()?).strict()?.within_mount()?;
    if let Some((above, _)) = path.rsplit_once('/') {
        dir.create_dir_all(above, 0o755)?;
    }
    dir.make_node(path, kind, mode, number.0, number.1)?;
    let owned = dir.change_owner(path, owner.0, owner.1).and_then(|()| dir.change_mode(path, mode));
    if owned.is_err() {
        let _ = dir.remove_file(path);
    }
    owned
}

/// The host's ids for ids inside; the host's root for those without.
pub(crate) fn owner(spec: &Spec, uid: u32, gid: u32) -> (u32, u32) {
    (spec.idmap.host_uid(uid).unwrap_or(0), spec.idmap.host_gid(gid).unwrap_or(0))
}

fn make_dir(dev: &OwnedFd, path: &str, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    rustix::fs::mkdirat(dev, path, Mode::from_raw_mode(mode))?;
    Ok(rustix::fs::chownat(dev, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::empty())?)
}

fn make_link(dev: &OwnedFd, path: &str, target: &str, uid: u32, gid: u32) -> io::Result<()> {
    rustix::fs::symlinkat(target, dev, path)?;
    Ok(rustix::fs::chownat(dev, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn empty_file(dev: &OwnedFd, path: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(dev, path, flags, Mode::from_raw_mode(0o600))?;
    Ok(())
}
