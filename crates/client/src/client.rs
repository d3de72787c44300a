//! A client of one server, and the two or three ways in which every call is made.

use std::sync::Arc;

use bytes::Bytes;
use coffer_api::{Operation, Response, ResponseKind};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, IF_MATCH, USER_AGENT};
use hyper::{Method, Request};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::transport::{Download, Transport};
use crate::upload::{RequestBody, Upload};
use crate::{Answer, ApiPath, ClientError, Endpoint, Pending, Tagged};

/// A client of one server, bound to one project. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    project: String,
    waits: bool,
}

/// An answer as it came: status and body.
#[derive(Debug, Clone)]
pub struct RawReply {
    /// The HTTP status.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// Makes a client; an empty project leaves the choice to the server (default).
    pub fn new(endpoint: Endpoint, project: &str) -> Client {
        Client { transport: Arc::new(Transport::new(endpoint)), project: project.to_owned(), waits: false }
    }

    /// Returns a client of the same server for another project.
    #[must_use]
    pub fn with_project(&self, project: &str) -> Client {
        Client { transport: self.transport.clone(), project: project.to_owned(), waits: self.waits }
    }

    /// Returns a client of the same server and project that asks for the end of a change in the answer to the request that
    /// begins it (`Prefer: wait`), which spares a request. Nothing is heard of the change before it is over or a second has
    /// passed: for single changes that are over in a moment.
    #[must_use]
    pub fn waiting(&self) -> Client {
        Client { waits: true, ..self.clone() }
    }

    /// Lets `trace` hear of every request from now on, those of clones included. Only the first call counts.
    pub fn set_trace(&self, trace: crate::Trace) {
        self.transport.set_trace(trace);
    }

    /// Returns where the server listens.
    pub fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    /// Returns the project; empty if the server's default is meant.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Reads an object or list.
    ///
    /// # Errors
    /// If the server refuses, can't be reached or answers against the API.
    pub async fn get<T: DeserializeOwned + Default>(&self, path: ApiPath) -> Result<T, ClientError> {
        Ok(self.get_tagged(path).await?.value)
    }

    /// Reads an object with its tag.
    ///
    /// # Errors
    /// If the server refuses, can't be reached or answers against the API.
    pub async fn get_tagged<T: DeserializeOwned + Default>(&self, path: ApiPath) -> Result<Tagged<T>, ClientError> {
        let answer = self.open(self.request(Method::GET, path, RequestBody::Empty, &[])?).await?;
        let etag = answer.header("etag").to_owned();
        let path = answer.path().to_owned();
        let body = answer.bytes().await?;
        let read: Response<T> = serde_json::from_slice(&body).map_err(|cause| ClientError::Reading { path, cause })?;
        Ok(Tagged { value: read.metadata, etag })
    }

    /// Sends a change and says how it was taken. An empty `etag` means whatever the version.
    ///
    /// # Errors
    /// If the server refuses, can't be reached or answers against the API.
    pub async fn change<B: Serialize>(&self, method: Method, path: ApiPath, body: Option<&B>, etag: &str) -> Result<Answer, ClientError> {
        self.answer(self.changing(method, path, body, etag)?).await
    }

    /// Sends a question that has a body and reads what is answered at once.
    ///
    /// # Errors
    /// If the server refuses, can't be reached or answers against the API.
    pub async fn ask<B: Serialize, T: DeserializeOwned + Default>(&self, path: ApiPath, body: Option<&B>) -> Result<T, ClientError> {
        let answer = self.open(self.changing(Method::POST, path, body, "")?).await?;
        let path = answer.path().to_owned();
        let body = answer.bytes().await?;
        let read: Response<T> = serde_json::from_slice(&body).map_err(|cause| ClientError::Reading { path, cause })?;
        Ok(read.metadata)
    }

    fn changing<B: Serialize>(
        &self,
        method: Method,
        path: ApiPath,
        body: Option<&B>,
        etag: &str,
    ) -> Result<Request<RequestBody>, ClientError> {
        let body = match body {
            None => RequestBody::Empty,
            Some(body) => {
                let bytes = serde_json::to_vec(body).map_err(|cause| ClientError::Reading { path: path.to_string(), cause })?;
                RequestBody::Whole(Bytes::from(bytes))
            }
        };
        let mut headers = vec![(CONTENT_TYPE, "application/json")];
        if !etag.is_empty() {
            headers.push((IF_MATCH, etag));
        }
        if self.waits {
            headers.push((HeaderName::from_static("prefer"), "wait=1"));
        }
        self.request(method, path, body, &headers)
    }

