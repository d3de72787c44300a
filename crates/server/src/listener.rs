//! The unix socket: who may connect is up to its permissions, who did is told by the kernel.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use coffer_engine::Caller;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::app::Phase;
use crate::extract::{Peer, Trust};
use crate::identity;
use crate::refusal::Refusal;
use crate::unread;

/// The socket's name in the state directory.
const NAME: &str = "unix.socket";

/// Connections at a time; websockets are not counted. Who comes then waits.
const CONNECTIONS: usize = 4096;

/// How long a client may take to send a request's head, and how long a connection may be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// The longest head of a request.
const HEAD_LIMIT: usize = 64 << 10;

/// How long accepting rests after it failed, unless a connection ends before.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long requests that are being answered may take when the daemon ends.
pub const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something that is no socket has its name.
    #[error("{path} is not a socket: remove it", path = .0.display())]
    NoSocket(PathBuf),
    /// No such group.
    #[error("there is no group {0:?} to give the socket to")]
    NoGroup(String),
    /// The kernel refused.
    #[error("listening on {path}", path = path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
}

/// The socket. Its name goes when this is dropped.
pub struct Listener {
    path: PathBuf,
    socket: UnixListener,
    group: Option<u32>,
}

impl Listener {
    /// Makes the socket: for root and, if there is one, `group`. A name that a dead daemon left is taken over; the state
    /// directory's lock says that it is dead.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind(directory: &Path, group: Option<&str>) -> Result<Self, ListenError> {
        let path = directory.join(NAME);
        let group = group.map(|name| identity::group_id(name).ok_or_else(|| ListenError::NoGroup(name.to_owned()))).transpose()?;
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => return Err(ListenError::NoSocket(path)),
            Ok(_) => fs::remove_file(&path).map_err(|cause| ListenError::Listen { path: path.clone(), cause })?,
            Err(_) => {}
        }
        let socket = make(&path, group).map_err(|cause| ListenError::Listen { path: path.clone(), cause })?;
        Ok(Self { path, socket, group })
    }

    /// Accepts connections until the daemon ends; then lets the requests that are being answered end.
    pub async fn serve(self, router: Router, phase: watch::Receiver<Phase>) {
        let (slots, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
        let (mut ending, ended) = (phase.clone(), Arc::new(Notify::new()));
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                () = ended_phase(&mut ending) => break,
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = ended_phase(&mut ending) => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (router, phase, group, ended) = (router.clone(), phase.clone(), self.group, ended.clone());
                    connections.spawn(async move {
                        match peer(&stream, group) {
                            Ok(peer) => converse(stream, move || peer.clone(), router, phase).await,
                            Err(error) => tracing::warn!("who connected cannot be told: {error}"),
                        }
                        drop(slot);
                        ended.notify_one();
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: somebody else has to end first.
                    tracing::error!("accepting a connection: {error}");
                    let _ = tokio::time::timeout(AFTER_FAILURE, ended.notified()).await;
                }
            }
        }
        drop(self);
        connections.close();
        let _ = tokio::time::timeout(LAST_ANSWERS, connections.wait()).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("removing {}: {error}", self.path.display());
        }
    }
}

fn make(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    // Before these lines end, the mask lets only root in: connecting takes the right to write.
    let socket = UnixListener::bind(path)?;
    std::os::unix::fs::chown(path, None, group.or(Some(0)))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(socket)
}

/// Who is at the other end. The socket's permissions say the same; but others can widen them by mistake.
fn peer(stream: &UnixStream, group: Option<u32>) -> io::Result<Peer> {
    let peer = coffer_sys::socket::peer(stream.as_fd())?;
    let own = rustix::process::geteuid().as_raw();
    let member = match group {
        Some(group) => peer.gid == group || coffer_sys::socket::peer_groups(stream.as_fd())?.contains(&group),
        None => false,
    };
    let trust = if peer.uid == 0 || peer.uid == own || member { Trust::Admin } else { Trust::None };
    Ok(Peer { caller: Caller { username: identity::user_name(peer.uid), protocol: "unix", address: "@".into() }, trust, connection: None })
}

/// Answers a connection's requests, one after another; `peer` says for each who sent it.
pub async fn converse<S, P>(stream: S, peer: P, router: Router, mut phase: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    P: Fn() -> Peer,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer());
        let router = router.clone();
        let answer = AssertUnwindSafe(async move { unread::answer(&router, request).await }).catch_unwind();
        async move { Ok::<Response, Infallible>(answer.await.unwrap_or_else(|_| panicked())) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ended_phase(&mut phase) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Waits until the daemon ends.
pub async fn ended_phase(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Ending).await;
}

fn panicked() -> Response {
    Refusal::internal("the server made a mistake: this is a bug, please report it with the daemon's log").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn ask(path: &Path, request: &str) -> String {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn peers_are_known_and_panics_answered() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path(), None).unwrap();
        let path = dir.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let who = async |axum::Extension(peer): axum::Extension<Peer>| peer.caller.username;
        let router = Router::new()
            .route("/who", axum::routing::get(who))
            .route("/panic", axum::routing::get(async || -> String { panic!("on purpose") }));
        let phase = watch::Sender::new(Phase::Serving);
        let serving = tokio::spawn(listener.serve(router, phase.subscribe()));
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n");
        let answer = ask(&path, &request("/who")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nroot"), "{answer}");
        let answer = ask(&path, &request("/panic")).await;
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("\"type\":\"error\""), "{answer}");
        phase.send_replace(Phase::Ending);
        serving.await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_and_comes_late_ends_no_connection() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path(), None).unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "answer"));
        let phase = watch::Sender::new(Phase::Serving);
        let serving = tokio::spawn(listener.serve(router, phase.subscribe()));
        let mut stream = UnixStream::connect(dir.path().join(NAME)).await.unwrap();
        for last in [false, true] {
            let close = if last { "Connection: close\r\n" } else { "" };
            let head = format!("GET / HTTP/1.1\r\nHost: lxd\r\n{close}Content-Length: 4\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            // The server has the time to answer the head alone, if it would.
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            stream.write_all(b"null").await.unwrap();
        }
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
        phase.send_replace(Phase::Ending);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn who_sends_much_that_is_refused_unread_hears_why() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path(), None).unwrap();
        let router = Router::new().route("/", axum::routing::post(async || (axum::http::StatusCode::FORBIDDEN, "because")));
        let phase = watch::Sender::new(Phase::Serving);
        let serving = tokio::spawn(listener.serve(router, phase.subscribe()));
        let mut stream = UnixStream::connect(dir.path().join(NAME)).await.unwrap();
        let body = vec![7; 8 << 20];
        let head = format!("POST / HTTP/1.1\r\nHost: lxd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("because"), "{answer}");
        phase.send_replace(Phase::Ending);
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn the_name_of_a_dead_socket_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(NAME)).unwrap());
        Listener::bind(dir.path(), None).unwrap();
        fs::write(dir.path().join(NAME), "").unwrap();
        assert!(matches!(Listener::bind(dir.path(), None), Err(ListenError::NoSocket(_))));
        assert!(matches!(Listener::bind(dir.path(), Some("no such group")), Err(ListenError::NoGroup(_))));
    }
}
