//! Making the root `/`.

use std::os::fd::AsFd;

use coffer_runtime_spec::Stage;

use super::Inside;
use crate::failed::{At, Failed};

/// Changes the root. The host's mounts are forgotten last: until then the kernel must see its `/proc` and `/sys` to let
/// us mount ours.
pub(super) fn pivot(inside: &Inside<'_>) -> Result<(), Failed> {
    coffer_sys::mount::pivot(inside.plan.root.as_fd()).at(Stage::Pivot, || "changing the root".into())
}
