//! Two streams, each one's data moved into the other inside the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags};

/// How much is moved at a time: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// How often one pair is moved on before others have their turn.
const ROUNDS: u32 = 16;

/// A client and whom it is connected to.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) client: OwnedFd,
    pub(super) upstream: OwnedFd,
    /// What is sent first, once the connection stands; absent when it does and was sent.
    beginning: Option<Vec<u8>>,
    up: Direction,
    down: Direction,
}

/// What became of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It waits for the kernel.
    Waits,
    /// There is more to do right now.
    More,
    /// Both directions have ended.
    Ended,
}

/// One direction. It has a pipe only while data is on its way, so that idle connections hold none.
#[derive(Debug, Default)]
struct Direction {
    pipe: Option<Pipe>,
    held: usize,
    ended: bool,
    closed: bool,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Empty pipes for whoever needs one.
#[derive(Debug, Default)]
pub(super) struct Pipes(Vec<Pipe>);

impl Pipes {
    fn take(&mut self) -> io::Result<Pipe> {
        if let Some(pipe) = self.0.pop() {
            return Ok(pipe);
        }
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Pipe { read, write })
    }

    fn give(&mut self, pipe: Pipe) {
        if self.0.len() < MOST_SPARE {
            self.0.push(pipe);
        }
    }
}

/// Spare pipes that are kept.
const MOST_SPARE: usize = 32;

impl Pair {
    /// Pairs a client with a connection that is being made. `beginning` is sent before the client's data.
    pub(super) fn new(client: OwnedFd, upstream: OwnedFd, beginning: Vec<u8>) -> Self {
        Self { client, upstream, beginning: Some(beginning), up: Direction::default(), down: Direction::default() }
    }

    /// Moves what there is.
    ///
    /// # Errors
    /// If either side is gone.
    pub(super) fn advance(&mut self, pipes: &mut Pipes) -> io::Result<Progress> {
        if let Some(beginning) = &self.beginning {
            match connected(self.upstream.as_fd())? {
                false => return Ok(Progress::Waits),
                // It is the first that is sent, and short: it fits.
                true if !beginning.is_empty() => send_all(self.upstream.as_fd(), beginning)?,
                true => {}
            }
            self.beginning = None;
        }
        for _ in 0..ROUNDS {
            let up = self.up.advance(self.client.as_fd(), self.upstream.as_fd(), pipes)?;
            let down = self.down.advance(self.upstream.as_fd(), self.client.as_fd(), pipes)?;
            if self.up.closed && self.down.closed {
                return Ok(Progress::Ended);
            }
            if !up && !down {
                return Ok(Progress::Waits);
            }
        }
        Ok(Progress::More)
    }
}

impl Direction {
    /// Moves one chunk; true if anything moved.
    fn advance(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, pipes: &mut Pipes) -> io::Result<bool> {
        if self.closed {
            return Ok(false);
        }
        let pipe = match self.pipe.take() {
            Some(pipe) => pipe,
            None => pipes.take()?,
        };
        let mut moved = false;
        if !self.ended && self.held < CHUNK {
            match splice(from, pipe.write.as_fd(), CHUNK - self.held)? {
                Some(0) => {
                    self.ended = true;
                    moved = true;
                }
                Some(count) => {
                    self.held += count;
                    moved = true;
                }
                None => {}
            }
        }
        if self.held > 0
            && let Some(count) = splice(pipe.read.as_fd(), to, self.held)?
        {
            self.held -= count;
            moved |= count > 0;
        }
        match self.held {
            0 => pipes.give(pipe),
            _ => self.pipe = Some(pipe),
        }
        if self.ended && self.held == 0 {
            self.closed = true;
            // One that is gone already needs not be told.
            let _ = rustix::net::shutdown(to, Shutdown::Write);
        }
        Ok(moved)
    }
}

/// Moves data without copying it here; `None` if there is nothing to move or no room now.
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<Option<usize>> {
    match rustix::pipe::splice(from, None, to, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says whether a connection that is being made stands.
///
/// # Errors
/// If it was refused.
pub(super) fn connected(socket: BorrowedFd<'_>) -> io::Result<bool> {
    rustix::net::sockopt::socket_error(socket)??;
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(true),
        Err(Errno::NOTCONN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Sends a short text as a whole.
fn send_all(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)? {
        count if count == bytes.len() => Ok(()),
        _ => Err(Errno::NOBUFS.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Pair, UnixStream, UnixStream) {
        let ((client, inner), (upstream, server)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        inner.set_nonblocking(true).unwrap();
        upstream.set_nonblocking(true).unwrap();
        (Pair::new(inner.into(), upstream.into(), b"hello ".to_vec()), client, server)
    }

    #[test]
    fn data_goes_both_ways_and_ends_are_told() {
        let (mut pair, mut client, mut server) = pair();
        let mut pipes = Pipes::default();
        client.write_all(b"there").unwrap();
        assert_eq!(pair.advance(&mut pipes).unwrap(), Progress::Waits);
        let mut said = [0; 11];
        server.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello there");
        server.write_all(b"answer").unwrap();
        drop(server);
        assert_eq!(pair.advance(&mut pipes).unwrap(), Progress::Waits);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        drop(client);
        assert_eq!(pair.advance(&mut pipes).unwrap(), Progress::Ended);
        assert_eq!(pipes.0.len(), 1, "one pipe served both directions in turn");
    }

    #[test]
    fn who_does_not_read_holds_up_its_own_direction_only() {
        let (mut pair, mut client, mut server) = pair();
        let mut pipes = Pipes::default();
        client.set_nonblocking(true).unwrap();
        let mut sent = 0;
        loop {
            match client.write(&[1; 4096]) {
                Ok(count) => sent += count,
                Err(_) if pair.advance(&mut pipes).unwrap() == Progress::More => {}
                Err(_) => match client.write(&[1; 4096]) {
                    Ok(count) => sent += count,
                    Err(_) => break,
                },
            }
        }
        server.write_all(b"still here").unwrap();
        pair.advance(&mut pipes).unwrap();
        let mut answer = [0; 10];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"still here");
        // All of it arrives once it is read.
        client.shutdown(std::net::Shutdown::Write).unwrap();
        server.set_nonblocking(true).unwrap();
        let (mut got, mut buffer) = (0, [0; 8192]);
        loop {
            match server.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(_) => drop(pair.advance(&mut pipes).unwrap()),
            }
        }
        assert_eq!(got, sent + b"hello ".len());
    }
}