    /// Streams a body to the server and says how it was taken.
    ///
    /// # Errors
    /// If the server refuses, can't be reached or answers against the API.
    pub async fn upload(&self, path: ApiPath, headers: &[(HeaderName, &str)], upload: Upload) -> Result<Answer, ClientError> {
        let request = self.request(Method::POST, path, upload.into(), headers)?;
        self.answer(request).await
    }

    /// Makes a change that the server carries out at once or in an operation, and returns the operation's handle.
    ///
    /// # Errors
    /// If the server refuses, can't be reached or answers against the API.
    pub async fn begin<B: Serialize>(&self, method: Method, path: ApiPath, body: Option<&B>, etag: &str) -> Result<Pending, ClientError> {
        Ok(Pending::new(self.clone(), self.change(method, path, body, etag).await?))
    }

    /// Reads content that stands outside the envelope.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn download(&self, path: ApiPath) -> Result<Download, ClientError> {
        self.open(self.request(Method::GET, path, RequestBody::Empty, &[])?).await
    }

    /// Sends any request and returns the answer as it came, refusals included.
    ///
    /// # Errors
    /// If the server can't be reached.
    pub async fn raw(&self, method: Method, path: ApiPath, body: Option<Vec<u8>>) -> Result<RawReply, ClientError> {
        let body = body.map_or(RequestBody::Empty, |bytes| RequestBody::Whole(bytes.into()));
        let request = self.request(method, path, body, &[(CONTENT_TYPE, "application/json")])?;
        let answer = self.transport.send(request).await?;
        Ok(RawReply { code: answer.status().as_u16(), body: answer.bytes().await? })
    }

    async fn answer(&self, request: Request<RequestBody>) -> Result<Answer, ClientError> {
        let answer = self.open(request).await?;
        let path = answer.path().to_owned();
        let body = answer.bytes().await?;
        let reading = |cause| ClientError::Reading { path: path.clone(), cause };
        let head: Response<Option<IgnoredAny>> = serde_json::from_slice(&body).map_err(reading)?;
        match head.kind {
            ResponseKind::Sync | ResponseKind::Error => Ok(Answer::Done),
            ResponseKind::Async => {
                let full: Response<Operation> = serde_json::from_slice(&body).map_err(reading)?;
                Ok(Answer::Accepted(Box::new(full.metadata)))
            }
        }
    }

    /// Sends a request and turns a refusal into an error.
    pub(crate) async fn open(&self, request: Request<RequestBody>) -> Result<Download, ClientError> {
        let answer = self.transport.send(request).await?;
        if answer.status().as_u16() < 400 {
            return Ok(answer);
        }
        Err(refusal(answer.status().as_u16(), &answer.bytes().await?))
    }

    pub(crate) fn request(
        &self,
        method: Method,
        path: ApiPath,
        body: RequestBody,
        headers: &[(HeaderName, &str)],
    ) -> Result<Request<RequestBody>, ClientError> {
        let path = self.in_project(path).to_string();
        let mut builder = Request::builder().method(method).uri(&path);
        builder = builder.header(HOST, self.endpoint().host()).header(USER_AGENT, concat!("coffer/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            builder = builder.header(name, *value);
        }
        builder.body(body).map_err(|cause| ClientError::Writing { path, cause })
    }

    /// Adds the client's project to a path that names none and does not ask for all.
    pub(crate) fn in_project(&self, path: ApiPath) -> ApiPath {
        if self.project.is_empty() || path.has_query("project") || path.has_query("all-projects") {
            return path;
        }
        path.query("project", &self.project)
    }
}

/// Reads the error envelope; a body that is none gives the status alone.
pub(crate) fn refusal(code: u16, body: &[u8]) -> ClientError {
    let text = serde_json::from_slice::<Response<Option<IgnoredAny>>>(body).map(|read| read.error).unwrap_or_default();
    let text = if text.is_empty() { format!("the server answered with status {code} and no reason") } else { text };
    ClientError::Refused { code, text }
}
