//! Fetching what servers hand out: redirects, ranges, conditions, limits of size and of silence.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::body::{Body, Part};
use crate::dial::{DialError, Dialer};
use crate::url::{Scheme, Url, UrlError};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// How long a server may be silent, unless [`Fetcher::with_silence`] says otherwise.
const SILENCE: Duration = Duration::from_secs(30);

/// Connections that are kept for later requests.
const KEPT: usize = 8;

/// The largest head of an answer.
const HEAD_LIMIT: usize = 64 << 10;

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke.
    #[error("{url}: the connection broke")]
    Broken {
        /// What was asked for.
        url: String,
        /// What broke.
        #[source]
        cause: hyper::Error,
    },
    /// The server says nothing.
    #[error("{url}: the server said nothing for {} seconds", silence.as_secs_f64())]
    Silent {
        /// What was asked for.
        url: String,
        /// How long it may be silent.
        silence: Duration,
    },
    /// The answer ended before all was there.
    #[error("{url}: the server's answer ended early, at byte {got}")]
    Short {
        /// What was asked for.
        url: String,
        /// The bytes that are there.
        got: u64,
    },
    /// The server refuses.
    #[error("{url}: the server answered {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The answer is larger than it may be.
    #[error("{url} is larger than the {limit} bytes that are read of it")]
    Large {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// The server sends around in circles, or somewhere it must not.
    #[error("{url}: the server sends elsewhere too often, or to {to:?}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where it leads.
        to: String,
    },
    /// The request cannot be written.
    #[error("{url}: the request can't be written as HTTP")]
    Request {
        /// What was asked for.
        url: String,
        /// What is wrong.
        #[source]
        cause: hyper::http::Error,
    },
    /// An address that is none.
    #[error(transparent)]
    Url(#[from] UrlError),
}

type Sender = SendRequest<Body>;

/// Fetches from servers, several things at once too; keeps connections whose answers are over for the next requests.
pub struct Fetcher {
    dialer: Dialer,
    agent: String,
    silence: Duration,
    idle: Arc<Idle>,
}

/// Connections on which nothing is under way, by the origin that they lead to.
#[derive(Default)]
struct Idle(Mutex<Vec<(String, Sender)>>);

/// An answer whose body is still to be read.
pub struct Reply {
    url: Url,
    response: Response<Incoming>,
    silence: Duration,
    connection: Option<Connection>,
}

/// A connection whose answer is still to be read, and where it goes then.
struct Connection {
    origin: String,
    sender: Sender,
    idle: Arc<Idle>,
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, Sender)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection to an origin that was used last.
    fn take(&self, origin: &str) -> Option<Sender> {
        let mut kept = self.lock();
        kept.retain(|(_, sender)| !sender.is_closed());
        let at = kept.iter().rposition(|(of, _)| of == origin)?;
        Some(kept.remove(at).1)
    }

    fn put(&self, origin: String, sender: Sender) {
        let mut kept = self.lock();
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((origin, sender));
    }
}

impl Fetcher {
    /// Makes one that names itself `agent`.
    #[must_use]
    pub fn new(dialer: Dialer, agent: &str) -> Self {
        Self { dialer, agent: agent.to_owned(), silence: SILENCE, idle: Arc::default() }
    }

    /// Lets servers be silent for so long.
    #[must_use]
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    fn silent(&self, url: &Url) -> FetchError {
        FetchError::Silent { url: url.to_string(), silence: self.silence }
    }

