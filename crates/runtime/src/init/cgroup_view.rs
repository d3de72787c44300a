//! The view of the control groups: only the instance's own and what is below.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::Stage;
use coffer_sys::mount::{self, Change, FsOption, Restrictions, new_filesystem};
use coffer_sys::path::Root;
use rustix::fs::{Mode, OFlags};

use super::Inside;
use crate::failed::{At, Failed};
use crate::parent::{CgroupView, Shown};

const STAGE: Stage = Stage::CgroupView;
const PLACE: &str = "sys/fs/cgroup";

/// Mounts the control groups at `/sys/fs/cgroup`. Mounted from inside the namespaces, every hierarchy's root is the
/// instance's own group, and the version 1 files stay the host root's.
pub(super) fn mount(inside: &Inside<'_>, root: &Root) -> Result<(), Failed> {
    let place = root.handle(PLACE).at(STAGE, || format!("opening /{PLACE}"))?;
    match &inside.plan.view {
        CgroupView::Unified => {
            let unified = new_filesystem("cgroup2", &[], Restrictions::NO_EFFECTS).at(STAGE, || "making the version 2 tree".into())?;
            mount::attach(unified.as_fd(), place.as_fd()).at(STAGE, || "attaching the version 2 tree".into())
        }
        CgroupView::Each(shown) => each(shown, &place),
    }
}

fn each(shown: &[Shown], place: &OwnedFd) -> Result<(), Failed> {
    let options = [FsOption::Text("mode", "755"), FsOption::Text("size", "64k")];
    let top = new_filesystem("tmpfs", &options, Restrictions::NO_EFFECTS).at(STAGE, || "making a directory".into())?;
    mount::attach(top.as_fd(), place.as_fd()).at(STAGE, || "attaching a directory".into())?;
    for one in shown {
        let (directory, hierarchy) = match one {
            Shown::V1 { directory, controllers } => (directory, legacy(directory, controllers)?),
            Shown::V2 { directory } => {
                let unified = new_filesystem("cgroup2", &[], Restrictions::NO_EFFECTS);
                (directory, unified.at(STAGE, || "making the version 2 tree".into())?)
            }
        };
        let told = || format!("attaching {directory}");
        rustix::fs::mkdirat(&top, directory, Mode::from_raw_mode(0o755)).at(STAGE, told)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(&top, directory, flags, Mode::empty()).at(STAGE, told)?;
        mount::attach(hierarchy.as_fd(), target.as_fd()).at(STAGE, told)?;
        link_single_names(one, &top)?;
    }
    let readonly = Restrictions { readonly: true, ..Restrictions::NONE };
    mount::change(top.as_fd(), Change { restrict: readonly, ..Change::default() }).at(STAGE, || "making the directory read-only".into())
}

fn legacy(directory: &str, controllers: &[String]) -> Result<OwnedFd, Failed> {
    let options: Vec<FsOption<'_>> = if controllers.is_empty() {
        vec![FsOption::Flag("none"), FsOption::Text("name", directory)]
    } else {
        controllers.iter().map(|controller| FsOption::Flag(controller)).collect()
    };
    new_filesystem("cgroup", &options, Restrictions::NO_EFFECTS).at(STAGE, || format!("making hierarchy {directory}"))
}

/// `cpu` leads to `cpu,cpuacct`, as everybody expects.
fn link_single_names(shown: &Shown, top: &OwnedFd) -> Result<(), Failed> {
    let Shown::V1 { directory, controllers } = shown else { return Ok(()) };
    for controller in controllers.iter().filter(|controller| *controller != directory) {
        rustix::fs::symlinkat(directory.as_str(), top, controller).at(STAGE, || format!("linking {controller}"))?;
    }
    Ok(())
}
