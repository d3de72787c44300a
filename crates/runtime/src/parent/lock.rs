//! Making what a mount forbids final.
//!
//! A mount that root inside got from us detached is its own: it could mount it again, writable. The kernel locks such
//! flags only when a mount namespace is copied into another user namespace. So a short-lived child attaches the mounts in
//! a namespace of the host's, joins the instance's user namespace, copies the mount namespace, and hands back copies
//! from there, whose flags are locked for good.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_runtime_spec::Stage;
use coffer_sys::mount::{self, Change, FsOption, Propagation, Restrictions};
use coffer_sys::ns::{self, Namespaces};
use coffer_sys::process::{self, CloneOptions};
use coffer_sys::socket::PacketSocket;
use rustix::fs::{CWD, Mode, OFlags};

use super::borrow;
use crate::failed::{At, Failed};

/// Returns mounts like these whose restrictions nobody in `userns` can take back, in the same order.
pub(crate) fn lock_restrictions(sources: &[&OwnedFd], userns: &OwnedFd) -> Result<Vec<OwnedFd>, Failed> {
    let stage = Stage::IdMappedMounts;
    let (ours, theirs) = PacketSocket::pair().at(stage, || "making a socket pair".into())?;
    let child = process::clone(CloneOptions { namespaces: Namespaces::MOUNT, ..CloneOptions::default() }, || match lock(sources, userns) {
        Ok(locked) => u8::from(theirs.send(&[b"k"], &borrow(&locked)).is_err()),
        Err(error) => {
            let _ = theirs.send(&[error.text.as_bytes()], &[]);
            1
        }
    });
    let child = child.at(stage, || "making a process".into())?;
    drop(theirs);
    let packet = ours.receive(4096).at(stage, || "waiting for locked mounts".into());
    let _ = process::wait(child.pidfd.as_fd());
    match packet? {
        Some(packet) if packet.fds.len() == sources.len() => Ok(packet.fds),
        Some(packet) => Err(Failed::new(stage, String::from_utf8_lossy(&packet.bytes).into_owned())),
        None => Err(Failed::new(stage, "the process that locks mounts ended early")),
    }
}

fn lock(sources: &[&OwnedFd], userns: &OwnedFd) -> Result<Vec<OwnedFd>, Failed> {
    let stage = Stage::IdMappedMounts;
    let open = |dir: BorrowedFd<'_>, path: &str| rustix::fs::openat(dir, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let slash = open(CWD, "/").at(stage, || "opening /".into())?;
    let apart = Change { propagation: Some(Propagation::Private), recursive: true, ..Change::default() };
    mount::change(slash.as_fd(), apart).at(stage, || "cutting mounts off".into())?;
    let place = mount::new_filesystem("tmpfs", &[FsOption::Text("mode", "755")], Restrictions::NONE);
    let place = place.at(stage, || "making a place to mount".into())?;
    let proc = open(CWD, "/proc").at(stage, || "opening /proc".into())?;
    mount::attach(place.as_fd(), proc.as_fd()).at(stage, || "attaching the place to mount".into())?;
    for (number, source) in sources.iter().enumerate() {
        let name = number.to_string();
        let is_dir = coffer_sys::path::kind_of(&rustix::fs::fstat(source).at(stage, || "looking at a mount".into())?);
        let made = if is_dir == rustix::fs::FileType::Directory {
            rustix::fs::mkdirat(&place, &name, Mode::from_raw_mode(0o755))
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
            rustix::fs::openat(&place, &name, flags, Mode::from_raw_mode(0o644)).map(drop)
        };
        made.at(stage, || "making a mount point".into())?;
        let target = open(place.as_fd(), &name).at(stage, || "opening a mount point".into())?;
        mount::attach(source.as_fd(), target.as_fd()).at(stage, || "attaching a mount".into())?;
    }
    ns::join(userns.as_fd(), Namespaces::USER).at(stage, || "joining the user namespace".into())?;
    ns::unshare(Namespaces::MOUNT).at(stage, || "copying the mount namespace".into())?;
    let copies = (0..sources.len()).map(|number| mount::copy_path(format!("/proc/{number}"), true));
    copies.map(|copy| copy.at(stage, || "copying a locked mount".into())).collect()
}
