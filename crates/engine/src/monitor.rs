//! Talking to one instance's monitor: requests answered in any order, reports handed on.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coffer_runtime_spec::{Answer, Call, Connection, Message, Refusal, Report, Request, WireError};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How long a monitor may take to answer a request. Every request is a handful of system calls; only a freeze waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer with its descriptors.
type Answered = (Result<Answer, Refusal>, Vec<OwnedFd>);
/// What is done with an answer. Dropped uncalled when the monitor goes away.
type Then = Box<dyn FnOnce(Answered) + Send>;
/// Who waits for which answer; `None` once the monitor is gone.
type Waiting = Mutex<Option<HashMap<u64, Then>>>;

/// Why a monitor did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// It said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Talking to it failed.
    #[error("talking to the monitor")]
    Wire(#[source] WireError),
    /// It is gone.
    #[error("the monitor has ended")]
    Gone,
    /// It did not answer in time.
    #[error("the monitor did not answer within {} seconds", PATIENCE.as_secs())]
    Silent,
    /// It answered something else than what was asked.
    #[error("the monitor gave an answer to another question; daemon and monitor may be of different versions")]
    Mismatch,
}

/// A connection to a monitor, shared by all who ask it something.
pub struct Monitor {
    /// Tells this connection from others to the same instance, earlier and later ones.
    pub number: u64,
    connection: Arc<Connection>,
    waiting: Arc<Waiting>,
    next: AtomicU64,
}

impl Monitor {
    /// Takes over a connection. `report` hears of everything that happens, in order, and `gone` once when the connection
    /// ends; both run on the runtime's threads and must not block.
    ///
    /// # Errors
    /// If the connection cannot be watched.
    pub fn new(
        number: u64,
        connection: Connection,
        report: impl Fn(Report) + Send + 'static,
        gone: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Self> {
        connection.set_nonblocking(true)?;
        // Only its readiness is used: packets with descriptors are received by the connection itself.
        let readiness = UnixStream::from_std(connection.as_fd().try_clone_to_owned()?.into())?;
        let connection = Arc::new(connection);
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let reader = Reader { readiness, connection: connection.clone(), waiting: waiting.clone() };
        tokio::spawn(async move {
            reader.run(report).await;
            gone();
        });
        Ok(Self { number, connection, waiting, next: AtomicU64::new(1) })
    }

    /// Says whether the connection has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.lock().is_none()
    }

    /// Asks and waits for the answer. Blocks the thread.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub fn ask(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(Answer, Vec<OwnedFd>), MonitorError> {
        self.ask_within(request, fds, PATIENCE)
    }

    /// Asks and waits for the answer at most for `patience`. Blocks the thread.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub fn ask_within(&self, request: Request, fds: &[BorrowedFd<'_>], patience: Duration) -> Result<(Answer, Vec<OwnedFd>), MonitorError> {
        self.begin(request, fds)?.wait(patience)
    }

    /// Asks; the answer is waited for later.
    ///
    /// # Errors
    /// If the request cannot be sent.
    pub fn begin(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<Pending, MonitorError> {
        let (sender, receiver) = sync_channel(1);
        self.ask_then(request, fds, move |answered| drop(sender.try_send(answered)))?;
        Ok(Pending(receiver))
    }

    /// Asks, and does something with the answer when it comes, on a thread that must not be blocked.
    ///
    /// # Errors
    /// If the request cannot be sent. If the monitor goes away later, `then` is dropped.
    pub fn ask_then(
        &self,
        request: Request,
        fds: &[BorrowedFd<'_>],
        then: impl FnOnce((Result<Answer, Refusal>, Vec<OwnedFd>)) + Send + 'static,
    ) -> Result<(), MonitorError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().as_mut().ok_or(MonitorError::Gone)?.insert(id, Box::new(then));
        self.send(&Call { id, request }, fds).inspect_err(|_| {
            if let Some(waiting) = self.lock().as_mut() {
                waiting.remove(&id);
            }
        })
    }

    /// Asks for something that is answered by "done".
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub fn tell(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(), MonitorError> {
        match self.ask(request, fds)? {
            (Answer::Done, _) => Ok(()),
            _ => Err(MonitorError::Mismatch),
        }
    }

    /// Sends a call; a full socket is waited for, because the monitor reads all the time.
    fn send(&self, call: &Call, fds: &[BorrowedFd<'_>]) -> Result<(), MonitorError> {
        loop {
            match self.connection.send(call, fds) {
                Ok(()) => return Ok(()),
                Err(error) if error.would_block() => {
                    let mut poll = [rustix::event::PollFd::from_borrowed_fd(self.connection.as_fd(), rustix::event::PollFlags::OUT)];
                    let _ = rustix::event::poll(&mut poll, None);
                }
                Err(WireError::Socket(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Err(MonitorError::Gone),
                Err(error) => return Err(MonitorError::Wire(error)),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<HashMap<u64, Then>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is not answered yet.
pub struct Pending(Receiver<Answered>);

impl Pending {
    /// Waits for the answer at most for `patience`. Blocks the thread.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub fn wait(self, patience: Duration) -> Result<(Answer, Vec<OwnedFd>), MonitorError> {
        match self.0.recv_timeout(patience) {
            Ok((result, fds)) => Ok((result?, fds)),
            Err(RecvTimeoutError::Disconnected) => Err(MonitorError::Gone),
            Err(RecvTimeoutError::Timeout) => Err(MonitorError::Silent),
        }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("connection", &self.connection).finish_non_exhaustive()
    }
}

struct Reader {
    readiness: UnixStream,
    connection: Arc<Connection>,
    waiting: Arc<Waiting>,
}

impl Reader {
    async fn run(self, report: impl Fn(Report)) {
        while let Some((message, fds)) = self.next().await {
            match message {
                Message::Answer { id, result } => {
                    let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    let then = waiting.as_mut().and_then(|waiting| waiting.remove(&id));
                    drop(waiting);
                    if let Some(then) = then {
                        then((result, fds));
                    }
                }
                Message::Report(it) => report(it),
            }
        }
        // Dropping what they wait with wakes everybody.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn next(&self) -> Option<(Message, Vec<OwnedFd>)> {
        loop {
            self.readiness.readable().await.ok()?;
            let received = self.readiness.try_io(Interest::READABLE, || match self.connection.receive() {
                Err(error) if error.would_block() => Err(std::io::ErrorKind::WouldBlock.into()),
                received => Ok(received),
            });
            match received {
                Ok(Ok(message)) => return message,
                Ok(Err(error)) => {
                    tracing::warn!("reading from a monitor: {}", coffer_base::chain(&error));
                    return None;
                }
                // Not ready after all.
                Err(_) => {}
            }
        }
    }
}
