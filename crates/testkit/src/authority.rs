//! A certificate authority for tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// A certificate authority that programs believe whose `SSL_CERT_FILE` is its file.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    /// Makes one; its certificate is written into a directory.
    ///
    /// # Panics
    /// It can't be made or written.
    #[must_use]
    #[track_caller]
    pub fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(rcgen::DnType::CommonName, "Coffer test authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let file = directory.join("authority.pem");
        std::fs::write(&file, issuer.pem()).expect("the authority's certificate");
        Self { issuer, file }
    }

    /// The file with its certificate.
    #[must_use]
    pub fn file(&self) -> String {
        self.file.display().to_string()
    }

    /// Writes a certificate for a server that is called so, and its key, beside the authority's; returns their files.
    ///
    /// # Panics
    /// They can't be made or written.
    #[must_use]
    #[track_caller]
    pub fn files(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let (certificate_file, key_file) =
            (self.file.with_file_name(format!("{name}.pem")), self.file.with_file_name(format!("{name}.key")));
        std::fs::write(&certificate_file, certificate.pem()).expect("the server's certificate");
        std::fs::write(&key_file, key.serialize_pem()).expect("the server's key");
        (certificate_file.display().to_string(), key_file.display().to_string())
    }

    /// What a server needs that is called so.
    ///
    /// # Panics
    /// The certificate can't be made.
    #[must_use]
    #[track_caller]
    pub fn server_config(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a valid name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let chain = vec![certificate.der().clone()];
        let config = builder.with_no_client_auth().with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into());
        Arc::new(config.expect("a key that fits"))
    }
}
