//! The host name.

use coffer_runtime_spec::Stage;

use super::Inside;
use crate::failed::{At, Failed};

/// Sets the host name.
pub(super) fn set(inside: &Inside<'_>) -> Result<(), Failed> {
    let name = &inside.spec.hostname;
    coffer_sys::ns::set_hostname(name).at(Stage::Hostname, || format!("setting it to {name}"))
}
