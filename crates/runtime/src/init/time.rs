//! A time namespace, where asked for.

use std::os::fd::OwnedFd;

use coffer_runtime_spec::Stage;
use coffer_sys::ns::{Namespaces, unshare};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::Inside;
use crate::failed::{At, Failed};

/// Makes a time namespace with the spec's offsets; the exec enters it. Source: time_namespaces(7).
pub(super) fn enter(inside: &Inside<'_>, proc: &OwnedFd) -> Result<(), Failed> {
    let Some(offsets) = inside.spec.time else { return Ok(()) };
    let stage = Stage::Clone;
    unshare(Namespaces::TIME).at(stage, || "making a time namespace".into())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = rustix::fs::openat2(proc, "1/timens_offsets", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve);
    let text = format!("monotonic {} 0\nboottime {} 0\n", offsets.monotonic, offsets.boottime);
    file.and_then(|file| rustix::io::write(file, text.as_bytes())).map(drop).at(stage, || "setting the clocks' offsets".into())
}
