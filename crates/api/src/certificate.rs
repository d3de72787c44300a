//! Certificates of trusted clients and servers.

use crate::Timestamp;

wire! {
    /// A certificate this server trusts.
    pub struct Certificate {
        /// Name.
        pub name: String,
        /// `client`, `server` or `metrics`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Whether only the listed projects may be reached.
        pub restricted: bool,
        /// Projects that may be reached.
        pub projects: Vec<String>,
        /// The certificate, PEM.
        pub certificate: String,
        /// SHA-256 of the certificate's DER form, lower-case hex.
        pub fingerprint: String,
    }

    /// `PUT` (and, field by field, `PATCH`) `/1.0/certificates/{fingerprint}`.
    pub struct CertificatePut {
        /// Name.
        pub name: String,
        /// `client`, `server` or `metrics`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Whether only the listed projects may be reached.
        pub restricted: bool,
        /// Projects that may be reached.
        pub projects: Vec<String>,
        /// The certificate, PEM.
        pub certificate: String,
    }

    /// `POST /1.0/certificates`.
    pub struct CertificatesPost {
        /// Name.
        pub name: String,
        /// `client`, `server` or `metrics`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Whether only the listed projects may be reached.
        pub restricted: bool,
        /// Projects that may be reached.
        pub projects: Vec<String>,
        /// The certificate, base64 of DER; empty takes the connection's own.
        pub certificate: String,
        /// Trust password or token.
        pub password: String,
        /// Token, as newer clients name it.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub trust_token: String,
        /// Whether a token is wanted instead of an entry.
        pub token: bool,
    }

    /// What a token for a new client says.
    pub struct CertificateAddToken {
        /// Name of the client.
        pub client_name: String,
        /// Fingerprint of the server's certificate.
        pub fingerprint: String,
        /// `host:port` of the server.
        pub addresses: Vec<String>,
        /// The secret.
        pub secret: String,
        /// When it becomes void.
        pub expires_at: Timestamp,
    }
}
