//! Certificates: ours, and those that servers are known by.

use std::path::Path;
use std::sync::Arc;

use coffer_web::{Certificate, Identity, Role};

use super::file::put;
use crate::error::CliError;

/// The directory of the servers' certificates.
const SERVERS: &str = "servercerts";

/// Our own certificate and key; `None` before the first remote that wants one.
pub(super) fn own(directory: &Path) -> Result<Option<Identity>, CliError> {
    Ok(Identity::load(&directory.join("client.crt"), &directory.join("client.key"))?)
}

/// Our own certificate and key, made if they are not there.
pub(super) fn own_or_made(directory: &Path) -> Result<Arc<Identity>, CliError> {
    let failed = |cause| CliError::File { file: directory.to_owned(), cause };
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700).create(directory).map_err(failed)?;
    Ok(Identity::load_or_make(directory, "client", || {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "root".to_owned());
        Identity::generate(Role::Client, &format!("{user}@{host}"), &[])
    })?)
}

/// The certificate that a remote's server must have.
pub(super) fn pinned(directory: &Path, remote: &str) -> Result<Option<Certificate>, CliError> {
    let file = directory.join(SERVERS).join(format!("{remote}.crt"));
    match std::fs::read_to_string(&file) {
        Ok(text) => Certificate::from_text(&text).map(Some).map_err(|cause| CliError::Certificate { file, cause }),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(cause) => Err(CliError::File { file, cause }),
    }
}

/// Keeps the certificate that a remote's server must have.
pub(super) fn pin(directory: &Path, remote: &str, certificate: &Certificate) -> Result<(), CliError> {
    put(&directory.join(SERVERS).join(format!("{remote}.crt")), 0o600, &certificate.to_pem())
}

/// Forgets it.
pub(super) fn forget(directory: &Path, remote: &str) -> Result<(), CliError> {
    let file = directory.join(SERVERS).join(format!("{remote}.crt"));
    match std::fs::remove_file(&file) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(CliError::File { file, cause }),
        _ => Ok(()),
    }
}
