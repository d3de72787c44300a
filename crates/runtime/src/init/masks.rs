//! Hiding or write-protecting what `/proc` and `/sys` tell of the host.
//!
//! In a user namespace the kernel itself refuses what is dangerous there, so for those this hides what is none of the
//! instance's business; for a privileged instance it is the protection.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coffer_runtime_spec::{IdMap, Stage};
use coffer_sys::mount::{self, Change, FsOption, Restrictions, new_filesystem};
use coffer_sys::path::{Root, kind_of};
use rustix::fs::{FileType, Mode, OFlags};

use super::Inside;
use crate::failed::{At, Failed};

const STAGE: Stage = Stage::Masks;

/// Files and directories that are hidden.
const HIDDEN: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/firmware",
    "sys/kernel/slab",
    "sys/devices/virtual/powercap",
];

/// What cannot be written in any instance.
const READONLY: [&str; 3] = ["proc/sysrq-trigger", "proc/bus", "proc/fs"];

/// What cannot be written in a privileged instance, where the kernel would allow it.
const READONLY_PRIVILEGED: [&str; 2] = ["proc/irq", "proc/sys"];

/// What stays writable below that.
const WRITABLE_PRIVILEGED: &str = "proc/sys/net";

/// Applies the masks. `/proc` and `/sys` were checked and mounted by us just before, so these paths are the kernel's own.
pub(super) fn apply(inside: &Inside<'_>, root: &Root) -> Result<(), Failed> {
    let null = null(&inside.plan.dev).at(STAGE, || "opening /dev/null".into())?;
    let mut nothing = None;
    for path in HIDDEN {
        hide(root, path, null.as_fd(), &mut nothing).at(STAGE, || format!("hiding /{path}"))?;
    }
    for path in READONLY {
        protect(root, path, None).at(STAGE, || format!("protecting /{path}"))?;
    }
    if let IdMap::Privileged = inside.spec.idmap {
        for path in READONLY_PRIVILEGED {
            let kept = (path == "proc/sys").then_some(WRITABLE_PRIVILEGED);
            protect(root, path, kept).at(STAGE, || format!("protecting /{path}"))?;
        }
    }
    Ok(())
}

/// Opens the null device of our own `/dev` and makes sure that it is one.
fn null(dev: &OwnedFd) -> io::Result<OwnedFd> {
    let null = rustix::fs::openat(dev, "null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&null)?;
    let is_null = kind_of(&stat) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3);
    if is_null { Ok(null) } else { Err(rustix::io::Errno::NODEV.into()) }
}

fn hide(root: &Root, path: &str, null: BorrowedFd<'_>, nothing: &mut Option<OwnedFd>) -> io::Result<()> {
    let target = match root.handle(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let cover = if kind_of(&rustix::fs::fstat(&target)?) == FileType::Directory {
        match nothing {
            // A mount that is attached can be copied; the first one is attached as it is.
            Some(first) => mount::copy(first.as_fd(), false)?,
            None => {
                let first = new_filesystem("tmpfs", &[FsOption::Text("mode", "555"), FsOption::Text("size", "4k")], Restrictions::ALL)?;
                *nothing = Some(first.try_clone()?);
                first
            }
        }
    } else {
        mount::copy(null, false)?
    };
    mount::attach(cover.as_fd(), target.as_fd())
}

/// Mounts a part of `/proc` over itself, read-only, but for `kept` below it.
fn protect(root: &Root, path: &str, kept: Option<&str>) -> io::Result<()> {
    let target = match root.handle(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let kept = kept.map(|kept| root.handle(kept).and_then(|kept| mount::copy(kept.as_fd(), false))).transpose()?;
    let cover = mount::copy(target.as_fd(), false)?;
    mount::change(cover.as_fd(), Change { restrict: Restrictions { readonly: true, ..Restrictions::NONE }, ..Change::default() })?;
    mount::attach(cover.as_fd(), target.as_fd())?;
    let Some(kept) = kept else { return Ok(()) };
    mount::attach(kept.as_fd(), root.handle(WRITABLE_PRIVILEGED)?.as_fd())
}
