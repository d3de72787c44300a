//! Commands on pipes that are handed over to a server on the same host: its streams then pass through nobody.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coffer_api::{ControlMessage, InstanceExecPost, Operation, PipesMessage};
use hyper::Method;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::pipe::PipeFlags;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::websocket::upgrade;
use crate::{Answer, ApiPath, Client, ClientError, Ended, ExecSession, Pending};

/// What a pipe is made to hold: the largest that the kernel allows without more rights.
///
/// Source: `pipe-max-size`, pipe(7).
const PIPE_SIZE: usize = 1 << 20;

/// How long a server that is gone is given before it is tried again, at first and at last: ten seconds in all.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(5120);

/// A command that was started.
pub enum Started {
    /// Its streams are pipes of this process.
    Pipes(PipeSession),
    /// Its streams are websockets: the server is elsewhere, is no Coffer, or the command runs on a terminal.
    Sockets(Box<ExecSession>),
}

/// A command on pipes. Dropping `signals` and `end` before its end kills it.
pub struct PipeSession {
    /// Write here what it reads.
    pub stdin: OwnedFd,
    /// Read here what it writes.
    pub stdout: OwnedFd,
    /// Read here its errors.
    pub stderr: OwnedFd,
    /// Takes signals for it.
    pub signals: Signals,
    /// Tells its end.
    pub end: PipeEnd,
}

/// The way to signal a command on pipes.
pub struct Signals(OwnedWriteHalf);

/// The way to hear of the end of a command on pipes.
pub struct PipeEnd {
    reader: BufReader<OwnedReadHalf>,
    client: Client,
    id: String,
}

/// A change whose result was to go into a file.
pub enum WithFile {
    /// The server writes into it.
    Filled(Pending),
    /// The server knows nothing of files of clients: it keeps the result.
    Kept(Pending),
}

/// A command's three pipes: our ends and its ends.
struct Pipes {
    ours: [OwnedFd; 3],
    theirs: [OwnedFd; 3],
}

impl Client {
    /// Starts a command in an instance, on pipes if the server can take them and on websockets if not.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub async fn start_exec(&self, instance: &str, request: &InstanceExecPost) -> Result<Started, ClientError> {
        if self.endpoint().socket().is_none() || request.interactive {
            return self.exec(instance, request).await.map(|session| Started::Sockets(Box::new(session)));
        }
        let asked = InstanceExecPost { wait_for_websocket: true, local_pipes: true, ..request.clone() };
        let operation = self.begin_sockets(ApiPath::new("/1.0/instances").segment(instance).then("exec"), &asked).await?;
        let Some(secret) = operation.metadata_value("fds").and_then(|fds| fds.get("pipes")).and_then(|secret| secret.as_str()) else {
            return self.connect_sockets(&operation, request.interactive).await.map(|session| Started::Sockets(Box::new(session)));
        };
        match self.hand_over(&operation, secret).await? {
            Some(session) => Ok(Started::Pipes(session)),
            // The socket is a relay's, which carries bytes and nothing else; nothing has run yet.
            None => self.exec(instance, request).await.map(|session| Started::Sockets(Box::new(session))),
        }
    }

    /// Hands pipes over to an operation that waits for them; `None` if they did not arrive.
    async fn hand_over(&self, operation: &Operation, secret: &str) -> Result<Option<PipeSession>, ClientError> {
        let path = ApiPath::new("/1.0/operations").segment(&operation.id).then("pipes").query("secret", secret);
        let (_, dialled) = upgrade(self.endpoint(), &path, "Upgrade: coffer-pipes\r\nConnection: Upgrade\r\n").await?;
        let broken = |cause| ClientError::Pipes { cause };
        let Pipes { ours: [stdin, stdout, stderr], theirs } = pipes().map_err(broken)?;
        give(&dialled.stream, &theirs.each_ref().map(AsFd::as_fd)).await.map_err(broken)?;
        drop(theirs);
        let (reader, writer) = dialled.stream.into_split();
        let mut end = PipeEnd { reader: BufReader::new(reader), client: self.clone(), id: operation.id.clone() };
        if let Some(PipesMessage::Refused(_)) = end.next().await.map_err(broken)? {
            return Ok(None);
        }
        // Without a word the server has closed: waiting for the end will tell why.
        Ok(Some(PipeSession { stdin, stdout, stderr, signals: Signals(writer), end }))
    }
}

