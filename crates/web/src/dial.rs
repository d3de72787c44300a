//! Connecting: name, proxy, TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::Certificate;
use crate::identity::Identity;
use crate::proxy::Proxies;
use crate::tls::{ClientConfigError, Verifier, client_config};
use crate::url::{Scheme, Url};

/// How long connecting, with proxy and TLS, may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest answer of a proxy to the wish to be connected.
const PROXY_ANSWER: usize = 8 << 10;

/// Whom a client believes to be the server.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Whom this host's certificate authorities vouch for, by name.
    Authorities,
    /// Who has this very certificate.
    Pinned(Certificate),
    /// Anybody: for a first meeting, in which nothing secret is said.
    Anyone,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers there.
    #[error("connecting to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the kernel or the resolver said.
        #[source]
        cause: io::Error,
    },
    /// It takes too long.
    #[error("{host} did not answer within {} seconds", PATIENCE.as_secs())]
    Slow {
        /// Host and port.
        host: String,
    },
    /// The proxy refuses.
    #[error("the proxy {proxy} does not connect to {host}: {answer}")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// Host and port.
        host: String,
        /// The first line of its answer.
        answer: String,
    },
    /// The server could not prove who it is, or speaks no TLS.
    #[error("the server {host} can't be trusted")]
    Handshake {
        /// Host and port.
        host: String,
        /// What is wrong.
        #[source]
        cause: io::Error,
    },
    /// The server has another certificate than the one that is known.
    #[error(
        "the server {host} has another certificate than the one it was added with: if it was made anew, remove the remote and add it again"
    )]
    OtherCertificate {
        /// Host and port.
        host: String,
    },
    /// The host cannot stand in a certificate.
    #[error("{0:?} is no name that a server can prove to have")]
    Name(String),
    /// TLS itself is not set up.
    #[error(transparent)]
    Tls(#[from] ClientConfigError),
}

/// Connects to servers in one way.
#[derive(Clone)]
pub struct Dialer {
    tls: Arc<ClientConfig>,
    proxies: Proxies,
}

impl Dialer {
    /// Makes one that believes `trust` and shows `identity` to servers that ask.
    ///
    /// # Errors
    /// If this host has no authorities to ask, or the identity's key does not fit.
    pub fn new(trust: &Trust, identity: Option<&Identity>, proxies: Proxies) -> Result<Self, ClientConfigError> {
        let verifier = match trust {
            Trust::Authorities => Verifier::Authorities,
            Trust::Pinned(certificate) => Verifier::Pinned(certificate.clone()),
            Trust::Anyone => Verifier::Anyone,
        };
        Ok(Self { tls: client_config(&verifier, identity)?, proxies })
    }

    /// Makes one for servers that speak in the clear only; one over TLS is refused.
    ///
    /// # Errors
    /// If TLS cannot be set up at all.
    pub fn clear(proxies: Proxies) -> Result<Self, ClientConfigError> {
        // A certificate that nobody has: no server can prove to be it.
        let nobody = Identity::generate(crate::identity::Role::Server, "nobody", &[]).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        Self::new(&Trust::Pinned(nobody.certificate().clone()), None, proxies)
    }

    /// The proxy that a request in the clear is to be sent to in full, where there is one.
    pub(crate) fn forward_proxy(&self, url: &Url) -> Option<&Url> {
        self.proxies.for_url(url).filter(|_| url.scheme() == Scheme::Http)
    }

    /// Connects.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self, url: &Url) -> Result<Stream, DialError> {
        let connecting = tokio::time::timeout(PATIENCE, self.connect(url));
        connecting.await.unwrap_or_else(|_| Err(DialError::Slow { host: place(url) }))
    }

    async fn connect(&self, url: &Url) -> Result<Stream, DialError> {
        let proxy = self.proxies.for_url(url);
        let stream = open(proxy.unwrap_or(url)).await?;
        match (url.scheme(), proxy) {
            (Scheme::Http, _) => Ok(Stream::Plain(stream)),
            (Scheme::Https, None) => self.secure(url, stream).await,
            (Scheme::Https, Some(proxy)) => self.secure(url, ask_proxy(proxy, url, stream).await?).await,
        }
    }

    async fn secure(&self, url: &Url, stream: TcpStream) -> Result<Stream, DialError> {
        let name = ServerName::try_from(url.host().to_owned()).map_err(|_| DialError::Name(url.host().to_owned()))?;
        let secured = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        secured.map(|stream| Stream::Tls(Box::new(stream))).map_err(|cause| {
            let other = cause.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).is_some_and(|error| {
                matches!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
            });
            if other { DialError::OtherCertificate { host: place(url) } } else { DialError::Handshake { host: place(url), cause } }
        })
    }
}

fn place(url: &Url) -> String {
    format!("{}:{}", url.host(), url.port())
}

async fn open(url: &Url) -> Result<TcpStream, DialError> {
    let failed = |cause| DialError::Connect { host: place(url), cause };
    let stream = TcpStream::connect((url.host(), url.port())).await.map_err(failed)?;
    // Requests are small and wait for their answer.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Asks a proxy to be connected further. Source: RFC 9110, section 9.3.6.
async fn ask_proxy(proxy: &Url, url: &Url, mut stream: TcpStream) -> Result<TcpStream, DialError> {
    let failed = |cause| DialError::Connect { host: place(proxy), cause };
    let host = if url.host().contains(':') { format!("[{}]:{}", url.host(), url.port()) } else { place(url) };
    let request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    // One byte at a time: what comes after the head is the server's.
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < PROXY_ANSWER {
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let line: String = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    match line.split(' ').nth(1) {
        Some("200") => Ok(stream),
        _ => Err(DialError::Proxy { proxy: place(proxy), host, answer: line }),
    }
}

/// A connection.
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The certificate that the server showed.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<Certificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Certificate::from_der(stream.get_ref().1.peer_certificates()?.first()?).ok(),
        }
    }

    /// This end's address.
    #[must_use]
    pub fn local_address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.local_addr().ok(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
