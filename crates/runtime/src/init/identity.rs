//! Becoming root inside.

use coffer_runtime_spec::Stage;
use rustix::fs::{Mode, OFlags};

use crate::failed::{At, Failed};

/// Gives up what a service manager may have given the daemon: protection from the out-of-memory killer is not for what
/// runs inside. While still root of the host, because that is whose the file is.
pub(super) fn drop_protection() -> Result<(), Failed> {
    let told = || "reading our out-of-memory score".to_owned();
    let file = rustix::fs::open("/proc/self/oom_score_adj", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at(Stage::Identity, told)?;
    let mut text = [0; 16];
    let length = rustix::io::read(&file, &mut text).at(Stage::Identity, told)?;
    if text[..length].starts_with(b"-") {
        rustix::io::write(&file, b"0").at(Stage::Identity, || "resetting our out-of-memory score".into())?;
    }
    Ok(())
}

/// Becomes uid 0 and gid 0 of the new user namespace, with no supplementary groups.
pub(super) fn become_root() -> Result<(), Failed> {
    coffer_sys::cred::become_user(0, 0, &[]).at(Stage::Identity, || "taking uid and gid 0".into())?;
    // A change of ids alone may leave it on; until the exec nobody inside may trace us.
    coffer_sys::process::set_dumpable(false).at(Stage::Identity, || "refusing to be traced".into())?;
    // An instance without its monitor could be neither stopped nor found: it ends with it. After the ids, whose change
    // would forget this.
    coffer_sys::process::die_with_parent().at(Stage::Identity, || "tying our life to the monitor's".into())
}
