//! The seccomp filter.

use coffer_runtime_spec::Stage;
use coffer_sys::seccomp::Instruction;

use crate::failed::{At, Failed};

/// Installs the filter; an empty one is none.
pub(crate) fn install(filter: &[Instruction]) -> Result<(), Failed> {
    if filter.is_empty() {
        return Ok(());
    }
    coffer_sys::seccomp::install(filter).at(Stage::Seccomp, || "installing it".into())
}
