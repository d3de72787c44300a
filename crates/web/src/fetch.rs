//! Fetching what servers hand out: redirects, ranges, conditions, limits of size and of silence.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::dial::{DialError, Dialer};
use crate::url::{Scheme, Url, UrlError};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

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
    #[error("{url}: the server said nothing for {} seconds", SILENCE.as_secs())]
    Silent {
        /// What was asked for.
        url: String,
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

type Sender = SendRequest<Full<Bytes>>;

/// Fetches from servers; keeps the last connection for the next request to the same one.
pub struct Fetcher {
    dialer: Dialer,
    agent: String,
    idle: Mutex<Option<(String, Sender)>>,
}

/// An answer whose body is still to be read.
pub struct Reply {
    url: Url,
    response: Response<Incoming>,
}

impl Fetcher {
    /// Makes one that names itself `agent`.
    #[must_use]
    pub fn new(dialer: Dialer, agent: &str) -> Self {
        Self { dialer, agent: agent.to_owned(), idle: Mutex::new(None) }
    }

    /// Fetches; follows redirects, but none from HTTPS to HTTP. Any status that is no redirect is an answer.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Reply, FetchError> {
        let mut here = url.clone();
        for _ in 0..=REDIRECTS {
            let reply = self.send(Method::GET, &here, headers, Bytes::new()).await?;
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
            if let Some(mut sender) = self.take_idle(&origin)
                && sender.ready().await.is_ok()
            {
                // A server may close a kept connection at any time: what only reads is then asked again.
                match sender.send_request(self.request(&method, url, headers, body.clone())?).await {
                    Ok(response) => return Ok((origin, sender, response)),
                    Err(cause) if method != Method::GET => return Err(FetchError::Broken { url: url.to_string(), cause }),
                    Err(_) => {}
                }
            }
            let broken = |cause| FetchError::Broken { url: url.to_string(), cause };
            let stream = TokioIo::new(self.dialer.dial(url).await?);
            let (mut sender, connection) = http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(stream).await.map_err(broken)?;
            tokio::spawn(connection);
            let response = sender.send_request(self.request(&method, url, headers, body)?).await.map_err(broken)?;
            Ok((origin, sender, response))
        };
        let answered = tokio::time::timeout(SILENCE, exchange).await;
        let (origin, sender, response) = answered.unwrap_or_else(|_| Err(FetchError::Silent { url: url.to_string() }))?;
        if let Ok(mut idle) = self.idle.lock() {
            *idle = Some((origin, sender));
        }
        Ok(Reply { url: url.clone(), response })
    }

    fn take_idle(&self, origin: &str) -> Option<Sender> {
        let kept = self.idle.lock().ok()?.take();
        kept.filter(|(of, sender)| of == origin && !sender.is_closed()).map(|(_, sender)| sender)
    }

    fn request(&self, method: &Method, url: &Url, headers: &[(&str, &str)], body: Bytes) -> Result<Request<Full<Bytes>>, FetchError> {
        let target = if self.dialer.forward_proxy(url).is_some() { url.to_string() } else { url.target() };
        let mut builder = Request::builder().method(method).uri(target).header(HOST, url.authority());
        builder = builder.header(USER_AGENT, &self.agent).header(ACCEPT, "*/*");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Full::new(body)).map_err(|cause| FetchError::Request { url: url.to_string(), cause })
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
            let Ok(frame) = tokio::time::timeout(SILENCE, self.response.body_mut().frame()).await else {
                return Err(FetchError::Silent { url: self.url.to_string() });
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|cause| FetchError::Broken { url: self.url.to_string(), cause })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
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
