//! Joining the control groups.

use coffer_runtime_spec::Stage;
use coffer_sys::ns::{Namespaces, unshare};

use super::Inside;
use crate::failed::{At, Failed};

/// Joins the version 1 groups; the version 2 one was joined at birth. While unmapped: the files are root's.
pub(super) fn join(inside: &Inside<'_>) -> Result<(), Failed> {
    for tasks in &inside.plan.tasks {
        rustix::io::write(tasks, b"0").at(Stage::JoinCgroup, || "joining a control group".into())?;
    }
    Ok(())
}

/// Makes the groups just joined the roots of what is seen inside.
pub(super) fn make_namespace() -> Result<(), Failed> {
    unshare(Namespaces::CGROUP).at(Stage::JoinCgroup, || "making a control group namespace".into())
}
