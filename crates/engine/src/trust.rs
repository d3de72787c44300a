//! Who may use the server over the network: certificates, and the ways for a new one to become trusted.

mod attempts;
mod certificates;
mod password;
mod tokens;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, RwLock};

use coffer_model::{CertificateKind, Time};
use coffer_store::Store;
use coffer_web::Certificate;
use sha2::{Digest, Sha256};

use crate::error::EngineError;

use password::{hash, verify};
pub use tokens::NewToken;
pub(crate) use tokens::secret;

/// A client that wants to become trusted.
#[derive(Debug, Clone)]
pub struct Newcomer {
    /// Where it comes from.
    pub address: IpAddr,
    /// The certificate that it proved to hold.
    pub certificate: Certificate,
    /// What it wants to be called; empty is what the token or the certificate says.
    pub name: String,
    /// The trust password, or a token's secret or text.
    pub password: String,
    /// What it wants to do, where no token says it.
    pub kind: CertificateKind,
}

/// What decides about peers, in memory: it is asked at every request.
#[derive(Default)]
pub(crate) struct Trust {
    /// Each trusted certificate by its fingerprint.
    known: RwLock<HashMap<String, Known>>,
    attempts: Mutex<attempts::Attempts>,
}

/// What is known of a trusted certificate: what its holder may do, and from when to when.
#[derive(Debug, Clone, Copy)]
struct Known {
    kind: CertificateKind,
    from: i64,
    to: i64,
}

impl Trust {
    pub(crate) fn load(store: &Store) -> Result<Self, EngineError> {
        let trust = Self::default();
        for trusted in store.read(coffer_store::certificate::list)? {
            match Certificate::from_text(&trusted.certificate) {
                Ok(certificate) => trust.know(&certificate, trusted.kind),
                Err(error) => tracing::error!("certificate {} is not trusted any more: {error}", trusted.fingerprint),
            }
        }
        Ok(trust)
    }

    fn know(&self, certificate: &Certificate, kind: CertificateKind) {
        let known = Known { kind, from: certificate.not_before(), to: certificate.not_after() };
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(certificate.fingerprint().to_owned(), known);
    }

    fn forget(&self, fingerprint: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(fingerprint);
    }

    fn knows(&self, fingerprint: &str, now: Time) -> Option<CertificateKind> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(fingerprint).filter(|known| (known.from..=known.to).contains(&now.as_second())).map(|known| known.kind)
    }
}

/// Compares secrets in a time that says nothing about where they differ.
pub(crate) fn same_secret(one: &str, other: &str) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

/// Hashes a new trust password with a salt of its own.
pub(crate) fn hash_password(password: &str) -> Result<String, EngineError> {
    let mut salt = [0; 16];
    certificates::random(&mut salt)?;
    Ok(hash(password, salt))
}
