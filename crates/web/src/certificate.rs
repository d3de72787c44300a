//! Certificates: what they say, and their fingerprints.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The longest certificate that is read.
const LIMIT: usize = 64 << 10;

/// A certificate that could be read. It vouches for nobody by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    fingerprint: String,
    common_name: String,
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

/// Why a text is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is neither PEM nor base64 of DER.
    #[error("the certificate is neither PEM nor base64")]
    Encoding,
    /// What is encoded is no certificate.
    #[error("the certificate can't be read")]
    Form,
    /// It is too long.
    #[error("the certificate is longer than any")]
    Long,
}

impl Certificate {
    /// Reads a certificate's DER form.
    ///
    /// # Errors
    /// [`CertificateError::Form`] or [`CertificateError::Long`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > LIMIT {
            return Err(CertificateError::Long);
        }
        let (rest, read) = X509Certificate::from_der(der).map_err(|_| CertificateError::Form)?;
        if !rest.is_empty() {
            return Err(CertificateError::Form);
        }
        let common_name = read.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned();
        let alternatives = read.subject_alternative_name().ok().flatten();
        let names = alternatives.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        Ok(Self {
            fingerprint: hex(&Sha256::digest(der)),
            common_name,
            names: names.collect(),
            not_before: read.validity().not_before.timestamp(),
            not_after: read.validity().not_after.timestamp(),
            der: CertificateDer::from(der.to_vec()),
        })
    }

    /// Reads a certificate as clients send it: PEM, or its DER form in base64 without armour.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn from_text(text: &str) -> Result<Self, CertificateError> {
        if text.len() > 2 * LIMIT {
            return Err(CertificateError::Long);
        }
        if text.contains("-----BEGIN") {
            let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| CertificateError::Encoding)?;
            return Self::from_der(&der);
        }
        let packed: String = text.split_ascii_whitespace().collect();
        Self::from_der(&STANDARD.decode(packed).map_err(|_| CertificateError::Encoding)?)
    }

    /// SHA-256 of the DER form, lower-case hexadecimal: what a certificate is known by.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The subject's common name; empty if it has none.
    #[must_use]
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The DNS names it is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When it begins to be valid, in seconds since 1970.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// When it ends to be valid, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Says whether a moment lies within its validity.
    #[must_use]
    pub fn is_valid_at(&self, seconds: i64) -> bool {
        (self.not_before..=self.not_after).contains(&seconds)
    }

    /// Its DER form.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Its PEM form, with a line end at its end.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Its DER form in base64, as one line: how it travels in a request.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.der)
    }
}

/// Armours bytes. Source: RFC 7468.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut armoured = format!("-----BEGIN {label}-----\n");
    for start in (0..text.len()).step_by(64) {
        armoured.push_str(&text[start..text.len().min(start + 64)]);
        armoured.push('\n');
    }
    let _ = writeln!(armoured, "-----END {label}-----");
    armoured
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, Role};

    #[test]
    fn every_form_is_read_back() {
        let identity = Identity::generate(Role::Server, "root@host", &["host".into(), "127.0.0.1".into()]).unwrap();
        let certificate = identity.certificate();
        assert_eq!(Certificate::from_text(&certificate.to_pem()).as_ref(), Ok(certificate));
        assert_eq!(Certificate::from_text(&certificate.to_base64()).as_ref(), Ok(certificate));
        assert_eq!((certificate.common_name(), certificate.names()), ("root@host", &["host".to_owned()][..]));
        assert_eq!(certificate.fingerprint().len(), 64);
        let day = 24 * 3600;
        assert!(certificate.is_valid_at(certificate.not_before()) && !certificate.is_valid_at(certificate.not_after() + day));
        assert!(certificate.not_after() - certificate.not_before() > 3600 * day);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "AAAA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Certificate::from_text(text), Err(CertificateError::Form), "{text}");
        }
        assert_eq!(Certificate::from_text("no base64!"), Err(CertificateError::Encoding));
        assert_eq!(Certificate::from_text(&"A".repeat(1 << 20)), Err(CertificateError::Long));
        let mut der = Identity::generate(Role::Client, "me", &[]).unwrap().certificate().der().to_vec();
        der.push(0);
        assert_eq!(Certificate::from_der(&der), Err(CertificateError::Form));
    }
}
