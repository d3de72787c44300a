//! Running a command over websockets, or without any.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use coffer_api::ControlMessage;
use coffer_engine::{EngineError, ExecRequest, ExecSession, ExecStreams, OperationHandle};
use coffer_model::{InstanceName, ProjectName};
use tokio::io::Interest;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::line::{Ends, Line, Sender};
use super::pipe::Stream;
use super::reader::Input;
use super::{Doors, Handover, Socket, handover};
use crate::app::App;

/// The signal that nothing survives.
pub const SIGKILL: i32 = 9;

/// How much of each stream is recorded: as much as a log file is answered.
const MOST_RECORDED: u64 = 64 << 20;

/// How long a client that hung up may take to read the rest.
const LAST_READS: Duration = Duration::from_secs(10);

/// What to run, where, and what becomes of its streams.
pub struct Plan {
    /// The instance's project.
    pub project: ProjectName,
    /// The instance.
    pub name: InstanceName,
    /// The command.
    pub request: ExecRequest,
    /// Where its streams go.
    pub client: Client,
}

/// Who is at the other end of a command's streams.
pub enum Client {
    /// A client with websockets.
    Sockets(Doors),
    /// A client that hands its pipes over.
    Pipes(Doors<Handover>),
    /// Nobody: output and errors are recorded in files, or dropped where there are none.
    Nobody(Option<(File, File)>),
}

/// Runs the command and ends the operation with its exit status.
pub async fn run(app: App, operation: OperationHandle, plan: Plan) {
    let Plan { project, name, mut request, client } = plan;
    request.operation = Some(operation.view());
    let target = Arc::new(Target { app, project, name });
    let result = match client {
        Client::Sockets(doors) => with_sockets(&target, &operation, request, doors).await,
        Client::Pipes(doors) => handover::run(&target, &operation, request, doors).await,
        Client::Nobody(record) => alone(&target, request, record).await,
    };
    let result = result.map(|code| operation.set_metadata("return", code)).inspect_err(|_| operation.set_metadata("return", -1));
    operation.finish(result);
}

/// The instance a command runs in.
pub struct Target {
    app: App,
    project: ProjectName,
    name: InstanceName,
}

impl Target {
    /// Runs the command on the client's pipes.
    pub async fn start_on(&self, pipes: [OwnedFd; 3], request: ExecRequest) -> Result<ExecSession, EngineError> {
        let (project, name) = (self.project.clone(), self.name.clone());
        self.app.attempt(move |engine| engine.exec_passed(&project, &name, request, &pipes)).await
    }

    async fn start(&self, request: ExecRequest) -> Result<ExecSession, EngineError> {
        let (project, name) = (self.project.clone(), self.name.clone());
        self.app.attempt(move |engine| engine.exec(&project, &name, request)).await
    }

    /// Sends the command a signal.
    pub async fn signal(&self, id: u64, signal: i32) {
        let (project, name) = (self.project.clone(), self.name.clone());
        let sent = self.app.attempt(move |engine| engine.exec_signal(&project, &name, id, signal)).await;
        if let Err(error) = sent {
            tracing::debug!("signal {signal} was not sent: {}", coffer_base::chain(&error));
        }
    }

    /// The error of a command whose end nobody saw.
    pub fn gone(&self) -> EngineError {
        EngineError::Refused(format!("instance {} went away while the command ran", self.name))
    }

    async fn resize(&self, id: u64, columns: u16, rows: u16) {
        let (project, name) = (self.project.clone(), self.name.clone());
        let sent = self.app.attempt(move |engine| engine.exec_resize(&project, &name, id, columns, rows)).await;
        if let Err(error) = sent {
            tracing::debug!("the terminal was not resized: {}", coffer_base::chain(&error));
        }
    }

    async fn release(&self, id: u64) {
        let (project, name) = (self.project.clone(), self.name.clone());
        let released = self.app.attempt(move |engine| engine.exec_release(&project, &name, id)).await;
        if let Err(error) = released {
            tracing::debug!("the command's output was not released: {}", coffer_base::chain(&error));
        }
    }

