//! Certificates that the server trusts.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::names::Fingerprint;

/// What the holder of a certificate may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateKind {
    /// Everything.
    Client,
    /// Read the metrics.
    Metrics,
}

impl CertificateKind {
    /// The API's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Metrics => "metrics",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Client, Self::Metrics].into_iter().find(|kind| kind.word() == word)
    }
}

/// The certificate of somebody who may use the server over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedCertificate {
    /// SHA-256 of its DER form.
    pub fingerprint: Fingerprint,
    /// What the administrator calls it.
    pub name: String,
    /// Its PEM form.
    pub certificate: String,
    /// When it was added.
    pub added_at: Time,
    /// What its holder may do.
    pub kind: CertificateKind,
}
