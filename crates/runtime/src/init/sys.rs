//! `/sys`.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::Stage;
use coffer_sys::mount::{self, Change, Restrictions, new_filesystem};
use coffer_sys::path::Root;

use super::{Inside, dev_lxc, mounts::directory};
use crate::failed::{At, Failed};

/// The part that stays writable: the instance's own network interfaces.
const WRITABLE: &str = "devices/virtual/net";

/// Mounts `/sys`, read-only but for network interfaces. systemd takes a read-only `/sys` as the sign of a container and
/// leaves devices alone.
pub(super) fn mount(inside: &Inside<'_>, root: &Root) -> Result<(), Failed> {
    let stage = Stage::Sys;
    let make = || new_filesystem("sysfs", &[], Restrictions::NO_EFFECTS).at(stage, || "making it".into());
    let sys = make()?;
    let target = directory(root, "sys").at(stage, || "/sys in the root file system is no directory that can be mounted on".into())?;
    mount::attach(sys.as_fd(), target.as_fd()).at(stage, || "attaching it".into())?;
    keep_writable(&sys)?;
    let readonly = Restrictions { readonly: true, ..Restrictions::NONE };
    mount::change(sys.as_fd(), Change { restrict: readonly, ..Change::default() }).at(stage, || "making it read-only".into())?;
    if inside.spec.security.nesting {
        dev_lxc(inside, "sys", &make()?, stage)?;
    }
    Ok(())
}

/// Mounts a part over itself: it does not follow when the whole becomes read-only.
fn keep_writable(sys: &OwnedFd) -> Result<(), Failed> {
    let stage = Stage::Sys;
    let below = Root::from_fd(sys.try_clone().at(stage, || "copying a descriptor".into())?);
    let Ok(part) = below.handle(WRITABLE) else { return Ok(()) };
    let copy = mount::copy(part.as_fd(), false).at(stage, || format!("copying {WRITABLE}"))?;
    mount::attach(copy.as_fd(), part.as_fd()).at(stage, || format!("attaching {WRITABLE}"))
}
