//! The security label.

use std::os::fd::OwnedFd;

use coffer_runtime_spec::{Spec, Stage};

use crate::failed::Failed;
use crate::parent::label;

/// Chooses the label that the next program runs under, through our own `/proc`.
pub(crate) fn set_label(spec: &Spec, proc: &OwnedFd) -> Result<(), Failed> {
    match label(spec) {
        Some(label) => crate::lsm::set_for_exec(label, proc).map_err(|text| Failed::new(Stage::Label, text)),
        None => Ok(()),
    }
}
