//! The listener on the network: TLS, one at a time, moved while the daemon runs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coffer_engine::{Caller, Engine};
use coffer_model::CertificateKind;
use coffer_web::{Certificate, Identity};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::extract::{Peer, Trust};
use crate::listener::{self, LAST_ANSWERS};
use crate::refusal::Refusal;
use crate::route;

/// The port where none is named.
const PORT: u16 = 8443;

/// The port of the metrics where none is named.
const METRICS_PORT: u16 = 9100;

/// Connections at a time. Those of the socket are counted apart: who comes over the network can't keep others out.
const CONNECTIONS: usize = 2048;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long accepting rests after it failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The key that says where to listen.
pub const KEY: &str = "core.https_address";

/// The key that says where to listen for who reads the metrics and nothing else.
pub const METRICS_KEY: &str = "core.metrics_address";

/// The listener on the network, if there is one.
pub struct Network {
    /// The key that says where.
    key: &'static str,
    /// The port where none is named.
    port: u16,
    /// What is served.
    router: fn(App) -> axum::Router,
    identity: Arc<Identity>,
    tls: Arc<ServerConfig>,
    /// Held while the address changes.
    pub turn: tokio::sync::Mutex<()>,
    running: Mutex<Option<Running>>,
}

struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Network {
    /// Prepares a listener that shows `identity`; it listens nowhere yet.
    ///
    /// # Errors
    /// If the identity's key does not fit its certificate.
    pub fn new(identity: Arc<Identity>) -> Result<Self, rustls::Error> {
        Self::with(KEY, PORT, route::router, identity)
    }

    /// Prepares a listener for the metrics alone.
    ///
    /// # Errors
    /// If the identity's key does not fit its certificate.
    pub fn for_metrics(identity: Arc<Identity>) -> Result<Self, rustls::Error> {
        Self::with(METRICS_KEY, METRICS_PORT, route::metrics_router, identity)
    }

    fn with(key: &'static str, port: u16, router: fn(App) -> axum::Router, identity: Arc<Identity>) -> Result<Self, rustls::Error> {
        let tls = coffer_web::tls::server_config(&identity)?;
        Ok(Self { key, port, router, identity, tls, turn: tokio::sync::Mutex::default(), running: Mutex::default() })
    }

    /// The key that says where it listens.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The server's certificate.
    pub fn certificate(&self) -> &Certificate {
        self.identity.certificate()
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|running| running.address)
    }

    /// Where clients reach it, as `host:port`.
    pub fn addresses(&self, engine: &Engine) -> Vec<String> {
        let Some(address) = self.address() else { return Vec::new() };
        if !address.ip().is_unspecified() {
            return vec![address.to_string()];
        }
        let all = engine.host_addresses().into_iter().filter(|ip| address.is_ipv6() || ip.is_ipv4());
        let all: Vec<_> = all.map(|ip| SocketAddr::new(ip, address.port()).to_string()).collect();
        if all.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()).to_string()] } else { all }
    }

    /// Listens where the text says, or nowhere if it is empty. On failure it listens where it did before.
    ///
    /// # Errors
    /// If the text is no address, or the kernel refuses to listen there.
    pub async fn listen(&self, app: &App, text: &str) -> Result<(), Refusal> {
        let wanted = if text.is_empty() { None } else { Some(parse(self.key, self.port, text)?) };
        let now = self.address();
        if wanted == now {
            return Ok(());
        }
        let Some(wanted) = wanted else {
            self.stop().await;
            return Ok(());
        };
        let mut bound = bind(wanted).await;
        if bound.is_err() && now.is_some_and(|now| now.port() == wanted.port()) {
            // Our own listener is in the way.
            self.stop().await;
            bound = bind(wanted).await;
        }
        match bound {
            Ok(socket) => {
                self.stop().await;
                self.start(app, wanted, socket);
                Ok(())
            }
            Err(error) => {
                if let Some(before) = now.filter(|_| self.address().is_none()) {
                    let socket = bind(before).await;
                    socket.map(|socket| self.start(app, before, socket)).unwrap_or_else(|error| {
                        tracing::error!(%before, "listening there again: {error}");
                    });
                }
                Err(Refusal::bad_request(format!("{}: listening on {wanted}: {error}", self.key)))
            }
        }
    }

    fn start(&self, app: &App, address: SocketAddr, socket: TcpListener) {
        let stop = watch::Sender::new(false);
        let router = (self.router)(app.clone());
        let serving = tokio::spawn(serve(socket, TlsAcceptor::from(self.tls.clone()), router, app.clone(), stop.subscribe()));
        tracing::info!(%address, "listening on the network");
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { address, stop, serving });
    }

    /// Listens no more; connections that are there go on.
    async fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.stop.send_replace(true);
            let _ = running.serving.await;
            tracing::info!(address = %running.address, "not listening on the network any more");
        }
    }
}

