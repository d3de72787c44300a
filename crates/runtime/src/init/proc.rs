//! `/proc`.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::Stage;
use coffer_sys::mount::{self, Restrictions, new_filesystem};
use coffer_sys::path::Root;

use super::{Inside, dev_lxc, mounts::directory};
use crate::failed::{At, Failed};

/// Mounts a fresh `/proc`. The descriptor returned is this very mount, whatever is put over its path later.
pub(super) fn mount(inside: &Inside<'_>, root: &Root) -> Result<OwnedFd, Failed> {
    let stage = Stage::Proc;
    let proc = new_filesystem("proc", &[], Restrictions::NO_EFFECTS).at(stage, || "making it".into())?;
    let target = directory(root, "proc").at(stage, || "/proc in the root file system is no directory that can be mounted on".into())?;
    mount::attach(proc.as_fd(), target.as_fd()).at(stage, || "attaching it".into())?;
    if inside.spec.security.nesting {
        let another = new_filesystem("proc", &[], Restrictions::NO_EFFECTS).at(stage, || "making a second one".into())?;
        dev_lxc(inside, "proc", &another, stage)?;
    }
    Ok(proc)
}
