//! A certificate of our own with its key: who we are to others.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::certificate::{Certificate, CertificateError, pem};

/// How many years a certificate of ours is valid.
const YEARS: i16 = 10;

/// A certificate of our own with its key.
pub struct Identity {
    certificate: Certificate,
    key: PrivateKeyDer<'static>,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is shown to clients.
    Server,
    /// It is shown to servers.
    Client,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read or written.
    #[error("using the file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The certificate is there, its key is not.
    #[error("{} has no key beside it: put it back, or remove the certificate to have a new pair made", certificate.display())]
    NoKey {
        /// The certificate.
        certificate: PathBuf,
    },
    /// The certificate cannot be read.
    #[error("reading the certificate {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: CertificateError,
    },
    /// The key cannot be read.
    #[error("{} holds no private key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Making a pair failed.
    #[error("making a certificate")]
    Make(#[source] rcgen::Error),
}

impl Identity {
    /// Makes a pair: ECDSA on P-384, signed by itself, valid for ten years, for these DNS names and addresses.
    ///
    /// # Errors
    /// [`IdentityError::Make`].
    pub fn generate(role: Role, common_name: &str, names: &[String]) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).map_err(IdentityError::Make)?;
        let mut wanted = CertificateParams::new(names.to_vec()).map_err(IdentityError::Make)?;
        wanted.distinguished_name = DistinguishedName::new();
        wanted.distinguished_name.push(DnType::OrganizationName, "Coffer");
        wanted.distinguished_name.push(DnType::CommonName, common_name);
        wanted.is_ca = IsCa::ExplicitNoCa;
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        wanted.extended_key_usages = vec![match role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
        let day = |year: i16, day: i8| rcgen::date_time_ymd(i32::from(year), today.month().unsigned_abs(), day.unsigned_abs());
        // The 29th of February has no counterpart in most years.
        wanted.not_before = day(today.year(), today.day());
        wanted.not_after = day(today.year() + YEARS, today.day().min(28));
        let made = wanted.self_signed(&key).map_err(IdentityError::Make)?;
        let certificate = Certificate::from_der(made.der()).expect("what was just written can be read");
        Ok(Self { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }

    /// Reads `NAME.crt` and `NAME.key` of a directory; makes them where the certificate is missing.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load_or_make(
        directory: &Path,
        name: &str,
        make: impl FnOnce() -> Result<Self, IdentityError>,
    ) -> Result<Arc<Self>, IdentityError> {
        let (certificate, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
        match Self::load(&certificate, &key)? {
            Some(found) => Ok(Arc::new(found)),
            None => {
                let made = make()?;
                // The certificate comes last: as long as it is missing nobody has seen this pair.
                write(&key, 0o600, &pem("PRIVATE KEY", made.key.secret_der()))?;
                write(&certificate, 0o644, &made.certificate.to_pem())?;
                Ok(Arc::new(made))
            }
        }
    }

    /// Reads a certificate and its key; `None` if there is no certificate.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Option<Self>, IdentityError> {
        let text = match fs::read_to_string(certificate) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(IdentityError::File { path: certificate.to_owned(), cause }),
        };
        let read = Certificate::from_text(&text).map_err(|cause| IdentityError::Certificate { path: certificate.to_owned(), cause })?;
        let secret = match fs::read(key) {
            Ok(secret) => secret,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IdentityError::NoKey { certificate: certificate.to_owned() });
            }
            Err(cause) => return Err(IdentityError::File { path: key.to_owned(), cause }),
        };
        let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|_| IdentityError::Key { path: key.to_owned() })?;
        Ok(Some(Self { certificate: read, key: secret }))
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Another handle of the key, for a handshake.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

/// Writes a file that is there whole or not at all.
fn write(path: &Path, mode: u32, text: &str) -> Result<(), IdentityError> {
    let failed = |cause| IdentityError::File { path: path.to_owned(), cause };
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn make() -> Result<Identity, IdentityError> {
        Identity::generate(Role::Client, "me@here", &[])
    }

    #[test]
    fn a_pair_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::load_or_make(dir.path(), "client", make).unwrap();
        let again = Identity::load_or_make(dir.path(), "client", make).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        let mode = fs::metadata(dir.path().join("client.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(dir.path().join("client.key")).unwrap();
        let error = Identity::load_or_make(dir.path(), "client", make).err().unwrap();
        assert!(error.to_string().contains("client.crt has no key beside it"), "{error}");
        fs::write(dir.path().join("client.key"), "nonsense").unwrap();
        let error = Identity::load_or_make(dir.path(), "client", make).err().unwrap();
        assert!(error.to_string().ends_with("client.key holds no private key"), "{error}");
    }
}
