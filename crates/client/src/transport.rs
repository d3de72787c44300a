//! HTTP/1.1 over the server's socket, one connection kept for the next request.

use std::io;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::upload::RequestBody;
use crate::{ClientError, Endpoint};

type Sender = SendRequest<RequestBody>;

/// Bytes that are carried at once between TLS and a plain socket.
const CARRIED: usize = 64 << 10;

/// The connection to one server.
pub(crate) struct Transport {
    endpoint: Endpoint,
    idle: Mutex<Option<Sender>>,
    trace: OnceLock<Trace>,
}

/// Hears of every request: method, path, HTTP status of the answer.
pub type Trace = Box<dyn Fn(&str, &str, u16) + Send + Sync>;

impl Transport {
    pub(crate) fn new(endpoint: Endpoint) -> Transport {
        Transport { endpoint, idle: Mutex::new(None), trace: OnceLock::new() }
    }

    pub(crate) fn set_trace(&self, trace: Trace) {
        // The first listener stays.
        let _ = self.trace.set(trace);
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request and returns the answer's head, its body still to be read.
    pub(crate) async fn send(&self, request: Request<RequestBody>) -> Result<Download, ClientError> {
        let Some(trace) = self.trace.get() else { return self.exchange(request).await };
        let method = request.method().clone();
        let answer = self.exchange(request).await?;
        trace(method.as_str(), &answer.path, answer.status().as_u16());
        Ok(answer)
    }

    async fn exchange(&self, request: Request<RequestBody>) -> Result<Download, ClientError> {
        let path = request.uri().to_string();
        let request = match self.try_idle(request).await {
            Ok(answered) => return Ok(Download { path, response: answered }),
            Err(Unanswered::Unsent(request)) => *request,
            Err(Unanswered::Lost(cause)) => return Err(ClientError::Exchanging { path, cause }),
        };
        let mut sender = self.connect().await?;
        let response = sender.send_request(request).await.map_err(|cause| ClientError::Exchanging { path: path.clone(), cause })?;
        self.keep(sender);
        Ok(Download { path, response })
    }

    /// Sends on the kept connection; hands the request back if there is none, or if the server has closed it and the
    /// request can be sent once more without doing something twice.
    async fn try_idle(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Unanswered> {
        let kept = self.idle.lock().ok().and_then(|mut idle| idle.take());
        let Some(mut sender) = kept.filter(|sender| sender.is_ready()) else { return Err(Unanswered::Unsent(Box::new(request))) };
        let spare = repeatable(&request);
        match sender.try_send_request(request).await {
            Ok(response) => {
                self.keep(sender);
                Ok(response)
            }
            Err(mut error) => match error.take_message().or(spare) {
                Some(request) => Err(Unanswered::Unsent(Box::new(request))),
                None => Err(Unanswered::Lost(error.into_error())),
            },
        }
    }

    fn keep(&self, sender: Sender) {
        if let Ok(mut idle) = self.idle.lock() {
            *idle = Some(sender);
        }
    }

    async fn connect(&self) -> Result<Sender, ClientError> {
        match &self.endpoint {
            Endpoint::Unix(socket) => shake_hands(dial(socket).await?, &socket.display().to_string()).await,
            Endpoint::Https(server) => shake_hands(server.dial().await?, &server.url().to_string()).await,
        }
    }
}

async fn shake_hands<S>(stream: S, path: &str) -> Result<Sender, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |cause| ClientError::Exchanging { path: path.to_owned(), cause };
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // The task ends with the connection; its error also reaches whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}

/// A request that got no answer on the kept connection.
enum Unanswered {
    /// It may be sent once more.
    Unsent(Box<Request<RequestBody>>),
    /// Nobody knows whether it was acted upon.
    Lost(hyper::Error),
}

/// A copy of a request that only reads.
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if request.method() != hyper::Method::GET {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Connects to a unix socket.
pub(crate) async fn dial(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket).await.map_err(|cause| ClientError::Connecting { socket: socket.to_owned(), cause })
}

/// Connects to a server so that the connection can be used like its unix socket, by blocking calls too. One over TLS gets a
/// thread that carries its bytes: its records and a plain descriptor are two things.
pub(crate) async fn dial_plain(endpoint: &Endpoint) -> Result<UnixStream, ClientError> {
    let server = match endpoint {
        Endpoint::Unix(socket) => return dial(socket).await,
        Endpoint::Https(server) => server.clone(),
    };
    let failed = |cause| ClientError::Websocket { cause };
    let (near, far) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    far.set_nonblocking(true).and_then(|()| near.set_nonblocking(true)).map_err(failed)?;
    let (connected, waiting) = tokio::sync::oneshot::channel::<Result<(), ClientError>>();
    std::thread::Builder::new()
        .name("tls".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
            let carry = async {
                let mut stream = match server.dial().await {
                    Ok(stream) => stream,
                    Err(error) => return drop(connected.send(Err(error.into()))),
                };
                let Ok(mut far) = UnixStream::from_std(far) else { return };
                if connected.send(Ok(())).is_ok() {
                    // Either end may go without a word; the other hears of it by its own end.
                    let _ = tokio::io::copy_bidirectional_with_sizes(&mut far, &mut stream, CARRIED, CARRIED).await;
                }
            };
            if let Ok(runtime) = runtime {
                runtime.block_on(carry);
            }
        })
        .map_err(failed)?;
    waiting.await.map_err(|_| failed(io::ErrorKind::ConnectionAborted.into()))??;
    UnixStream::from_std(near).map_err(failed)
}

/// An answer whose body is still to be read.
pub struct Download {
    path: String,
    response: Response<Incoming>,
}

impl Download {
    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns a header as text; empty if it is missing or no text.
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the length the server announced.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length").parse().ok()
    }

    /// Returns the next piece of the body, `None` at its end.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.response.body_mut().frame().await {
            let frame = frame.map_err(|cause| ClientError::Exchanging { path: self.path.clone(), cause })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn bytes(mut self) -> Result<Vec<u8>, ClientError> {
        let mut all = Vec::with_capacity(self.length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0).min(64 << 20));
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}
