//! Certificates of those who may use a server over the network, and tokens for new ones.

use coffer_api::{Certificate, CertificatePut, CertificatesPost, Operation};
use hyper::Method;

use crate::{Answer, ApiPath, Client, ClientError, Tagged};

impl Client {
    /// Lists the trusted certificates.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn certificates(&self) -> Result<Vec<Certificate>, ClientError> {
        self.get(ApiPath::new("/1.0/certificates").query("recursion", "1")).await
    }

    /// Reads a trusted certificate by its fingerprint or the start of one.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn certificate(&self, fingerprint: &str) -> Result<Tagged<Certificate>, ClientError> {
        self.get_tagged(path(fingerprint)).await
    }

    /// Adds a certificate, or this client's own with a token or the trust password.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn add_certificate(&self, request: &CertificatesPost) -> Result<(), ClientError> {
        self.change(Method::POST, ApiPath::new("/1.0/certificates"), Some(request), "").await.map(drop)
    }

    /// Makes a token for a new client of type `client` or `metrics`: the operation that stands for it.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn create_token(&self, name: &str, kind: &str) -> Result<Operation, ClientError> {
        let request = CertificatesPost { name: name.to_owned(), kind: kind.to_owned(), token: true, ..Default::default() };
        match self.change(Method::POST, ApiPath::new("/1.0/certificates"), Some(&request), "").await? {
            Answer::Accepted(operation) => Ok(*operation),
            Answer::Done => Err(ClientError::Lacking { path: "/1.0/certificates".to_owned(), what: "an operation" }),
        }
    }

    /// Replaces a certificate's properties.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn update_certificate(&self, fingerprint: &str, put: &CertificatePut, etag: &str) -> Result<(), ClientError> {
        self.change(Method::PUT, path(fingerprint), Some(put), etag).await.map(drop)
    }

    /// Trusts a certificate no more.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn delete_certificate(&self, fingerprint: &str) -> Result<(), ClientError> {
        self.change::<()>(Method::DELETE, path(fingerprint), None, "").await.map(drop)
    }
}

fn path(fingerprint: &str) -> ApiPath {
    ApiPath::new("/1.0/certificates").segment(fingerprint)
}
