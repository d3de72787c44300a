//! Commands inside instances.

use coffer_api::{InstanceExecPost, Operation};
use futures_util::future::{try_join, try_join4};
use hyper::Method;

use crate::websocket::{self, Socket};
use crate::{Answer, ApiPath, Client, ClientError};

/// A command whose streams are connected.
pub struct ExecSession {
    /// Its input and output.
    pub streams: ExecStreams,
    /// Takes resizes and signals; closing it kills the command.
    pub control: Socket,
    /// Handle of the operation.
    pub id: String,
    client: Client,
}

/// The streams of a command.
pub enum ExecStreams {
    /// One terminal, both directions.
    Terminal(Socket),
    /// Three pipes.
    Pipes {
        /// Standard input.
        stdin: Socket,
        /// Standard output.
        stdout: Socket,
        /// Standard error.
        stderr: Socket,
    },
}

impl Client {
    /// Starts a command in an instance with its streams connected to this client.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn exec(&self, instance: &str, request: &InstanceExecPost) -> Result<ExecSession, ClientError> {
        let request = InstanceExecPost { wait_for_websocket: true, ..request.clone() };
        let path = ApiPath::new("/1.0/instances").segment(instance).then("exec");
        let operation = self.begin_sockets(path, &request).await?;
        self.connect_sockets(&operation, request.interactive).await
    }

    /// Connects the websockets of a command.
    pub(crate) async fn connect_sockets(&self, operation: &Operation, interactive: bool) -> Result<ExecSession, ClientError> {
        let socket = |fd: &'static str| self.operation_socket(operation, fd);
        let (control, streams) = if interactive {
            let (control, terminal) = try_join(socket("control"), socket("0")).await?;
            (control, ExecStreams::Terminal(terminal))
        } else {
            let (control, stdin, stdout, stderr) = try_join4(socket("control"), socket("0"), socket("1"), socket("2")).await?;
            (control, ExecStreams::Pipes { stdin, stdout, stderr })
        };
        Ok(ExecSession { streams, control, id: operation.id.clone(), client: self.clone() })
    }

    /// Makes a request that answers with an operation waiting for websockets.
    pub(crate) async fn begin_sockets<B: serde::Serialize>(&self, path: ApiPath, request: &B) -> Result<Operation, ClientError> {
        let asked = path.to_string();
        match self.change(Method::POST, path, Some(request), "").await? {
            Answer::Accepted(operation) => Ok(*operation),
            Answer::Done => Err(ClientError::Lacking { path: asked, what: "an operation" }),
        }
    }

    /// Connects one of the websockets an operation waits for.
    pub(crate) async fn operation_socket(&self, operation: &Operation, fd: &str) -> Result<Socket, ClientError> {
        let path = ApiPath::new("/1.0/operations").segment(&operation.id).then("websocket");
        let secret = operation.metadata_value("fds").and_then(|fds| fds.get(fd)).and_then(|secret| secret.as_str());
        let secret = secret.ok_or_else(|| ClientError::Lacking { path: path.to_string(), what: "the secret of a websocket" })?;
        websocket::connect(self.endpoint(), &path.query("secret", secret)).await
    }

    /// Waits for the end of a command's operation.
    ///
    /// # Errors
    /// If the operation does without a code, or the server can't be reached.
    pub(crate) async fn exec_end(&self, id: &str) -> Result<Ended, ClientError> {
        let operation = self.wait_operation(id, None).await?;
        let code = operation.metadata_value("return").and_then(|code| code.as_i64());
        match code.and_then(|code| i32::try_from(code).ok()) {
            Some(code) => Ok(Ended { code, error: operation.err }),
            None if !operation.err.is_empty() => Err(ClientError::OperationFailed { text: operation.err }),
            None => Err(ClientError::Lacking { path: format!("/1.0/operations/{id}/wait"), what: "the exit code" }),
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; 128 + number for signals.
    pub code: i32,
    /// The server's words if the command could not be started, else empty.
    pub error: String,
}

impl ExecSession {
    /// Returns a future of the command's end that does not hold the session.
    ///
    /// # Errors
    /// The future fails if the operation does without a code, or the server can't be reached.
    pub fn end(&self) -> impl Future<Output = Result<Ended, ClientError>> + Send + use<> {
        let (client, id) = (self.client.clone(), self.id.clone());
        async move { client.exec_end(&id).await }
    }
}