    /// Does what a control message says.
    pub async fn obey(&self, id: u64, message: ControlMessage) {
        match message {
            ControlMessage::Signal { signal } => self.signal(id, signal).await,
            ControlMessage::WindowResize { args } => {
                if let (Ok(columns), Ok(rows)) = (args.width.parse(), args.height.parse()) {
                    self.resize(id, columns, rows).await;
                }
            }
        }
    }
}

async fn with_sockets(
    target: &Arc<Target>,
    operation: &OperationHandle,
    request: ExecRequest,
    mut doors: Doors,
) -> Result<i32, EngineError> {
    let interactive = request.terminal.is_some();
    let (sockets, control): (Vec<Socket>, Control) = if interactive {
        let [terminal, control] = doors.wait_for(["0", "control"]).await.map_err(refused)?;
        (vec![terminal], Control::There(Box::new(control)))
    } else {
        let sockets = doors.wait_for(["0", "1", "2"]).await.map_err(refused)?;
        let control = doors.receiver("control").ok_or_else(|| EngineError::Refused("the session has no control socket".into()))?;
        (sockets.into(), Control::Later(control))
    };
    let session = target.start(request).await?;
    let (over, is_over) = watch::channel(false);
    let abandoned = Arc::new(Notify::new());
    let ends = match session.streams {
        Some(streams) => ends(streams, &abandoned).map_err(|cause| EngineError::system("watching the streams", cause))?,
        None => complaint(session.complaint, sockets.len()),
    };
    let lines = sockets.into_iter().zip(ends).map(|(socket, ends)| Line::begin(socket, ends, is_over.clone())).collect();
    let (gone, mut client_gone) = watch::channel(false);
    let control = tokio::spawn(obey(target.clone(), session.id, control, is_over, gone));
    let code = exit(target, session.id, session.exit, &mut client_gone, &abandoned).await;
    over.send_replace(true);
    let lines = flush(lines, &mut client_gone).await;
    tracing::debug!(operation = %operation.id(), "a command ended");
    // The client is given time to close behind the operation's back.
    tokio::spawn(async move {
        futures_util::future::join_all(lines.into_iter().map(Line::part)).await;
        control.abort();
        drop(doors);
    });
    code.map_err(|_| target.gone())
}

fn refused(error: super::session::NoSocket) -> EngineError {
    EngineError::Refused(error.to_string())
}

/// The ends of sockets 0, 1 and 2, or of 0 alone for a terminal.
fn ends(streams: ExecStreams, abandoned: &Arc<Notify>) -> io::Result<Vec<Ends>> {
    let output = |source| Ends { source: Some(source), abandoned: Some(abandoned.clone()), ..Ends::default() };
    Ok(match streams {
        ExecStreams::Terminal(fd) => {
            let stream = Arc::new(Stream::new(fd, Interest::READABLE | Interest::WRITABLE)?);
            vec![Ends { sink: Some(stream.clone()), ..output(stream) }]
        }
        ExecStreams::Pipes { stdin, stdout, stderr } => vec![
            Ends { sink: Some(Arc::new(Stream::new(stdin, Interest::WRITABLE)?)), ..Ends::default() },
            output(Arc::new(Stream::new(stdout, Interest::READABLE)?)),
            output(Arc::new(Stream::new(stderr, Interest::READABLE)?)),
        ],
    })
}

/// The ends of the sockets of a program that never ran: why goes to its errors, or to its terminal.
fn complaint(text: Option<String>, sockets: usize) -> Vec<Ends> {
    let line = text.map(|text| format!("{text}\r\n").into_bytes()).unwrap_or_default();
    let mut ends: Vec<Ends> = (0..sockets).map(|index| Ends { output: sockets == 1 || index > 0, ..Ends::default() }).collect();
    if let Some(last) = ends.last_mut() {
        last.farewell = line;
    }
    ends
}

