//! Callers: the daemon, a later one, or somebody by hand.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coffer_runtime_spec::{Call, Connection, Message, WireError};

use super::poll::{Interest, Token};
use super::{Monitor, RefusalKind, refusal};

/// One call of one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) peer: u64,
    pub(super) call: u64,
}

/// One caller.
#[derive(Debug)]
pub(super) struct Peer {
    connection: Connection,
    pub(super) subscribed: bool,
    /// Messages that did not fit in the socket.
    waiting: VecDeque<(Message, Vec<OwnedFd>)>,
}

/// A caller that lets more than this many messages wait is dropped.
const MOST_WAITING: usize = 10_000;

impl Peer {
    /// Sends what waits, as far as there is room.
    fn flush(&mut self) -> Result<(), WireError> {
        while let Some((message, fds)) = self.waiting.front() {
            let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match self.connection.send(message, &borrowed) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.would_block() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Monitor {
    /// Talks to one more caller.
    pub(super) fn add_peer(&mut self, connection: Connection) -> io::Result<()> {
        connection.set_nonblocking(true)?;
        let id = self.next_id();
        self.poll.add(&connection, Token::Peer(id), Interest::Read)?;
        self.peers.insert(id, Peer { connection, subscribed: false, waiting: VecDeque::new() });
        Ok(())
    }

    /// Takes all who wait to connect. Only root and our own user are let in, whatever the socket's mode became.
    pub(super) fn accept(&mut self) {
        while let Some(Ok(socket)) = self.listening.as_ref().map(|listening| listening.listener.accept()) {
            let ours = rustix::process::geteuid().as_raw();
            if socket.peer().is_ok_and(|peer| peer.uid == 0 || peer.uid == ours) {
                let _ = self.add_peer(Connection::new(socket));
            }
        }
    }

    /// Reads what a caller says and tells it what waits.
    pub(super) fn peer_ready(&mut self, id: u64) {
        loop {
            let Some(peer) = self.peers.get_mut(&id) else { return };
            match peer.connection.receive::<Call>() {
                Ok(Some((call, fds))) => self.request(Asker { peer: id, call: call.id }, call.request, fds),
                Err(error) if error.would_block() => break,
                Ok(None) => return self.drop_peer(id),
                Err(error) => {
                    // There is no number to answer to: a version that we do not know, or no caller of ours at all.
                    let text = coffer_base::chain(&error);
                    self.answer(Asker { peer: id, call: 0 }, Err(refusal(RefusalKind::Invalid, text)), Vec::new());
                    return self.drop_peer(id);
                }
            }
        }
        self.flush(id);
    }

    /// Sends a message, now or when there is room.
    pub(super) fn tell(&mut self, id: u64, message: Message, fds: Vec<OwnedFd>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.waiting.push_back((message, fds));
        self.flush(id);
    }

    fn flush(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.flush().is_err() || peer.waiting.len() > MOST_WAITING {
            return self.drop_peer(id);
        }
        let interest = if peer.waiting.is_empty() { Interest::Read } else { Interest::ReadWrite };
        let _ = self.poll.change(&peer.connection, Token::Peer(id), interest);
    }

    fn drop_peer(&mut self, id: u64) {
        if self.peers.remove(&id).is_some() {
            self.adopt_execs_of(id);
        }
    }
}
