//! A client and whom it is connected to where at least one of both speaks in datagrams: copied here, message by message.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

use super::streams::connected;

/// The longest datagram.
pub(super) const LONGEST: usize = 65_535;

/// Bytes that wait for a stream which takes none; further datagrams for it are lost, as datagrams may be.
const MOST_WAITING: usize = 256 << 10;

/// Datagrams that are handed on before others have their turn.
const ROUNDS: u32 = 64;

/// A client and whom it is connected to.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) client: Client,
    pub(super) upstream: OwnedFd,
    upstream_kind: Kind,
    connecting: bool,
    to_upstream: Vec<u8>,
    to_client: Vec<u8>,
    /// When something was last said.
    pub(super) used: Instant,
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Client {
    /// Somebody with a connection.
    Stream(OwnedFd),
    /// Somebody who sends to the listening socket of this number.
    Datagram {
        /// The listening socket.
        listener: usize,
        /// Whom answers go to.
        address: SocketAddrAny,
    },
}

/// How a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In bytes.
    Stream,
    /// In messages.
    Datagram,
}

/// What an exchange waits for at one of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Exchange {
    pub(super) fn new(client: Client, upstream: OwnedFd, upstream_kind: Kind) -> Self {
        let connecting = upstream_kind == Kind::Stream;
        Self { client, upstream, upstream_kind, connecting, to_upstream: Vec::new(), to_client: Vec::new(), used: Instant::now() }
    }

    /// Takes a datagram of the client.
    ///
    /// # Errors
    /// If the other side is gone.
    pub(super) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.used = Instant::now();
        match self.upstream_kind {
            Kind::Datagram => lost_is_fine(rustix::net::send(&self.upstream, bytes, SendFlags::NOSIGNAL)),
            Kind::Stream => {
                if self.to_upstream.len() + bytes.len() <= MOST_WAITING {
                    self.to_upstream.extend_from_slice(bytes);
                }
                self.flush()
            }
        }
    }

    /// Goes on after an event of either socket; false when it has ended. `listener` is whom answers to datagrams go through.
    ///
    /// # Errors
    /// If either side is gone.
    pub(super) fn advance(&mut self, listener: Option<BorrowedFd<'_>>, buffer: &mut [u8]) -> io::Result<bool> {
        self.flush()?;
        if self.connecting {
            return Ok(true);
        }
        Ok(self.hear_client(buffer)? && self.hear_upstream(listener, buffer)?)
    }

    fn hear_client(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..ROUNDS {
            let Client::Stream(client) = &self.client else { return Ok(true) };
            if !self.to_upstream.is_empty() {
                return Ok(true);
            }
            match receive(client.as_fd(), buffer)? {
                Some(0) => return Ok(false),
                Some(count) => {
                    let bytes = buffer[..count].to_vec();
                    self.say(&bytes)?;
                }
                None => return Ok(true),
            }
        }
        Ok(true)
    }

    fn hear_upstream(&mut self, listener: Option<BorrowedFd<'_>>, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..ROUNDS {
            if !self.to_client.is_empty() {
                return Ok(true);
            }
            let count = match receive(self.upstream.as_fd(), buffer)? {
                Some(0) if self.upstream_kind == Kind::Stream => return Ok(false),
                Some(count) => count,
                None => return Ok(true),
            };
            self.used = Instant::now();
            match (&self.client, listener) {
                (Client::Datagram { address, .. }, Some(listener)) => {
                    lost_is_fine(rustix::net::sendto(listener, &buffer[..count], SendFlags::NOSIGNAL, address))?;
                }
                (Client::Datagram { .. }, None) => return Ok(false),
                (Client::Stream(_), _) => {
                    self.to_client.extend_from_slice(&buffer[..count]);
                    self.flush()?;
                }
            }
        }
        Ok(true)
    }

    /// Sends what waits, as far as there is room.
    fn flush(&mut self) -> io::Result<()> {
        if self.connecting {
            self.connecting = !connected(self.upstream.as_fd())?;
        }
        if !self.connecting {
            send_waiting(self.upstream.as_fd(), &mut self.to_upstream)?;
        }
        if let Client::Stream(client) = &self.client {
            send_waiting(client.as_fd(), &mut self.to_client)?;
        }
        Ok(())
    }

    pub(super) fn wants_of_client(&self) -> Wants {
        Wants { read: self.to_upstream.is_empty() && !self.connecting, write: !self.to_client.is_empty() }
    }

    pub(super) fn wants_of_upstream(&self) -> Wants {
        Wants { read: self.to_client.is_empty() && !self.connecting, write: self.connecting || !self.to_upstream.is_empty() }
    }
}

fn send_waiting(socket: BorrowedFd<'_>, waiting: &mut Vec<u8>) -> io::Result<()> {
    while !waiting.is_empty() {
        match rustix::net::send(socket, waiting, SendFlags::NOSIGNAL) {
            Ok(count) => drop(waiting.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match rustix::net::recv(socket, buffer, RecvFlags::empty()) {
        Ok((_, count)) => Ok(Some(count)),
        // Nobody listens there now; a datagram that was sent is lost, and a later one may not be.
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A datagram that is not taken is lost, which its sender has to reckon with.
fn lost_is_fine(sent: Result<usize, Errno>) -> io::Result<()> {
    match sent {
        Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::CONNREFUSED | Errno::NOBUFS | Errno::MSGSIZE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
