//! Trusted certificates: added by an administrator, or by a newcomer with a token or the trust password.

use std::sync::PoisonError;
use std::time::Instant;

use coffer_model::{CertificateKind, Config, Fingerprint, Time, TrustedCertificate};
use coffer_web::Certificate;

use super::{Newcomer, verify};
use crate::error::EngineError;
use crate::events::Caller;
use crate::{Engine, Precondition};

/// The longest name of a certificate.
const LONGEST_NAME: usize = 255;

impl Engine {
    /// Says what the holder of a certificate may do now; `None` is nothing.
    #[must_use]
    pub fn trusts(&self, fingerprint: &str) -> Option<CertificateKind> {
        self.inner.trust.knows(fingerprint, Time::now())
    }

    /// Lists the trusted certificates.
    ///
    /// # Errors
    /// Only the store's.
    pub fn certificates(&self) -> Result<Vec<TrustedCertificate>, EngineError> {
        Ok(self.inner.store.read(coffer_store::certificate::list)?)
    }

    /// Reads a certificate by its fingerprint, or the only one whose fingerprint begins so.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn certificate(&self, prefix: &str) -> Result<TrustedCertificate, EngineError> {
        let missing = || EngineError::not_found("certificate", prefix);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let mut found = self.inner.store.read(|conn| coffer_store::certificate::with_prefix(conn, &prefix.to_ascii_lowercase()))?;
        match (found.pop(), found.is_empty()) {
            (Some(certificate), true) => Ok(certificate),
            (Some(_), false) => {
                Err(EngineError::Refused(format!("more than one certificate's fingerprint begins with {prefix}; give more of it")))
            }
            (None, _) => Err(missing()),
        }
    }

    /// Trusts a certificate from now on. Without a name it is called what it calls itself.
    ///
    /// # Errors
    /// If it is trusted already or the name is no name.
    pub fn add_certificate(
        &self,
        caller: &Caller,
        certificate: &Certificate,
        name: &str,
        kind: CertificateKind,
    ) -> Result<Fingerprint, EngineError> {
        check_name(name)?;
        let name = if name.is_empty() { displayable(certificate.common_name()) } else { name.to_owned() };
        let fingerprint: Fingerprint = certificate.fingerprint().parse()?;
        let trusted =
            TrustedCertificate { fingerprint: fingerprint.clone(), name, certificate: certificate.to_pem(), added_at: Time::now(), kind };
        self.inner.store.write(|tx| coffer_store::certificate::insert(tx, &trusted))?;
        self.inner.trust.know(certificate, kind);
        self.events().lifecycle(None, "certificate-created", url(&fingerprint), Some(caller));
        Ok(fingerprint)
    }

    /// Trusts a newcomer that shows a token or the trust password. Who fails too often has to wait.
    ///
    /// # Errors
    /// If neither fits, it failed too often, or is trusted already.
    pub fn welcome(&self, caller: &Caller, newcomer: &Newcomer) -> Result<Fingerprint, EngineError> {
        let attempts = || self.inner.trust.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if !attempts().may_try(newcomer.address, Instant::now()) {
            return Err(EngineError::Forbidden("too many failed attempts; wait a minute".into()));
        }
        let (name, kind) = match self.redeem_token(&newcomer.password) {
            Some((name, kind)) if newcomer.name.is_empty() => (name, kind),
            Some((_, kind)) => (newcomer.name.clone(), kind),
            None if self.is_trust_password(&newcomer.password)? => (newcomer.name.clone(), newcomer.kind),
            None => {
                attempts().failed(newcomer.address, Instant::now());
                tracing::warn!(address = %newcomer.address, "an attempt to become trusted failed");
                return Err(EngineError::Forbidden("the token or password does not fit, or is used up".into()));
            }
        };
        self.add_certificate(caller, &newcomer.certificate, &name, kind)
    }

    /// Gives a certificate another name.
    ///
    /// # Errors
    /// If there is none, it changed since the client read it, or the name is no name.
    pub fn rename_certificate(
        &self,
        caller: &Caller,
        prefix: &str,
        name: &str,
        only_if: Precondition<'_, TrustedCertificate>,
    ) -> Result<(), EngineError> {
        check_name(name)?;
        let certificate = self.certificate(prefix)?;
        if only_if.is_some_and(|check| !check(&certificate)) {
            return Err(EngineError::Changed { entity: "certificate", name: prefix.to_owned() });
        }
        self.inner.store.write(|tx| coffer_store::certificate::rename(tx, &certificate.fingerprint, name))?;
        self.events().lifecycle(None, "certificate-updated", url(&certificate.fingerprint), Some(caller));
        Ok(())
    }

    /// Trusts a certificate no more, from its holder's next request on.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove_certificate(&self, caller: &Caller, prefix: &str) -> Result<(), EngineError> {
        let certificate = self.certificate(prefix)?;
        self.inner.store.write(|tx| coffer_store::certificate::delete(tx, &certificate.fingerprint))?;
        self.inner.trust.forget(certificate.fingerprint.as_str());
        self.events().lifecycle(None, "certificate-deleted", url(&certificate.fingerprint), Some(caller));
        Ok(())
    }

    fn is_trust_password(&self, password: &str) -> Result<bool, EngineError> {
        let config: Config = self.inner.store.read(coffer_store::server::get)?;
        Ok(config.get("core.trust_password").is_some_and(|hashed| verify(password, hashed)))
    }
}

fn url(fingerprint: &Fingerprint) -> String {
    format!("/1.0/certificates/{fingerprint}")
}

pub(super) fn check_name(name: &str) -> Result<(), EngineError> {
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(EngineError::Refused(format!("a certificate's name has at most {LONGEST_NAME} bytes and no control characters")));
    }
    Ok(())
}

/// What a certificate says of its holder is that holder's own word.
fn displayable(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(64).collect()
}

/// Fills with random bytes of the kernel's.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), EngineError> {
    getrandom::fill(bytes).map_err(|cause| EngineError::system("asking for random bytes", std::io::Error::other(cause)))
}
