//! Becoming root inside.

use coffer_runtime_spec::Stage;

use crate::failed::{At, Failed};

/// Becomes uid 0 and gid 0 of the new user namespace, with no supplementary groups.
pub(super) fn become_root() -> Result<(), Failed> {
    coffer_sys::cred::become_user(0, 0, &[]).at(Stage::Identity, || "taking uid and gid 0".into())?;
    // A change of ids alone may leave it on; until the exec nobody inside may trace us.
    coffer_sys::process::set_dumpable(false).at(Stage::Identity, || "refusing to be traced".into())?;
    // An instance without its monitor could be neither stopped nor found: it ends with it. After the ids, whose change
    // would forget this.
    coffer_sys::process::die_with_parent().at(Stage::Identity, || "tying our life to the monitor's".into())
}
