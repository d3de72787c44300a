//! The loop of a proxy: accepts, connects, hands on.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use coffer_runtime_spec::{Endpoint, Proxy};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::datagrams::{Client, Exchange, Kind, LONGEST, Wants};
use super::streams::{Pair, Pipes, Progress};
use super::{header, listen};

/// How long somebody who sends datagrams is remembered after the last one.
const IDLE: Duration = Duration::from_secs(300);

/// How many senders of datagrams are remembered.
const MOST_SENDERS: usize = 4096;

/// What the loop holds.
pub(super) struct Forwarder<'a> {
    epoll: OwnedFd,
    /// The monitor holds the other end.
    _leash: BorrowedFd<'a>,
    listeners: Vec<Listener>,
    sessions: BTreeMap<u64, Session>,
    /// Senders of datagrams: the listening socket, their address, and their session.
    senders: BTreeMap<(usize, Vec<u8>), u64>,
    last_id: u64,
    pipes: Pipes,
    /// Pairs with more to do right now.
    again: Vec<u64>,
    /// There are no descriptors left: nobody is accepted until somebody has gone.
    full: bool,
    forget_at: Option<Instant>,
    buffer: Vec<u8>,
}

struct Listener {
    socket: OwnedFd,
    kind: Kind,
    target: Endpoint,
    tells_sender: bool,
}

enum Session {
    Pair(Pair),
    Exchange(Exchange),
}

/// Whom an event is for, as the number that travels through the kernel: two bits say which socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Leash,
    Listener(usize),
    Client(u64),
    Upstream(u64),
}

impl Token {
    fn data(self) -> EventData {
        EventData::new_u64(match self {
            Self::Leash => 0,
            Self::Listener(at) => (at as u64) << 2 | 1,
            Self::Client(id) => id << 2 | 2,
            Self::Upstream(id) => id << 2 | 3,
        })
    }

    fn of(data: EventData) -> Self {
        let number = data.u64();
        match number & 3 {
            0 => Self::Leash,
            1 => Self::Listener((number >> 2) as usize),
            2 => Self::Client(number >> 2),
            _ => Self::Upstream(number >> 2),
        }
    }
}

impl<'a> Forwarder<'a> {
    /// Takes over the sockets, which are in the order of the proxy.
    pub(super) fn new(proxy: &Proxy, sockets: Vec<OwnedFd>, leash: BorrowedFd<'a>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, leash, Token::Leash.data(), EventFlags::IN)?;
        let target = |at: usize| proxy.connect.get(at).or_else(|| proxy.connect.first()).cloned().ok_or(Errno::INVAL);
        let mut listeners = Vec::new();
        for (at, (socket, endpoint)) in sockets.into_iter().zip(&proxy.listen).enumerate() {
            epoll::add(&epoll, &socket, Token::Listener(at).data(), EventFlags::IN)?;
            listeners.push(Listener { socket, kind: kind(endpoint), target: target(at)?, tells_sender: proxy.proxy_protocol });
        }
        Ok(Self {
            epoll,
            _leash: leash,
            listeners,
            sessions: BTreeMap::new(),
            senders: BTreeMap::new(),
            last_id: 0,
            pipes: Pipes::default(),
            again: Vec::new(),
            full: false,
            forget_at: None,
            buffer: vec![0; LONGEST],
        })
    }

    /// Hands on until the leash ends.
    fn serve(&mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        loop {
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for at in std::mem::take(&mut self.again) {
                self.advance(at);
            }
            for event in &events {
                match Token::of(event.data) {
                    Token::Leash => return Ok(()),
                    Token::Listener(at) => self.ready(at),
                    Token::Client(id) | Token::Upstream(id) => self.advance(id),
                }
            }
            self.forget_idle();
        }
    }

    /// How long nothing needs to be done: no time at all while a pair has more to do.
    fn timeout(&self) -> Option<Timespec> {
        let wait = if self.again.is_empty() {
            self.forget_at?.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
        } else {
            Duration::ZERO
        };
        Timespec::try_from(wait).ok()
    }

    fn ready(&mut self, at: usize) {
        match self.listeners.get(at).map(|listener| listener.kind) {
            Some(Kind::Stream) => self.accept(at),
            Some(Kind::Datagram) => self.receive(at),
            None => {}
        }
    }

