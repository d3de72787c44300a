//! Attaching the root file system.

use std::os::fd::AsFd;

use coffer_runtime_spec::Stage;
use coffer_sys::mount::{self, Change, Propagation};
use coffer_sys::path::Root;
use rustix::fs::{Mode, OFlags};

use super::Inside;
use crate::failed::{At, Failed};

/// A directory that is there in every root and that the child needs nothing of any more: everything from the host's
/// `/dev` was opened before. `/proc` and `/sys` must stay visible, else the kernel lets us mount neither.
const PLACE: &str = "/dev";

/// Cuts our copy of the host's mounts off: nothing that we do is seen outside, and nothing comes in.
pub(super) fn cut_off() -> Result<(), Failed> {
    let stage = Stage::AttachRoot;
    let slash = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).at(stage, || "opening /".into())?;
    let apart = Change { propagation: Some(Propagation::Private), recursive: true, ..Change::default() };
    mount::change(slash.as_fd(), apart).at(stage, || "cutting the host's mounts off".into())
}

/// Attaches the root where it can become `/` later, and returns it for walks that follow no link.
pub(super) fn attach(inside: &Inside<'_>) -> Result<Root, Failed> {
    let stage = Stage::AttachRoot;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = rustix::fs::open(PLACE, flags, Mode::empty()).at(stage, || format!("opening {PLACE}"))?;
    let root = inside.plan.root.as_fd();
    mount::attach(root, place.as_fd()).at(stage, || "attaching it".into())?;
    let copy = inside.plan.root.try_clone().at(stage, || "copying its descriptor".into())?;
    Root::from_fd(copy).strict().at(stage, || "copying its descriptor".into())
}
