//! A time namespace, where asked for.

use coffer_runtime_spec::Stage;
use coffer_sys::ns::{Namespaces, unshare};

use super::Inside;
use crate::failed::{At, Failed};

/// Makes a time namespace. The monitor sets its clocks, which takes rights over files that nobody inside may have; the
/// exec enters it. Source: time_namespaces(7).
pub(super) fn make_namespace(inside: &Inside<'_>) -> Result<(), Failed> {
    match inside.spec.time {
        Some(_) => unshare(Namespaces::TIME).at(Stage::Clone, || "making a time namespace".into()),
        None => Ok(()),
    }
}
