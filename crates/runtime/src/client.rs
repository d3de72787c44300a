//! Asking a monitor, waiting for each answer.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use coffer_runtime_spec::{Answer, Call, Connection, Message, Refusal, Report, Request, WireError};
use coffer_sys::socket::PacketSocket;

/// A conversation with a monitor in which one question is asked at a time.
#[derive(Debug)]
pub struct MonitorClient {
    connection: Connection,
    last_call: u64,
    reports: VecDeque<Report>,
}

/// Why a monitor did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("connecting to the monitor")]
    Connect(#[source] io::Error),
    /// The conversation failed.
    #[error("talking to the monitor")]
    Wire(#[source] WireError),
    /// The monitor has ended.
    #[error("the monitor has ended")]
    Gone,
    /// The monitor refused.
    #[error(transparent)]
    Refused(Refusal),
}

impl MonitorClient {
    /// Connects to a monitor's socket by its path.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        let name = socket.file_name().and_then(|name| name.to_str());
        let above = socket.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = coffer_sys::path::Root::open(above).map_err(ClientError::Connect)?;
        Self::connect_in(dir.as_fd(), name.unwrap_or_default())
    }

    /// Connects to a monitor's socket by its name in a directory.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn connect_in(dir: BorrowedFd<'_>, name: &str) -> Result<Self, ClientError> {
        let socket = PacketSocket::connect(dir, name).map_err(ClientError::Connect)?;
        Ok(Self::new(Connection::new(socket)))
    }

    /// Talks over a connection, which must be blocking.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection, last_call: 0, reports: VecDeque::new() }
    }

    /// Gives the connection back.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn call(&mut self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(Answer, Vec<OwnedFd>), ClientError> {
        self.last_call += 1;
        let call = Call { id: self.last_call, request };
        self.connection.send(&call, fds).map_err(ClientError::Wire)?;
        loop {
            match self.receive()? {
                // Number 0 answers what could not be read at all.
                (Message::Answer { id, result }, fds) if id == self.last_call || id == 0 => {
                    return result.map(|answer| (answer, fds)).map_err(ClientError::Refused);
                }
                (Message::Answer { .. }, _) => {}
                (Message::Report(report), _) => self.reports.push_back(report),
            }
        }
    }

    /// Waits for the next report; asks for nothing, so [`Request::Subscribe`] must have been called.
    ///
    /// # Errors
    /// [`ClientError::Gone`] when the monitor has ended.
    pub fn next_report(&mut self) -> Result<Report, ClientError> {
        if let Some(report) = self.reports.pop_front() {
            return Ok(report);
        }
        loop {
            if let (Message::Report(report), _) = self.receive()? {
                return Ok(report);
            }
        }
    }

    fn receive(&self) -> Result<(Message, Vec<OwnedFd>), ClientError> {
        self.connection.receive().map_err(ClientError::Wire)?.ok_or(ClientError::Gone)
    }
}

impl AsFd for MonitorClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
