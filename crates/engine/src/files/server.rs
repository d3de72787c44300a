//! One instance's file server, and who uses it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coffer_file_server::FileServer;
use coffer_sftp::{Session, SessionError};
use rustix::net::sockopt;

/// How long a server is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// How long it may take to answer. Its requests are a few system calls each; a file system inside that hangs is not waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Conversations that are kept for the next request.
const KEPT: usize = 16;

/// Bytes that a stream holds on their way: a few of the largest packets.
const ON_THE_WAY: usize = 1 << 20;

/// The daemon's side of a conversation.
pub(super) type Talk = Session<UnixStream>;

/// One instance's file server.
#[derive(Debug)]
pub struct Server {
    server: FileServer,
    /// It serves the volume of an instance that does not run.
    stopped: bool,
    use_of: Mutex<Use>,
}

#[derive(Debug, Default)]
struct Use {
    users: usize,
    /// Counts the users that there ever were.
    turn: u64,
    kept: Vec<Talk>,
    /// Somebody waits for it to be unused.
    watched: bool,
    ended: bool,
}

/// Somebody uses a server. It is not ended for being unused meanwhile.
#[derive(Debug)]
pub(super) struct InUse(Arc<Server>);

impl Server {
    pub(super) fn new(server: FileServer, stopped: bool) -> Self {
        Self { server, stopped, use_of: Mutex::new(Use::default()) }
    }

    /// Says whether it serves the volume of an instance that does not run.
    #[must_use]
    pub fn is_of_stopped(&self) -> bool {
        self.stopped
    }

    /// Says whether it can be used.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.lock().ended && self.server.runs()
    }

    /// Ends it, whoever uses it, and waits until it keeps no file system busy.
    pub fn end(&self) {
        let kept = {
            let mut now = self.lock();
            now.ended = true;
            std::mem::take(&mut now.kept)
        };
        drop(kept);
        self.server.end();
    }

    /// Begins to use it; none if it has ended.
    pub(super) fn enter(self: &Arc<Self>) -> Option<InUse> {
        let mut now = self.lock();
        if now.ended {
            return None;
        }
        now.users += 1;
        now.turn += 1;
        Some(InUse(self.clone()))
    }

    /// Hands it a stream of a client to serve.
    pub(super) fn serve(&self, stream: std::os::fd::BorrowedFd<'_>, held: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        self.server.serve(stream, Some(held))
    }

    fn lock(&self) -> MutexGuard<'_, Use> {
        self.use_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody has used it for a while, and ends it. Only one does so at a time.
    async fn end_when_unused(self: Arc<Self>) {
        let mut seen = self.lock().turn;
        loop {
            tokio::time::sleep(IDLE).await;
            let mut now = self.lock();
            if now.ended || now.users > 0 {
                // Whoever leaves last waits anew.
                now.watched = false;
                return;
            }
            if now.turn == seen {
                now.ended = true;
                break;
            }
            seen = now.turn;
        }
        // Its end is waited for where waiting is allowed.
        drop(tokio::task::spawn_blocking(move || self.end()));
    }
}

impl InUse {
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.0
    }

    /// A conversation: one that was kept, or a new one.
    pub(super) fn talk(&self) -> Result<Talk, SessionError> {
        if let Some(kept) = self.0.lock().kept.pop() {
            return Ok(kept);
        }
        let (ours, theirs) = UnixStream::pair().map_err(SessionError::Stream)?;
        for stream in [&ours, &theirs] {
            // More than the kernel's usual, if it lets us.
            let _ = sockopt::set_socket_send_buffer_size_force(stream, ON_THE_WAY);
        }
        ours.set_read_timeout(Some(PATIENCE)).and_then(|()| ours.set_write_timeout(Some(PATIENCE))).map_err(SessionError::Stream)?;
        self.0.server.serve(theirs.as_fd(), None).map_err(SessionError::Stream)?;
        drop(theirs);
        Session::begin(ours, &[])
    }

    /// Keeps a conversation in which nothing is under way.
    pub(super) fn keep(&self, talk: Talk) {
        let mut now = self.0.lock();
        if !now.ended && now.kept.len() < KEPT {
            now.kept.push(talk);
        }
    }

    /// Stops using it. The last one out sees to it that it is ended later.
    pub(super) fn leave(&self, runtime: &tokio::runtime::Handle) {
        let mut now = self.0.lock();
        now.users -= 1;
        if now.users == 0 && !now.watched && !now.ended {
            now.watched = true;
            runtime.spawn(self.0.clone().end_when_unused());
        }
    }
}
