//! Certificates that the server trusts.

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::names::Fingerprint;

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
}
