//! Handing a tree out over HTTP: files, with ranges and conditions, and nothing else.

mod answer;
mod body;
mod range;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coffer_web::tls::served_certificate;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::error::PublishError;
use crate::tree::Tree;

/// Connections that are served at once; who comes then waits.
const CONNECTIONS: usize = 256;

/// How long a client may take over the handshake, over a request's head, and over asking again.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate and its key, in PEM.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFiles<'a> {
    /// The certificate, and behind it those that vouch for it.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
}

/// A tree that is about to be served.
pub struct Serving {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    tree: Arc<Tree>,
    address: SocketAddr,
}

/// Begins to listen: over HTTPS with a certificate, in the clear without, and then on loopback addresses only.
///
/// # Errors
/// [`PublishError::InTheClear`], [`PublishError::Listen`], [`PublishError::Certificate`].
pub async fn serve(tree: Tree, address: SocketAddr, files: Option<CertificateFiles<'_>>) -> Result<Serving, PublishError> {
    if files.is_none() && !address.ip().is_loopback() {
        return Err(PublishError::InTheClear { address });
    }
    let tls = files.map(|files| served_certificate(files.certificate, files.key)).transpose()?.map(TlsAcceptor::from);
    let failed = |cause| PublishError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Serving { listener, tls, tree: Arc::new(tree), address })
}

impl Serving {
    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// [`PublishError::Listen`] if nobody can be let in any more.
    pub async fn run(self) -> Result<(), PublishError> {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let place = places.clone().acquire_owned().await.expect("this semaphore is never closed");
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                // The client went away again.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => continue,
                Err(cause) => return Err(PublishError::Listen { address: self.address, cause }),
            };
            let (tree, tls) = (self.tree.clone(), self.tls.clone());
            tokio::spawn(async move {
                match tls {
                    Some(tls) => {
                        if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
                            converse(stream, tree).await;
                        }
                    }
                    None => converse(stream, tree).await,
                }
                drop(place);
            });
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, tree: Arc<Tree>) {
    let service = service_fn(move |request| {
        let tree = tree.clone();
        async move { Ok::<_, Infallible>(answer::answer(&tree, &request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(32 << 10);
    // A client that breaks off is its own business.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
