//! A session keyring of its own.

use coffer_runtime_spec::Stage;
use rustix::io::Errno;

use crate::failed::{At, Failed};

/// Leaves the keyring of whoever started us. Where that is not possible because there are no keys at all, or the user has
/// used them up, it is a warning.
pub(crate) fn new_keyring(warnings: &mut Vec<String>) -> Result<(), Failed> {
    match coffer_sys::cred::new_session_keyring() {
        Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::DQUOT.raw_os_error()) => {
            warnings.push("no new session keyring: too many keys".into());
            Ok(())
        }
        other => other.at(Stage::Keyring, || "joining a new session keyring".into()),
    }
}