    /// Fetches; follows redirects, but none from HTTPS to HTTP. Any status that is no redirect is an answer.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Reply, FetchError> {
        self.follow(&Method::GET, url, headers).await
    }

    /// Asks for the headers alone, else like [`Fetcher::get`].
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn head(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Reply, FetchError> {
        self.follow(&Method::HEAD, url, headers).await
    }

    async fn follow(&self, method: &Method, url: &Url, headers: &[(&str, &str)]) -> Result<Reply, FetchError> {
        let mut here = url.clone();
        for _ in 0..=REDIRECTS {
            let reply = self.send(method.clone(), &here, headers, Bytes::new()).await?;
            let status = reply.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(reply);
            }
            let to = reply.header(LOCATION.as_str()).to_owned();
            let wrong = || FetchError::Redirect { url: url.to_string(), to: to.clone() };
            let next = here.redirected(&to).map_err(|_| wrong())?;
            if here.scheme() == Scheme::Https && next.scheme() == Scheme::Http {
                return Err(wrong());
            }
            here = next;
        }
        Err(FetchError::Redirect { url: url.to_string(), to: here.to_string() })
    }

    /// Sends one request with a body from memory; redirects are answers.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn send(&self, method: Method, url: &Url, headers: &[(&str, &str)], body: Bytes) -> Result<Reply, FetchError> {
        let exchange = async {
            let origin = format!("{}://{}", url.scheme().as_str(), url.authority());
            if let Some(mut sender) = self.idle.take(&origin)
                && sender.ready().await.is_ok()
            {
                // A server may close a kept connection at any time: what only reads is then asked again.
                match sender.send_request(self.request(&method, url, headers, Body::Whole(body.clone()))?).await {
                    Ok(response) => return Ok((origin, sender, response)),
                    Err(cause) if !matches!(method, Method::GET | Method::HEAD) => {
                        return Err(FetchError::Broken { url: url.to_string(), cause });
                    }
                    Err(_) => {}
                }
            }
            let mut sender = self.connect(url).await?;
            let response = sender.send_request(self.request(&method, url, headers, Body::Whole(body))?).await;
            Ok((origin, sender, response.map_err(|cause| FetchError::Broken { url: url.to_string(), cause })?))
        };
        let answered = tokio::time::timeout(self.silence, exchange).await;
        let (origin, sender, response) = answered.unwrap_or_else(|_| Err(self.silent(url)))?;
        Ok(self.reply(url, origin, sender, response))
    }

    /// Posts a body that is read while it is sent, over a connection of its own; `sent` hears how many bytes of it are on their
    /// way. However long that takes, the server may be silent no longer than always once it has all.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        parts: Vec<Part>,
        mut sent: impl FnMut(u64) + Send + 'static,
    ) -> Result<Reply, FetchError> {
        let silent = || self.silent(url);
        let mut sender = tokio::time::timeout(self.silence, self.connect(url)).await.map_err(|_| silent())??;
        let (moved, mut movement) = tokio::sync::watch::channel(());
        let body = Body::of(parts, move |bytes| {
            sent(bytes);
            moved.send_replace(());
        });
        let sending = sender.send_request(self.request(&Method::POST, url, headers, body)?);
        let mut sending = std::pin::pin!(sending);
        let response = loop {
            tokio::select! {
                response = &mut sending => break response.map_err(|cause| FetchError::Broken { url: url.to_string(), cause })?,
                // Nothing moves any more once all is sent.
                moves = tokio::time::timeout(self.silence, movement.changed()) => match moves {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => {
                        let last = tokio::time::timeout(self.silence, &mut sending).await.map_err(|_| silent())?;
                        break last.map_err(|cause| FetchError::Broken { url: url.to_string(), cause })?;
                    }
                    Err(_) => return Err(silent()),
                },
            }
        };
        let origin = format!("{}://{}", url.scheme().as_str(), url.authority());
        Ok(self.reply(url, origin, sender, response))
    }

    async fn connect(&self, url: &Url) -> Result<Sender, FetchError> {
        let broken = |cause| FetchError::Broken { url: url.to_string(), cause };
        let stream = TokioIo::new(self.dialer.dial(url).await?);
        let (sender, connection) = http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(stream).await.map_err(broken)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn reply(&self, url: &Url, origin: String, sender: Sender, response: Response<Incoming>) -> Reply {
        let connection = Connection { origin, sender, idle: self.idle.clone() };
        let mut reply = Reply { url: url.clone(), response, silence: self.silence, connection: Some(connection) };
        if reply.response.body().is_end_stream() {
            reply.keep_connection();
        }
        reply
    }

    fn request(&self, method: &Method, url: &Url, headers: &[(&str, &str)], body: Body) -> Result<Request<Body>, FetchError> {
        let target = if self.dialer.forward_proxy(url).is_some() { url.to_string() } else { url.target() };
        let mut builder = Request::builder().method(method).uri(target).header(HOST, url.authority());
        builder = builder.header(USER_AGENT, &self.agent).header(ACCEPT, "*/*");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(body).map_err(|cause| FetchError::Request { url: url.to_string(), cause })
    }
}

impl Drop for Reply {
    /// An answer that was not read to its end costs its connection, unless the rest of it is there already: who takes it finds out.
    fn drop(&mut self) {
        self.keep_connection();
    }
}

impl Reply {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header as text; empty if it is missing or no text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The address that answered, after all redirects.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Refuses any status but success.
    ///
    /// # Errors
    /// [`FetchError::Refused`].
    pub fn success(self) -> Result<Self, FetchError> {
        if self.status().is_success() {
            return Ok(self);
        }
        Err(FetchError::Refused { url: self.url.to_string(), status: self.status() })
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// If the connection breaks or the server falls silent.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let Ok(frame) = tokio::time::timeout(self.silence, self.response.body_mut().frame()).await else {
                return Err(FetchError::Silent { url: self.url.to_string(), silence: self.silence });
            };
            let Some(frame) = frame else {
                self.keep_connection();
                return Ok(None);
            };
            let frame = frame.map_err(|cause| FetchError::Broken { url: self.url.to_string(), cause })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Gives the connection to the next request.
    fn keep_connection(&mut self) {
        if let Some(Connection { origin, sender, idle }) = self.connection.take() {
            idle.put(origin, sender);
        }
    }

    /// The whole body, if it has no more than `limit` bytes.
    ///
    /// # Errors
    /// If it has more, the connection breaks or the server falls silent.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, FetchError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                return Err(FetchError::Large { url: self.url.to_string(), limit });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}