impl Client {
    /// Begins a change whose result goes into a file of this host that the server is handed: `path` and `request` ask for it.
    /// Servers that know nothing of it answer as they always do, and it is not handed over.
    ///
    /// # Errors
    /// If the server refuses or can't be reached.
    pub(crate) async fn begin_with_file<B: serde::Serialize>(
        &self,
        path: ApiPath,
        request: &B,
        file: &File,
    ) -> Result<Option<WithFile>, ClientError> {
        let answer = self.change(Method::POST, path, Some(request), "").await?;
        let secret = match &answer {
            Answer::Accepted(operation) => operation.metadata_value("fds").and_then(|fds| fds.get("file")?.as_str().map(str::to_owned)),
            Answer::Done => None,
        };
        let pending = Pending::new(self.clone(), answer);
        let Some((secret, operation)) = secret.zip(pending.operation()) else { return Ok(Some(WithFile::Kept(pending))) };
        let path = ApiPath::new("/1.0/operations").segment(&operation.id).then("pipes").query("secret", &secret);
        let (_, dialled) = upgrade(self.endpoint(), &path, "Upgrade: coffer-pipes\r\nConnection: Upgrade\r\n").await?;
        let broken = |cause| ClientError::Pipes { cause };
        give(&dialled.stream, &[file.as_fd()]).await.map_err(broken)?;
        let mut line = String::new();
        BufReader::new(dialled.stream).read_line(&mut line).await.map_err(broken)?;
        match serde_json::from_str(&line) {
            // The socket is a relay's, which carries bytes and nothing else.
            Ok(PipesMessage::Refused(_)) => Ok(None),
            _ => Ok(Some(WithFile::Filled(pending))),
        }
    }
}

impl Signals {
    /// Sends the command a signal.
    ///
    /// # Errors
    /// If the server has closed the connection.
    pub async fn send(&mut self, message: &ControlMessage) -> io::Result<()> {
        let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}

impl PipeEnd {
    /// Waits for the command's end; `complain` hears what belongs on its standard error. `None` says that the server is gone,
    /// or has failed to start the command: the command's pipes end with the command, then [`PipeEnd::ask`].
    pub async fn wait(&mut self, mut complain: impl FnMut(&str)) -> Option<i32> {
        loop {
            match self.next().await {
                Ok(Some(PipesMessage::Return(code))) => return Some(code),
                Ok(Some(PipesMessage::Complaint(text))) => complain(&text),
                Ok(Some(PipesMessage::Running)) => {}
                Ok(Some(PipesMessage::Refused(_)) | None) | Err(_) => return None,
            }
        }
    }

    /// Asks the command's operation how it ended; a server that is being replaced is given a while to come back.
    ///
    /// # Errors
    /// If the command could not be started, or the server does not come back or knows nothing of it.
    pub async fn ask(&self) -> Result<Ended, ClientError> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.client.exec_end(&self.id).await {
                Err(ClientError::Connecting { .. }) if wait <= LONGEST_WAIT => tokio::time::sleep(wait).await,
                ended => return ended,
            }
            wait *= 2;
        }
    }

    async fn next(&mut self) -> io::Result<Option<PipesMessage>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(io::Error::other)
    }
}

/// Makes the pipes, large, and closed in whatever this process starts.
fn pipes() -> io::Result<Pipes> {
    let pipe = || {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // A user may have used up what the kernel grants without more rights; a small pipe works too.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_SIZE);
        Ok::<_, io::Error>((read, write))
    };
    let ((input, stdin), (stdout, output), (stderr, error)) = (pipe()?, pipe()?, pipe()?);
    Ok(Pipes { ours: [stdin, stdout, stderr], theirs: [input, output, error] })
}

/// Sends descriptors along with one byte.
///
/// Source: `SCM_RIGHTS`, unix(7).
async fn give(stream: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let send = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        Ok(rustix::net::sendmsg(stream, &[io::IoSlice::new(b"\n")], &mut control, SendFlags::NOSIGNAL).map(drop)?)
    };
    stream.async_io(Interest::WRITABLE, send).await
}
