//! Resource limits.

use coffer_runtime_spec::{Rlimit, Stage};
use coffer_sys::cred;
use rustix::io::Errno;

use crate::failed::{At, Failed};

/// Sets our own resource limits. One that may not be raised here is left as it is, with a warning.
pub(crate) fn set(limits: &[Rlimit], warnings: &mut Vec<String>) -> Result<(), Failed> {
    each(limits, warnings, cred::set_limit)
}

/// Sets those of init, a child of ours, from outside: it is in its user namespace and may not raise them itself.
pub(crate) fn set_of(pid: u32, limits: &[Rlimit], warnings: &mut Vec<String>) -> Result<(), Failed> {
    each(limits, warnings, |resource, soft, hard| cred::set_limit_of(pid, resource, soft, hard))
}

fn each(
    limits: &[Rlimit],
    warnings: &mut Vec<String>,
    set: impl Fn(rustix::process::Resource, Option<u64>, Option<u64>) -> std::io::Result<()>,
) -> Result<(), Failed> {
    for limit in limits {
        let name = &limit.resource;
        let resource = cred::resource(name).ok_or_else(|| Failed::new(Stage::Rlimits, format!("unknown resource {name}")))?;
        match set(resource, limit.soft, limit.hard) {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                warnings.push(format!("limit {name} left as it is: raising it is not permitted on this host"));
            }
            other => other.at(Stage::Rlimits, || format!("setting {name}"))?,
        }
    }
    Ok(())
}