/// Reads an address as LXD does: a part may be missing.
fn parse(key: &str, port: u16, text: &str) -> Result<SocketAddr, Refusal> {
    let wrong = || {
        Refusal::bad_request(format!("{key}: {text:?} is no address: it must be ADDRESS[:PORT] or :PORT, with IPv6 addresses in brackets"))
    };
    let (host, named) = match text.parse::<IpAddr>() {
        Ok(_) => (text, None),
        Err(_) => match text.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    let port = named.map_or(Ok(port), str::parse).map_err(|_| wrong())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let ip = if host.is_empty() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { host.parse().map_err(|_| wrong())? };
    if port == 0 { Err(wrong()) } else { Ok(SocketAddr::new(ip, port)) }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // A host without IPv6.
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED && error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// Accepts connections until it is stopped or the daemon ends; in that case lets requests end that are being answered.
async fn serve(socket: TcpListener, acceptor: TlsAcceptor, router: axum::Router, app: App, mut stop: watch::Receiver<bool>) {
    let (slots, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    let mut phase = app.watch_phase();
    loop {
        let accepted = tokio::select! {
            accepted = async { (slots.clone().acquire_owned().await, socket.accept().await) } => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
            () = listener::ended_phase(&mut phase) => break,
        };
        match accepted {
            (slot, Ok((stream, address))) => {
                let (acceptor, router, app) = (acceptor.clone(), router.clone(), app.clone());
                connections.spawn(async move {
                    greet(stream, address, acceptor, router, app).await;
                    drop(slot);
                });
            }
            (_, Err(error)) => {
                tracing::error!("accepting a connection: {error}");
                let _ = tokio::time::timeout(AFTER_FAILURE, stop.changed()).await;
            }
        }
    }
    drop(socket);
    connections.close();
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.wait()).await;
}

async fn greet(stream: TcpStream, address: SocketAddr, acceptor: TlsAcceptor, router: axum::Router, app: App) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, "a handshake failed: {error}"),
        Err(_) => return tracing::debug!(%address, "a handshake took too long"),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = shown.and_then(|der| Certificate::from_der(der).ok()).map(Arc::new);
    let phase = app.watch_phase();
    // Whom a certificate is worth is asked at each request: it may have been added or removed since the last one.
    let peer = move || {
        let fingerprint = certificate.as_ref().map(|certificate| certificate.fingerprint().to_owned());
        let kind = fingerprint.as_ref().and_then(|fingerprint| app.engine.trusts(fingerprint));
        let username = fingerprint.unwrap_or_default();
        Peer {
            caller: Caller { username, protocol: "tls", address: address.to_string() },
            trust: match kind {
                Some(CertificateKind::Client) => Trust::Admin,
                Some(CertificateKind::Metrics) => Trust::Metrics,
                None => Trust::None,
            },
            connection: Some(crate::extract::Connection { address: address.ip(), certificate: certificate.clone() }),
        }
    };
    listener::converse(stream, peer, router, phase).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(parse(KEY, PORT, text).ok().map(|address| address.to_string()).as_deref(), expect, "{text}");
    }

    #[test]
    fn addresses() {
        check(":8443", Some("[::]:8443"));
        check("127.0.0.1", Some("127.0.0.1:8443"));
        check("127.0.0.1:9443", Some("127.0.0.1:9443"));
        check("[::]", Some("[::]:8443"));
        check("[::1]:9443", Some("[::1]:9443"));
        check("fd00::1", Some("[fd00::1]:8443"));
        for text in ["host:8443", ":", ":0", ":70000", "1.2.3", "[::1", "127.0.0.1:x"] {
            check(text, None);
        }
    }
}
