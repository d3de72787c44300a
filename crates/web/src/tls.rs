//! TLS settings: which peers are let in, and what is asked of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::certificate::Certificate;
use crate::identity::Identity;

/// Where distributions keep the authorities they trust.
const BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The variable that names other authorities, as in other TLS programs.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";

/// Why there are no authorities to ask.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// No file with authorities is there.
    #[error("this host has no list of certificate authorities: install ca-certificates, or name one with SSL_CERT_FILE")]
    Missing,
    /// The file can't be used.
    #[error("{} holds no certificate authority that can be used", .0.display())]
    Unusable(PathBuf),
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// What a listener needs: TLS 1.3, HTTP/1.1, and a client certificate if the client has one. Any is let in, for who it
/// belongs to is decided for each request; that the client holds its key is proved in the handshake.
///
/// # Errors
/// If the key does not fit the certificate.
pub fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let chain = vec![identity.certificate().der().clone()];
    let mut config = builder.with_client_cert_verifier(Arc::new(AnyClient)).with_single_cert(chain, identity.key())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why a certificate can't be shown to clients.
#[derive(Debug, thiserror::Error)]
pub enum ServedCertificateError {
    /// One of its files can't be read.
    #[error("reading {} as PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// The key is not the certificate's, or of a kind that is not known.
    #[error("the certificate {} can't be used with the key {}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        #[source]
        cause: Error,
    },
}

/// What a server of files needs: a certificate with those that vouch for it, and its key, from files; clients stay unnamed.
///
/// # Errors
/// See [`ServedCertificateError`].
pub fn served_certificate(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ServedCertificateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| ServedCertificateError::File { path, cause }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).map_err(failed(certificate))?.collect();
    let chain = chain.map_err(failed(certificate))?;
    if chain.is_empty() {
        return Err(ServedCertificateError::Empty(certificate.to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let unusable = |cause| ServedCertificateError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), cause };
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(unusable)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, secret).map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whom a client believes.
#[derive(Debug, Clone)]
pub(crate) enum Verifier {
    Authorities,
    Pinned(Certificate),
    Anyone,
}

/// What a client needs. An identity is shown to servers that ask for one.
pub(crate) fn client_config(verifier: &Verifier, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, ClientConfigError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.dangerous();
    let verifier: Arc<dyn ServerCertVerifier> = match verifier {
        Verifier::Authorities => {
            WebPkiServerVerifier::builder_with_provider(authorities()?, provider()).build().map_err(|_| AuthoritiesError::Missing)?
        }
        Verifier::Pinned(certificate) => Arc::new(OneServer(Some(certificate.der().clone()))),
        Verifier::Anyone => Arc::new(OneServer(None)),
    };
    let builder = builder.with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(vec![identity.certificate().der().clone()], identity.key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why a client cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    /// Nobody can vouch for servers.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The settings contradict each other.
    #[error("setting up TLS")]
    Tls(#[from] Error),
}

fn authorities() -> Result<Arc<RootCertStore>, AuthoritiesError> {
    let named = std::env::var_os(BUNDLE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let file = named.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file()));
    read_authorities(&file.ok_or(AuthoritiesError::Missing)?)
}

fn read_authorities(file: &Path) -> Result<Arc<RootCertStore>, AuthoritiesError> {
    let unusable = || AuthoritiesError::Unusable(file.to_owned());
    let bytes = std::fs::read(file).map_err(|_| unusable())?;
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok));
    if usable == 0 { Err(unusable()) } else { Ok(Arc::new(store)) }
}

fn schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}

/// Lets every client in that proves it holds its certificate's key.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(&self, end: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<ClientCertVerified, Error> {
        match Certificate::from_der(end) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// Believes one certificate and no authority; or, to learn which one it is, any.
#[derive(Debug)]
struct OneServer(Option<CertificateDer<'static>>);

impl ServerCertVerifier for OneServer {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.0 {
            Some(pinned) if pinned != end => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
