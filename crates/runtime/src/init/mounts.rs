//! Mounts of the spec.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use coffer_runtime_spec::{MountSource, Stage};
use coffer_sys::mount::{self, FsOption, new_filesystem};
use coffer_sys::path::{Root, kind_of};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::Inside;
use crate::failed::{At, Failed};
use crate::parent::{PlannedMount, restrictions};

/// Attaches the mounts of the spec in their order.
pub(super) fn attach(inside: &mut Inside<'_>, root: &Root) -> Result<(), Failed> {
    for planned in &inside.plan.mounts {
        let locked = if planned.is_locked(&inside.spec.idmap) { inside.locked.pop_front() } else { None };
        match attach_mount(root, planned, locked.as_ref().or(planned.source.as_ref())) {
            Err(error) if planned.mount.optional => inside.warnings.push(format!("mount left out: {}", error.text)),
            other => other?,
        }
    }
    Ok(())
}

/// Attaches one mount at its target, which is made if it is missing and may be.
pub(crate) fn attach_mount(root: &Root, planned: &PlannedMount, source: Option<&OwnedFd>) -> Result<(), Failed> {
    let told = || format!("mounting at {}", planned.mount.target);
    let made;
    let source = match (source, &planned.mount.source) {
        (Some(source), _) => source,
        (None, MountSource::Filesystem { kind, options }) => {
            made = filesystem(kind, options, planned).at(Stage::Mounts, told)?;
            &made
        }
        (None, MountSource::Host(_)) => return Err(Errno::BADF).at(Stage::Mounts, told),
    };
    let target = target(root, planned).at(Stage::Mounts, told)?;
    mount::attach(source.as_fd(), target.as_fd()).at(Stage::Mounts, told)
}

fn filesystem(kind: &str, options: &std::collections::BTreeMap<String, String>, planned: &PlannedMount) -> io::Result<OwnedFd> {
    let options: Vec<FsOption<'_>> =
        options.iter().map(|(key, value)| if value.is_empty() { FsOption::Flag(key) } else { FsOption::Text(key, value) }).collect();
    Ok(new_filesystem(kind, &options, restrictions(&planned.mount))?)
}

fn target(root: &Root, planned: &PlannedMount) -> io::Result<OwnedFd> {
    let path = Path::new(&planned.mount.target);
    match root.handle(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && planned.makes_target() => {}
        other => return other,
    }
    if planned.is_dir {
        root.create_dir_all(path, 0o755)?;
    } else {
        if let Some(above) = path.parent() {
            root.create_dir_all(above, 0o755)?;
        }
        root.create_file(path, 0o644)?;
    }
    root.handle(path)
}

/// Opens a directory right below the root to mount on, made if it is missing. A link or a file there is an error: whoever
/// made the image must not choose where our mounts land.
pub(super) fn directory(root: &Root, name: &str) -> io::Result<OwnedFd> {
    let found = match root.handle(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            root.create_dir(name, 0o755)?;
            root.handle(name)?
        }
        other => other?,
    };
    match kind_of(&rustix::fs::fstat(&found)?) {
        FileType::Directory => Ok(found),
        FileType::Symlink => Err(Errno::LOOP.into()),
        _ => Err(Errno::NOTDIR.into()),
    }
}