    fn accept(&mut self, at: usize) {
        loop {
            let listener = &self.listeners[at];
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match rustix::net::acceptfrom_with(&listener.socket, flags) {
                Ok((client, from)) => {
                    if self.connect(at, client, from).is_err_and(|error| is_full(&error)) {
                        return self.stop_accepting();
                    }
                }
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return self.stop_accepting(),
                Err(_) => return,
            }
        }
    }

    /// Connects a new client. Where nobody takes the connection the client's is closed.
    fn connect(&mut self, at: usize, client: OwnedFd, from: Option<SocketAddrAny>) -> io::Result<()> {
        let listener = &self.listeners[at];
        let (upstream, kind) = open(&listener.target)?;
        let id = self.last_id + 1;
        let session = match kind {
            Kind::Stream => {
                keep_alive(&client);
                let beginning = if listener.tells_sender { sender_line(&client, from) } else { Vec::new() };
                Session::Pair(Pair::new(client, upstream, beginning))
            }
            Kind::Datagram => Session::Exchange(Exchange::new(Client::Stream(client), upstream, kind)),
        };
        self.add(id, session)
    }

    fn add(&mut self, id: u64, session: Session) -> io::Result<()> {
        match &session {
            Session::Pair(pair) => {
                // Told once each time something becomes possible: a pair then does all that is.
                let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                epoll::add(&self.epoll, &pair.client, Token::Client(id).data(), all)?;
                epoll::add(&self.epoll, &pair.upstream, Token::Upstream(id).data(), all)?;
            }
            Session::Exchange(exchange) => {
                if let Client::Stream(client) = &exchange.client {
                    epoll::add(&self.epoll, client, Token::Client(id).data(), flags(exchange.wants_of_client()))?;
                }
                epoll::add(&self.epoll, &exchange.upstream, Token::Upstream(id).data(), flags(exchange.wants_of_upstream()))?;
            }
        }
        self.last_id = id;
        self.sessions.insert(id, session);
        Ok(())
    }

    /// Takes what senders of datagrams have sent.
    fn receive(&mut self, at: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..64 {
            let received = rustix::net::recvfrom(&self.listeners[at].socket, buffer.as_mut_slice(), RecvFlags::empty());
            let Ok((_, count, Some(address))) = received else { break };
            let Some(id) = self.sender(at, address) else { continue };
            let said = match self.sessions.get_mut(&id) {
                Some(Session::Exchange(exchange)) => exchange.say(&buffer[..count]),
                Some(Session::Pair(_)) | None => Ok(()),
            };
            match said {
                Ok(()) => self.watch(id),
                Err(_) => self.end(id),
            }
        }
        self.buffer = buffer;
    }

    /// The session of a sender of datagrams, new if it is.
    fn sender(&mut self, at: usize, address: SocketAddrAny) -> Option<u64> {
        let key = (at, address_bytes(&address));
        if let Some(id) = self.senders.get(&key) {
            return Some(*id);
        }
        if self.senders.len() >= MOST_SENDERS {
            return None;
        }
        let (upstream, kind) = open(&self.listeners[at].target).ok()?;
        let id = self.last_id + 1;
        let client = Client::Datagram { listener: at, address };
        self.add(id, Session::Exchange(Exchange::new(client, upstream, kind))).ok()?;
        self.senders.insert(key, id);
        self.forget_at.get_or_insert(Instant::now() + IDLE);
        Some(id)
    }

    fn advance(&mut self, id: u64) {
        let going = match self.sessions.get_mut(&id) {
            Some(Session::Pair(pair)) => match pair.advance(&mut self.pipes) {
                Ok(Progress::Waits) => true,
                Ok(Progress::More) => {
                    self.again.push(id);
                    true
                }
                Ok(Progress::Ended) | Err(_) => false,
            },
            Some(Session::Exchange(exchange)) => {
                let listener = match exchange.client {
                    Client::Datagram { listener, .. } => self.listeners.get(listener).map(|listener| listener.socket.as_fd()),
                    Client::Stream(_) => None,
                };
                exchange.advance(listener, &mut self.buffer).unwrap_or(false)
            }
            None => return,
        };
        if going { self.watch(id) } else { self.end(id) }
    }

    /// Has the kernel tell what an exchange now waits for.
    fn watch(&self, id: u64) {
        let Some(Session::Exchange(exchange)) = self.sessions.get(&id) else { return };
        if let Client::Stream(client) = &exchange.client {
            let _ = epoll::modify(&self.epoll, client, Token::Client(id).data(), flags(exchange.wants_of_client()));
        }
        let _ = epoll::modify(&self.epoll, &exchange.upstream, Token::Upstream(id).data(), flags(exchange.wants_of_upstream()));
    }