/// Waits for the command's end. A client that hangs up before takes the command with it; one that closes only its
/// output leaves the command with a broken pipe.
async fn exit(
    target: &Target,
    id: u64,
    mut exit: oneshot::Receiver<i32>,
    client_gone: &mut watch::Receiver<bool>,
    abandoned: &Notify,
) -> Result<i32, oneshot::error::RecvError> {
    let mut killed = false;
    loop {
        tokio::select! {
            code = &mut exit => return code,
            () = becomes_true(client_gone), if !killed => {
                tracing::debug!("the client hung up: killing its command");
                target.signal(id, SIGKILL).await;
                killed = true;
            }
            () = abandoned.notified() => target.release(id).await,
        }
    }
}

/// Waits until all output is sent. A client that has hung up is not waited for long.
async fn flush(mut lines: Vec<Line>, client_gone: &mut watch::Receiver<bool>) -> Vec<Line> {
    let all = async {
        for line in &mut lines {
            line.sent().await;
        }
    };
    let patience = async {
        becomes_true(client_gone).await;
        tokio::time::sleep(LAST_READS).await;
    };
    tokio::select! {
        () = all => {}
        () = patience => tracing::debug!("the client did not read the last output"),
    }
    lines
}

/// Waits for `true`, for ever if it will never come.
async fn becomes_true(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|value| *value).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The control socket of a session.
enum Control {
    /// It is connected.
    There(Box<Socket>),
    /// It may come.
    Later(oneshot::Receiver<Socket>),
}

/// Does what arrives on the control socket until the client closes it, and says so through `gone`.
async fn obey(target: Arc<Target>, id: u64, control: Control, over: watch::Receiver<bool>, gone: watch::Sender<bool>) {
    let socket = match control {
        Control::There(socket) => *socket,
        Control::Later(receiver) => match receiver.await {
            Ok(socket) => socket,
            Err(_) => return,
        },
    };
    let mut messages = control_messages(socket, over);
    while let Some(message) = messages.recv().await {
        target.obey(id, message).await;
    }
    gone.send_replace(true);
}

/// Reads control messages until the client closes. Unknown ones are ignored, as newer clients expect.
pub fn control_messages(socket: Socket, over: watch::Receiver<bool>) -> mpsc::Receiver<ControlMessage> {
    let (pings, pongs) = mpsc::channel(4);
    let (messages, received) = mpsc::channel(4);
    tokio::spawn(Sender { writer: socket.writer, pongs, over }.run(Ends::default()));
    let mut reader = socket.reader;
    tokio::spawn(async move {
        let mut ignored = Vec::new();
        loop {
            ignored.clear();
            match reader.next(&mut ignored).await {
                Ok(Input::Text(text)) => match serde_json::from_slice(&text) {
                    Ok(message) => drop(messages.send(message).await),
                    Err(error) => tracing::debug!("ignoring a control message: {error}"),
                },
                Ok(Input::Bytes) => {}
                Ok(Input::Ping(content)) => drop(pings.try_send(content)),
                Ok(Input::Closed) => break,
                Err(error) => break tracing::debug!("{}", coffer_base::chain(&error)),
            }
        }
    });
    received
}

/// Runs the command without a client: it reads nothing, and what it writes is recorded or dropped, by its monitor.
async fn alone(target: &Target, request: ExecRequest, record: Option<(File, File)>) -> Result<i32, EngineError> {
    let (project, name) = (target.project.clone(), target.name.clone());
    let files =
        |(output, errors): &(File, File)| -> io::Result<[OwnedFd; 2]> { Ok([output.try_clone()?.into(), errors.try_clone()?.into()]) };
    let files = record.as_ref().map(files).transpose().map_err(|cause| EngineError::system("recording the command's output", cause))?;
    let session = target.app.attempt(move |engine| engine.exec_recorded(&project, &name, request, files, MOST_RECORDED)).await?;
    if let (Some(text), Some((_, mut errors))) = (session.complaint, record) {
        writeln!(errors, "{text}").map_err(|cause| EngineError::system("recording why the program never ran", cause))?;
    }
    session.exit.await.map_err(|_| target.gone())
}
