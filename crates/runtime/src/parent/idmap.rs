//! Id maps of the instance and of its mounts.

use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{IdMap, IdRange, Spec, Stage};
use coffer_sys::mount::{self, Change, Propagation, Restrictions};
use rustix::io::Errno;

use crate::failed::{At, Failed};

/// Writes the id maps of process `pid`, a child of ours in a new user namespace.
///
/// Source: user_namespaces(7).
pub(crate) fn write_maps(pid: u32, idmap: &IdMap) -> Result<(), Failed> {
    let IdMap::Mapped { uids, gids } = idmap else { return Ok(()) };
    for (file, ranges) in [("uid_map", uids), ("gid_map", gids)] {
        std::fs::write(format!("/proc/{pid}/{file}"), lines(ranges)).at(Stage::IdMap, || format!("writing {file} {}", shown(ranges)))?;
    }
    Ok(())
}

/// Sets the clocks of the time namespace that the children of process `pid`, a child of ours, will be in.
///
/// Source: time_namespaces(7).
pub(crate) fn set_clocks(pid: u32, spec: &Spec) -> Result<(), Failed> {
    let Some(offsets) = spec.time else { return Ok(()) };
    let text = format!("monotonic {} 0\nboottime {} 0\n", offsets.monotonic, offsets.boottime);
    std::fs::write(format!("/proc/{pid}/timens_offsets"), text).at(Stage::Clone, || "setting the clocks' offsets".into())
}

fn lines(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.host, range.count)).collect()
}

fn shown(ranges: &[IdRange]) -> String {
    let texts: Vec<String> = ranges.iter().map(|range| format!("{}:{}:{}", range.inside, range.host, range.count)).collect();
    texts.join(",")
}

/// Changes a detached mount: shifts its ids through `userns` if given, restricts it, and says how mounts below spread.
pub(crate) fn idmapped(
    source: &OwnedFd,
    userns: Option<&OwnedFd>,
    restrict: Restrictions,
    propagation: Propagation,
    recursive: bool,
) -> Result<(), Failed> {
    let stage = if userns.is_some() { Stage::IdMappedMounts } else { Stage::Sources };
    // What lies below the root came along with it and must be cut off too.
    let private = Change { propagation: Some(propagation), recursive: true, ..Change::default() };
    mount::change(source.as_fd(), private).at(stage, || "setting how mounts spread".into())?;
    if restrict.any() {
        mount::change(source.as_fd(), Change { restrict, recursive, ..Change::default() }).at(stage, || "restricting".into())?;
    }
    let Some(userns) = userns else { return Ok(()) };
    let shift = Change { idmap: Some(userns.as_fd()), recursive, ..Change::default() };
    match mount::change(source.as_fd(), shift) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            let text = "its file system cannot map ids (id-mapped mounts need ext4, btrfs, xfs, tmpfs, squashfs, erofs or another \
                        one that supports them), or a mount below it already does";
            Err(Failed { stage, errno: error.raw_os_error(), text: text.into() })
        }
        other => other.at(stage, || "shifting ids".into()),
    }
}
