//! Resource limits.

use coffer_runtime_spec::{Rlimit, Stage};
use coffer_sys::cred;
use rustix::io::Errno;

use crate::failed::{At, Failed};

/// Sets the resource limits. One that may not be raised here is left as it is, with a warning.
pub(crate) fn set(limits: &[Rlimit], warnings: &mut Vec<String>) -> Result<(), Failed> {
    for limit in limits {
        let name = &limit.resource;
        let resource = cred::resource(name).ok_or_else(|| Failed::new(Stage::Rlimits, format!("unknown resource {name}")))?;
        match cred::set_limit(resource, limit.soft, limit.hard) {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                warnings.push(format!("limit {name} left as it is: raising it is not permitted on this host"));
            }
            other => other.at(Stage::Rlimits, || format!("setting {name}"))?,
        }
    }
    Ok(())
}
