//! What clients on the same host hand over: the pipes of a command, no byte of whose streams then passes through the daemon, so
//! that it lives on without it; and the file that a backup goes into.

use std::os::fd::{AsFd as _, OwnedFd};

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use coffer_api::{ControlMessage, PipesMessage};
use coffer_engine::{EngineError, ExecRequest, OperationHandle};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::Doors;
use super::exec::{SIGKILL, Target};
use super::session::PATIENCE;
use crate::app::App;
use crate::refusal::Refusal;

/// The protocol's name in the `Upgrade` header.
const PROTOCOL: &str = "coffer-pipes";

/// The name of the door that a single file comes through.
pub const FILE: &str = "file";

/// The longest control message.
const LONGEST_LINE: u64 = 4096;

/// A connection that descriptors can come over.
pub struct Handover(UnixStream);

/// A request that asks for such a connection.
pub struct HandoverUpgrade(OnUpgrade);

impl HandoverUpgrade {
    /// Answers the request and lets the connection through the door once the answer is out.
    pub fn then(self, door: oneshot::Sender<Handover>) -> Response {
        tokio::spawn(async move {
            match self.0.await.map(|upgraded| upgraded.downcast::<TokioIo<UnixStream>>()) {
                Ok(Ok(parts)) if parts.read_buf.is_empty() => drop(door.send(Handover(parts.io.into_inner()))),
                Ok(Ok(_)) => tracing::debug!("a client handed its pipes over before it was told to"),
                Ok(Err(_)) => tracing::debug!("pipes can be handed over on the unix socket only"),
                Err(error) => tracing::debug!("a connection for pipes was not opened: {error}"),
            }
        });
        let headers = [(header::CONNECTION, HeaderValue::from_static("Upgrade")), (header::UPGRADE, HeaderValue::from_static(PROTOCOL))];
        (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
    }
}

impl FromRequestParts<App> for HandoverUpgrade {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        let asked = parts.headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes()));
        let pending = parts.extensions.remove::<OnUpgrade>().filter(|_| asked);
        pending.map(Self).ok_or_else(|| Refusal::bad_request(format!("ask for an upgrade to {PROTOCOL}, with HTTP/1.1")))
    }
}

/// Runs the command and answers its exit status. A client that hangs up before takes the command with it.
pub async fn run(
    target: &Target,
    operation: &OperationHandle,
    request: ExecRequest,
    mut doors: Doors<Handover>,
) -> Result<i32, EngineError> {
    let refused = |text: String| EngineError::Refused(text);
    let [Handover(stream)] = doors.wait_for(["pipes"]).await.map_err(|error| refused(error.to_string()))?;
    let pipes = tokio::time::timeout(PATIENCE, receive(&stream)).await;
    let (reader, mut writer) = stream.into_split();
    let Some(pipes) = pipes.ok().flatten() else {
        let text = "no three pipes came over the connection".to_owned();
        tell(&mut writer, &PipesMessage::Refused(text.clone())).await;
        return Err(refused(text));
    };
    let session = target.start_on(pipes, request).await?;
    tell(&mut writer, &PipesMessage::Running).await;
    if let Some(text) = session.complaint {
        tell(&mut writer, &PipesMessage::Complaint(text)).await;
    }
    let code = follow(target, session.id, session.exit, reader).await;
    tracing::debug!(operation = %operation.id(), "a command ended");
    let code = code.map_err(|_| target.gone())?;
    tell(&mut writer, &PipesMessage::Return(code)).await;
    Ok(code)
}

/// Takes the one file that a client hands over.
///
/// # Errors
/// If it does not come in time, or the connection cannot carry it.
pub async fn file(mut doors: Doors<Handover>) -> Result<OwnedFd, EngineError> {
    let refused = |text: String| EngineError::Refused(text);
    let [Handover(stream)] = doors.wait_for([FILE]).await.map_err(|error| refused(error.to_string()))?;
    let received = tokio::time::timeout(PATIENCE, receive(&stream)).await;
    let (_, mut writer) = stream.into_split();
    let Some([file]) = received.ok().flatten() else {
        let text = "no file came over the connection".to_owned();
        tell(&mut writer, &PipesMessage::Refused(text.clone())).await;
        return Err(refused(text));
    };
    tell(&mut writer, &PipesMessage::Running).await;
    Ok(file)
}

/// Waits for the command's end and does meanwhile what the client says.
async fn follow(
    target: &Target,
    id: u64,
    mut exit: oneshot::Receiver<i32>,
    reader: OwnedReadHalf,
) -> Result<i32, oneshot::error::RecvError> {
    let mut messages = control_messages(reader);
    loop {
        tokio::select! {
            code = &mut exit => return code,
            message = messages.recv() => match message {
                Some(message) => target.obey(id, message).await,
                None => {
                    tracing::debug!("the client hung up: killing its command");
                    target.signal(id, SIGKILL).await;
                    return exit.await;
                }
            },
        }
    }
}

/// Takes so many descriptors off the connection; `None` if it brings none, or others.
async fn receive<const N: usize>(stream: &UnixStream) -> Option<[OwnedFd; N]> {
    let mut byte = [0];
    let received = stream.async_io(Interest::READABLE, || coffer_sys::socket::receive_with(stream.as_fd(), &mut byte)).await;
    received.ok().and_then(|(_, fds)| fds.try_into().ok())
}

/// Tells the client something; one that is gone needs to hear nothing.
async fn tell(writer: &mut OwnedWriteHalf, message: &PipesMessage) {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    if let Err(error) = writer.write_all(&line).await {
        tracing::debug!("the client was not told {message:?}: {error}");
    }
}

/// Reads control messages until the client closes. Unknown ones are ignored, as newer clients expect.
fn control_messages(reader: OwnedReadHalf) -> mpsc::Receiver<ControlMessage> {
    let (sender, messages) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = tokio::io::AsyncReadExt::take(&mut reader, LONGEST_LINE);
            match limited.read_until(b'\n', &mut line).await {
                Ok(_) if line.last() != Some(&b'\n') => break,
                Ok(_) => {}
                Err(error) => break tracing::debug!("reading control messages: {error}"),
            }
            match serde_json::from_slice(&line) {
                Ok(message) => {
                    if sender.send(message).await.is_err() {
                        break;
                    }
                }
                Err(error) => tracing::debug!("ignoring a control message: {error}"),
            }
        }
    });
    messages
}
