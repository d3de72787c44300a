//! Waiting for events.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Somebody connects.
    Listener,
    /// A peer says something, is gone, or can be told more.
    Peer(u64),
    /// The starting child says something.
    StartSync,
    /// The starting child failed or became init.
    StartStatus,
    /// Init has ended.
    Init,
    /// An exec's child failed or became the command.
    ExecStatus(u64),
    /// A command has ended.
    ExecEnded(u64),
    /// A command whose caller is gone has written something to this of its streams.
    ExecOutput(u64, u8),
    /// A job is done or failed.
    JobStatus(u64),
    /// The console has output.
    Console,
    /// A viewer of the console has typed or can take more.
    Viewer(u64),
    /// The freezer has done something.
    Freezer,
    /// A proxy listens or says why not.
    ProxyStatus(u64),
    /// A proxy has ended.
    ProxyEnded(u64),
    /// It is time to look whether init can be asked to halt.
    Halting,
    /// Somebody inside has installed a filter that hands calls on.
    Filters,
    /// Calls that such a filter has handed on.
    Calls(u64),
    /// A child has answered a call.
    Answered(u64),
}

impl Token {
    fn to_number(self) -> u64 {
        let (kind, id) = match self {
            Self::Listener => (0, 0),
            Self::Peer(id) => (1, id),
            Self::StartSync => (2, 0),
            Self::StartStatus => (3, 0),
            Self::Init => (4, 0),
            Self::ExecStatus(id) => (5, id),
            Self::ExecEnded(id) => (6, id),
            Self::ExecOutput(id, stream) => (7, id << 2 | u64::from(stream)),
            Self::JobStatus(id) => (8, id),
            Self::Console => (9, 0),
            Self::Viewer(id) => (10, id),
            Self::Freezer => (11, 0),
            Self::ProxyStatus(id) => (12, id),
            Self::ProxyEnded(id) => (13, id),
            Self::Halting => (14, 0),
            Self::Filters => (15, 0),
            Self::Calls(id) => (16, id),
            Self::Answered(id) => (17, id),
        };
        id << 5 | kind
    }

    fn from_number(number: u64) -> Option<Self> {
        let id = number >> 5;
        Some(match number & 31 {
            0 => Self::Listener,
            1 => Self::Peer(id),
            2 => Self::StartSync,
            3 => Self::StartStatus,
            4 => Self::Init,
            5 => Self::ExecStatus(id),
            6 => Self::ExecEnded(id),
            7 => Self::ExecOutput(id >> 2, (id & 3) as u8),
            8 => Self::JobStatus(id),
            9 => Self::Console,
            10 => Self::Viewer(id),
            11 => Self::Freezer,
            12 => Self::ProxyStatus(id),
            13 => Self::ProxyEnded(id),
            14 => Self::Halting,
            15 => Self::Filters,
            16 => Self::Calls(id),
            17 => Self::Answered(id),
            _ => return None,
        })
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Something to read, or the end.
    Read,
    /// That, or room to write.
    ReadWrite,
    /// Priority data: how kernel files tell that they changed.
    Changed,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::ReadWrite => EventFlags::IN | EventFlags::OUT,
            Self::Changed => EventFlags::PRI,
        }
    }
}

/// The set of descriptors that wake the loop.
#[derive(Debug)]
pub(super) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    /// Waits for nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Adds a descriptor. Closing its last copy removes it; a copy elsewhere must be removed by [`Poll::remove`].
    pub(super) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token.to_number()), interest.flags())?)
    }

    /// Changes what is waited for.
    pub(super) fn change(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token.to_number()), interest.flags())?)
    }

    /// Removes a descriptor.
    pub(super) fn remove(&self, fd: impl AsFd) {
        // One that was never added is removed as well as can be.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits for events, the ends of processes last: what they said before is heard first.
    pub(super) fn wait(&self) -> io::Result<Vec<Token>> {
        let mut events: Vec<Event> = Vec::with_capacity(32);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut tokens: Vec<Token> = events.iter().filter_map(|event| Token::from_number(event.data.u64())).collect();
        tokens.sort_by_key(|token| match token {
            Token::Init => 2,
            Token::ExecEnded(_) => 1,
            _ => 0,
        });
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let all = [
            Token::Listener,
            Token::Peer(7),
            Token::StartSync,
            Token::StartStatus,
            Token::Init,
            Token::ExecStatus(1 << 40),
            Token::ExecEnded(3),
            Token::ExecOutput(9, 2),
            Token::JobStatus(1),
            Token::Console,
            Token::Viewer(2),
            Token::Freezer,
            Token::ProxyStatus(4),
            Token::ProxyEnded(5),
            Token::Halting,
            Token::Filters,
            Token::Calls(6),
            Token::Answered(8),
        ];
        for token in all {
            assert_eq!(Token::from_number(token.to_number()), Some(token));
        }
    }
}