    fn end(&mut self, id: u64) {
        if let Some(Session::Exchange(Exchange { client: Client::Datagram { listener, address }, .. })) = self.sessions.remove(&id) {
            self.senders.remove(&(listener, address_bytes(&address)));
        }
        if self.full {
            self.full = false;
            for (at, listener) in self.listeners.iter().enumerate() {
                let _ = epoll::modify(&self.epoll, &listener.socket, Token::Listener(at).data(), EventFlags::IN);
            }
        }
    }

    /// Leaves those who come waiting until somebody has gone.
    fn stop_accepting(&mut self) {
        if self.sessions.is_empty() {
            return;
        }
        self.full = true;
        for (at, listener) in self.listeners.iter().enumerate() {
            let _ = epoll::modify(&self.epoll, &listener.socket, Token::Listener(at).data(), EventFlags::empty());
        }
    }

    /// Forgets senders of datagrams who have said and heard nothing for long.
    fn forget_idle(&mut self) {
        let now = Instant::now();
        if self.forget_at.is_none_or(|at| at > now) {
            return;
        }
        let used = |id: &u64| match self.sessions.get(id) {
            Some(Session::Exchange(exchange)) => exchange.used,
            Some(Session::Pair(_)) | None => now,
        };
        let ends: Vec<(u64, Instant)> = self.senders.values().map(|id| (*id, used(id) + IDLE)).collect();
        self.forget_at = ends.iter().map(|(_, end)| *end).filter(|end| *end > now).min();
        ends.into_iter().filter(|(_, end)| *end <= now).for_each(|(id, _)| self.end(id));
    }
}

/// Hands on until the leash ends; answers the exit status.
pub(super) fn run(mut forwarder: Forwarder<'_>) -> u8 {
    u8::from(forwarder.serve().is_err())
}

/// Opens a connection to the other side, which may still be in the making.
fn open(target: &Endpoint) -> io::Result<(OwnedFd, Kind)> {
    let under_way = |connected: Result<(), Errno>| match connected {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(()),
        Err(error) => Err(error),
    };
    match target {
        Endpoint::Tcp(address) => {
            let socket = listen::inet(*address, SocketType::STREAM)?;
            keep_alive(&socket);
            under_way(rustix::net::connect(&socket, address))?;
            Ok((socket, Kind::Stream))
        }
        Endpoint::Udp(address) => {
            let socket = listen::inet(*address, SocketType::DGRAM)?;
            rustix::net::connect(&socket, address)?;
            Ok((socket, Kind::Datagram))
        }
        Endpoint::Unix(path) => {
            let socket = listen::stream()?;
            rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_str())?)?;
            Ok((socket, Kind::Stream))
        }
        Endpoint::Abstract(name) => {
            let socket = listen::stream()?;
            rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
            Ok((socket, Kind::Stream))
        }
    }
}

/// Sends small pieces at once, and finds out about peers that vanished. A unix socket has neither.
fn keep_alive(socket: &OwnedFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_socket_keepalive(socket, true);
}

fn sender_line(client: &OwnedFd, from: Option<SocketAddrAny>) -> Vec<u8> {
    let address = |any: SocketAddrAny| SocketAddr::try_from(any).ok();
    let to = rustix::net::getsockname(client).ok().and_then(address);
    header::line(from.and_then(address).zip(to))
}

fn kind(endpoint: &Endpoint) -> Kind {
    match endpoint {
        Endpoint::Udp(_) => Kind::Datagram,
        Endpoint::Tcp(_) | Endpoint::Unix(_) | Endpoint::Abstract(_) => Kind::Stream,
    }
}

fn flags(wants: Wants) -> EventFlags {
    let one = |wanted: bool, flag: EventFlags| if wanted { flag } else { EventFlags::empty() };
    one(wants.read, EventFlags::IN) | one(wants.write, EventFlags::OUT)
}

fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// An address as bytes that can be compared.
fn address_bytes(address: &SocketAddrAny) -> Vec<u8> {
    match SocketAddr::try_from(address.clone()) {
        Ok(address) => address.to_string().into_bytes(),
        Err(_) => Vec::new(),
    }
}
