//! Mounting and unmounting in a running instance.

use std::os::fd::OwnedFd;

use coffer_runtime_spec::{Spec, Stage};
use coffer_sys::mount;
use coffer_sys::path::Root;

use super::Door;
use crate::failed::{At, Failed};
use crate::init;
use crate::parent::PlannedMount;

/// Attaches a mount, in the child.
pub(crate) fn attach_mount(door: &Door, spec: &Spec, planned: &PlannedMount, source: Option<&OwnedFd>) -> Result<(), Failed> {
    let root = root(door)?;
    enter_as_root(door, spec)?;
    init::attach_mount(&root, planned, source)
}

/// Unmounts, in the child. All of the path is inside, so it can lead nowhere else.
pub(crate) fn detach_mount(door: &Door, spec: &Spec, target: &str) -> Result<(), Failed> {
    enter_as_root(door, spec)?;
    mount::detach_path(target).at(Stage::Mounts, || format!("unmounting {target}"))
}

fn root(door: &Door) -> Result<Root, Failed> {
    let copy = door.root.try_clone().at(Stage::Mounts, || "copying a descriptor".into())?;
    Root::from_fd(copy).strict().at(Stage::Mounts, || "copying a descriptor".into())
}

fn enter_as_root(door: &Door, spec: &Spec) -> Result<(), Failed> {
    door.enter(spec)?;
    coffer_sys::cred::become_user(0, 0, &[]).at(Stage::Identity, || "taking uid and gid 0".into())
}
