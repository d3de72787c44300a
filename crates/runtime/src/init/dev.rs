//! `/dev`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::Stage;
use coffer_sys::mount::{self, FsOption, Restrictions, new_filesystem};
use coffer_sys::path::Root;
use rustix::fs::{Mode, OFlags};

use super::{Inside, mounts::directory};
use crate::failed::{At, Failed};

/// Attaches `/dev` and mounts what belongs below it; returns the root of its terminals.
pub(super) fn mount(inside: &Inside<'_>, root: &Root) -> Result<OwnedFd, Failed> {
    let stage = Stage::Dev;
    let dev = &inside.plan.dev;
    let target = directory(root, "dev").at(stage, || "/dev in the root file system is no directory that can be mounted on".into())?;
    mount::attach(dev.as_fd(), target.as_fd()).at(stage, || "attaching it".into())?;
    let tty_group = FsOption::Text("gid", "5");
    let group = inside.spec.idmap.host_gid(5).map(|_| tty_group);
    let options: Vec<FsOption<'_>> = [FsOption::Text("mode", "0620"), FsOption::Text("ptmxmode", "0666"), FsOption::Text("max", "1024")]
        .into_iter()
        .chain(group)
        .collect();
    let no_programs = Restrictions { nosuid: true, noexec: true, ..Restrictions::NONE };
    let devpts = new_filesystem("devpts", &options, no_programs).at(stage, || "making /dev/pts".into())?;
    place(dev, "pts", &devpts)?;
    let shm = new_filesystem("tmpfs", &[FsOption::Text("mode", "1777")], Restrictions { nosuid: true, nodev: true, ..Restrictions::NONE });
    place(dev, "shm", &shm.at(stage, || "making /dev/shm".into())?)?;
    match new_filesystem("mqueue", &[], Restrictions::NO_EFFECTS) {
        Ok(mqueue) => place(dev, "mqueue", &mqueue)?,
        // A kernel may come without POSIX message queues.
        Err(error) if error.error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {}
        Err(error) => return Err(io::Error::from(error)).at(stage, || "making /dev/mqueue".into()),
    }
    Ok(devpts)
}

fn place(dev: &OwnedFd, name: &str, mount: &OwnedFd) -> Result<(), Failed> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(dev, name, flags, Mode::empty()).at(Stage::Dev, || format!("opening /dev/{name}"))?;
    mount::attach(mount.as_fd(), target.as_fd()).at(Stage::Dev, || format!("attaching /dev/{name}"))
}
