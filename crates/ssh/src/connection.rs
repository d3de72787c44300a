//! One connection, from its first byte on.
//!
//! ```text
//! version ─▶ keys ─▶ who is it ─▶ channel ─▶ subsystem ─▶ data both ways ─▶ end
//!             ▲ └───────────────── again, whenever the client likes ───┘
//! ```

use std::sync::Arc;

use ring::digest::{SHA256, digest};

use crate::cipher::{Reading, Writing};
use crate::exchange::{self, Agreed, HostKey, Said};
use crate::field::{Fields, Text};
use crate::{SshError, message};

/// Who may come in.
#[derive(Clone, Debug)]
pub struct Access {
    /// The user.
    pub user: String,
    /// Its password; without one, everybody may.
    pub password: Option<String>,
}

/// The one subsystem that there is.
const SUBSYSTEM: &[u8] = b"sftp";

/// How much a client may send before it was taken.
const WINDOW: u32 = 2 << 20;

/// The most that one message of a channel carries, either way.
const PIECE: u32 = 32 << 10;

/// How many passwords may be tried.
const TRIES: u32 = 6;

/// Where an exchange of keys stands.
enum Exchange {
    None,
    /// We have said what we speak.
    Offered(Vec<u8>),
    /// So has the client.
    Agreed {
        ours: Vec<u8>,
        theirs: Vec<u8>,
        skip: bool,
    },
    /// The client has what it needs; its next messages are encrypted with this.
    Replied([u8; 64]),
}

/// The channel.
#[derive(Debug, Default)]
struct Channel {
    /// The client's number for it.
    number: u32,
    /// What the client takes before it says that it takes more.
    theirs: u32,
    /// What it takes at once.
    piece: u32,
    /// What the client may still send.
    ours: u32,
    /// What was taken and not yet told.
    taken: u32,
    begun: bool,
    finished: bool,
}

/// A client's connection, as the server has it.
pub struct Connection {
    host: Arc<HostKey>,
    access: Arc<Access>,
    reading: Reading,
    writing: Writing,
    our_version: Vec<u8>,
    their_version: Option<Vec<u8>>,
    exchange: Exchange,
    strict: bool,
    session: Option<Vec<u8>>,
    is_known: bool,
    tries: u32,
    channel: Option<Channel>,
    data: Vec<u8>,
    ended: bool,
}

impl Connection {
    /// Begins: what this server is called, as `Coffer_1.0`, is the first that a client reads.
    ///
    /// # Errors
    /// [`SshError::Random`].
    pub fn new(host: Arc<HostKey>, access: Arc<Access>, software: &str) -> Result<Self, SshError> {
        let our_version = format!("SSH-2.0-{software}").into_bytes();
        let offer = exchange::offer()?;
        let mut writing = Writing::default();
        writing.buffer.extend_from_slice(&our_version);
        writing.buffer.extend_from_slice(b"\r\n");
        writing.message(&offer);
        Ok(Self {
            host,
            access,
            reading: Reading::default(),
            writing,
            our_version,
            their_version: None,
            exchange: Exchange::Offered(offer),
            strict: false,
            session: None,
            is_known: false,
            tries: 0,
            channel: None,
            data: Vec::new(),
            ended: false,
        })
    }

    /// Takes what the client has sent.
    ///
    /// # Errors
    /// The connection is of no use any more, and says why.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), SshError> {
        self.reading.add(bytes);
        if self.their_version.is_none() {
            let Some(line) = self.reading.line()? else { return Ok(()) };
            if !line.starts_with(b"SSH-2.0-") && !line.starts_with(b"SSH-1.99-") {
                return Err(SshError::Version);
            }
            self.their_version = Some(line);
        }
        while let Some(message) = self.reading.message()? {
            self.message(&message)?;
        }
        Ok(())
    }

    /// What is to be sent to the client.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.writing.buffer
    }

    /// Says that this much of [`Connection::output`] was sent.
    pub fn sent(&mut self, length: usize) {
        self.writing.buffer.drain(..length.min(self.writing.buffer.len()));
    }

    /// Whether the client has asked for the subsystem.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.begun)
    }

    /// Whether the client has said that nothing more will come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What the client has sent to the subsystem and was not taken yet.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Says that this much of [`Connection::data`] was taken, so that the client may send more.
    pub fn taken(&mut self, length: usize) {
        self.data.drain(..length.min(self.data.len()));
        let Some(channel) = &mut self.channel else { return };
        channel.taken += length as u32;
        if channel.taken >= WINDOW / 4 && !channel.finished && matches!(self.exchange, Exchange::None) {
            channel.ours += channel.taken;
            self.writing.message(&Text::of(message::CHANNEL_WINDOW_ADJUST).number(channel.number).number(channel.taken).0);
            channel.taken = 0;
        }
    }

    /// How much of the subsystem's the client takes now.
    #[must_use]
    pub fn room(&self) -> usize {
        match (&self.channel, &self.exchange) {
            (Some(channel), Exchange::None) if channel.begun && !channel.finished => channel.theirs.min(channel.piece) as usize,
            _ => 0,
        }
    }

    /// Sends what the subsystem says, no more than there is [`Connection::room`] for.
    pub fn send(&mut self, bytes: &[u8]) {
        let Some(channel) = &mut self.channel else { return };
        channel.theirs = channel.theirs.saturating_sub(bytes.len() as u32);
        self.writing.message(&Text::of(message::CHANNEL_DATA).number(channel.number).string(bytes).0);
    }

    /// Tells the client that the subsystem has ended.
    pub fn finish(&mut self) {
        let Some(channel) = self.channel.as_mut().filter(|channel| !channel.finished) else { return };
        channel.finished = true;
        let number = channel.number;
        self.writing.message(&Text::of(message::CHANNEL_EOF).number(number).0);
        self.writing.message(&Text::of(message::CHANNEL_CLOSE).number(number).0);
    }

    fn message(&mut self, message: &[u8]) -> Result<(), SshError> {
        let kind = message.first().copied().unwrap_or_default();
        if let Exchange::Agreed { skip, .. } = &mut self.exchange
            && std::mem::take(skip)
        {
            return Ok(());
        }
        match (kind, std::mem::replace(&mut self.exchange, Exchange::None)) {
            (message::DISCONNECT, _) => Err(SshError::Ended),
            (message::KEX_INIT, Exchange::Offered(ours)) => self.agree(ours, message),
            (message::KEX_INIT, Exchange::None) if self.session.is_some() => {
                let ours = exchange::offer()?;
                self.writing.message(&ours);
                self.agree(ours, message)
            }
            (message::KEX_ECDH_INIT, Exchange::Agreed { ours, theirs, .. }) => self.make_keys(&ours, &theirs, message),
            (message::NEW_KEYS, Exchange::Replied(key)) => {
                self.reading.take_key(&key, self.strict);
                // What could not be said meanwhile.
                self.taken(0);
                Ok(())
            }
            // Nothing else before there are keys, whoever it may come from.
            (_, Exchange::None) if self.session.is_some() => self.after_keys(kind, message),
            (message::IGNORE | message::DEBUG, exchange) if self.session.is_some() => {
                self.exchange = exchange;
                Ok(())
            }
            _ => Err(SshError::Unexpected(kind)),
        }
    }

    fn agree(&mut self, ours: Vec<u8>, theirs: &[u8]) -> Result<(), SshError> {
        let Agreed { strict, skip } = exchange::agree(theirs)?;
        if self.session.is_none() {
            self.strict = strict;
        }
        self.exchange = Exchange::Agreed { ours, theirs: theirs.to_vec(), skip };
        Ok(())
    }

    fn make_keys(&mut self, ours: &[u8], theirs: &[u8], message: &[u8]) -> Result<(), SshError> {
        let their_version = self.their_version.as_deref().unwrap_or_default();
        let said = Said { their_version, our_version: &self.our_version, their_offer: theirs, our_offer: ours };
        let keys = exchange::exchange(&self.host, &said, message, self.session.as_deref())?;
        self.writing.message(&keys.reply);
        self.writing.message(&[message::NEW_KEYS]);
        self.writing.take_key(&keys.to_client, self.strict);
        self.session.get_or_insert(keys.hash);
        self.exchange = Exchange::Replied(keys.from_client);
        Ok(())
    }

    fn after_keys(&mut self, kind: u8, message: &[u8]) -> Result<(), SshError> {
        let mut fields = Fields(message.get(1..).unwrap_or_default());
        match kind {
            message::IGNORE | message::DEBUG | message::UNIMPLEMENTED | message::EXTENSIONS => Ok(()),
            message::SERVICE_REQUEST => match fields.string()? {
                service @ b"ssh-userauth" => {
                    self.writing.message(&Text::of(message::SERVICE_ACCEPT).string(service).0);
                    Ok(())
                }
                _ => Err(SshError::Unexpected(kind)),
            },
            message::USERAUTH_REQUEST if !self.is_known => self.authenticate(&mut fields),
            // Once somebody is known it means nothing any more. Source: RFC 4252, section 5.1.
            message::USERAUTH_REQUEST => Ok(()),
            _ if !self.is_known => Err(SshError::Unexpected(kind)),
            message::GLOBAL_REQUEST => {
                fields.string()?;
                if fields.flag()? {
                    self.writing.message(&[message::REQUEST_FAILURE]);
                }
                Ok(())
            }
            message::CHANNEL_OPEN => self.open(&mut fields),
            _ => self.of_channel(kind, &mut fields),
        }
    }

    fn authenticate(&mut self, fields: &mut Fields<'_>) -> Result<(), SshError> {
        let (user, service, method) = (fields.string()?, fields.string()?, fields.string()?);
        self.is_known = service == b"ssh-connection"
            && match (&self.access.password, method) {
                (None, _) => true,
                (Some(_), b"none") => false,
                (Some(password), b"password") => {
                    self.tries += 1;
                    let is_change = fields.flag()?;
                    let given = fields.string()?;
                    !is_change && user == self.access.user.as_bytes() && is_same(given, password.as_bytes())
                }
                (Some(_), _) => false,
            };
        let answer = if self.is_known {
            Text::of(message::USERAUTH_SUCCESS)
        } else if self.tries < TRIES {
            Text::of(message::USERAUTH_FAILURE).string(b"password").flag(false)
        } else {
            return Err(SshError::Passwords);
        };
        self.writing.message(&answer.0);
        Ok(())
    }

    fn open(&mut self, fields: &mut Fields<'_>) -> Result<(), SshError> {
        let (kind, number, theirs, piece) = (fields.string()?, fields.number()?, fields.number()?, fields.number()?);
        // Source: RFC 4254, section 5.1: unknown type, shortage.
        let refused = match kind {
            b"session" if self.channel.is_none() => None,
            b"session" => Some((4, "there is one channel to a connection")),
            _ => Some((3, "there are sessions alone")),
        };
        let answer = match refused {
            Some((reason, why)) => Text::of(message::CHANNEL_OPEN_FAILURE).number(number).number(reason).string(why.as_bytes()).string(b""),
            None => {
                self.channel = Some(Channel { number, theirs, piece: piece.min(PIECE), ours: WINDOW, ..Channel::default() });
                Text::of(message::CHANNEL_OPEN_CONFIRMATION).number(number).number(0).number(WINDOW).number(PIECE)
            }
        };
        self.writing.message(&answer.0);
        Ok(())
    }

    fn of_channel(&mut self, kind: u8, fields: &mut Fields<'_>) -> Result<(), SshError> {
        let Some(channel) = self.channel.as_mut() else { return Err(SshError::Unexpected(kind)) };
        if fields.number()? != 0 {
            return Err(SshError::Unexpected(kind));
        }
        match kind {
            message::CHANNEL_WINDOW_ADJUST => channel.theirs = channel.theirs.saturating_add(fields.number()?),
            message::CHANNEL_DATA if channel.begun => {
                let data = fields.string()?;
                channel.ours = channel.ours.checked_sub(data.len() as u32).ok_or(SshError::Damaged)?;
                self.data.extend_from_slice(data);
            }
            message::CHANNEL_REQUEST => {
                let request = fields.string()?;
                let wants_answer = fields.flag()?;
                let begins = request == b"subsystem" && fields.string()? == SUBSYSTEM && !channel.begun;
                channel.begun |= begins;
                if wants_answer {
                    let answer = if begins { message::CHANNEL_SUCCESS } else { message::CHANNEL_FAILURE };
                    self.writing.message(&Text::of(answer).number(channel.number).0);
                }
            }
            message::CHANNEL_EOF => self.ended = true,
            message::CHANNEL_CLOSE => {
                self.ended = true;
                self.finish();
            }
            message::CHANNEL_EXTENDED_DATA => return Err(SshError::Unexpected(kind)),
            _ => return Err(SshError::Unexpected(kind)),
        }
        Ok(())
    }
}

/// Compares in a time that says nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (digest(&SHA256, one), digest(&SHA256, other));
    one.as_ref().iter().zip(other.as_ref()).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connection() -> Connection {
        let access = Access { user: "somebody".into(), password: Some("right".into()) };
        Connection::new(Arc::new(HostKey::generate().unwrap()), Arc::new(access), "Coffer_0").unwrap()
    }

    /// A connection whose keys are made.
    fn with_keys() -> Connection {
        let mut connection = connection();
        (connection.exchange, connection.session) = (Exchange::None, Some(vec![1]));
        connection.writing = Writing::default();
        connection
    }

    /// The numbers of the messages that answer one.
    fn answer(connection: &mut Connection, message: Text) -> Result<Vec<u8>, SshError> {
        connection.message(&message.0)?;
        let mut reading = Reading::default();
        reading.add(&std::mem::take(&mut connection.writing.buffer));
        let mut kinds = Vec::new();
        while let Some(message) = reading.message()? {
            kinds.push(message[0]);
        }
        Ok(kinds)
    }

    fn login(user: &str, method: &str, password: &str) -> Text {
        let text = Text::of(message::USERAUTH_REQUEST).string(user.as_bytes()).string(b"ssh-connection").string(method.as_bytes());
        if method == "password" { text.flag(false).string(password.as_bytes()) } else { text }
    }

    #[test]
    fn nobody_gets_in_without_the_password() {
        let mut connection = with_keys();
        let open = || Text::of(message::CHANNEL_OPEN).string(b"session").number(0).number(9).number(9);
        assert_eq!(answer(&mut connection, open()), Err(SshError::Unexpected(message::CHANNEL_OPEN)));
        for (user, method, password) in [
            ("somebody", "none", ""),
            ("somebody", "publickey", ""),
            ("somebody", "password", "wrong"),
            ("other", "password", "right"),
            ("somebody", "password", ""),
        ] {
            let answered = answer(&mut connection, login(user, method, password));
            assert_eq!(answered, Ok(vec![message::USERAUTH_FAILURE]), "{user} {method} {password}");
        }
        assert_eq!(answer(&mut connection, login("somebody", "password", "right")), Ok(vec![message::USERAUTH_SUCCESS]));
        assert_eq!(answer(&mut connection, open()), Ok(vec![message::CHANNEL_OPEN_CONFIRMATION]));
        assert_eq!(answer(&mut connection, open()), Ok(vec![message::CHANNEL_OPEN_FAILURE]), "there is one");
        let request = |kind: &[u8]| Text::of(message::CHANNEL_REQUEST).number(0).string(kind).flag(true);
        assert_eq!(answer(&mut connection, request(b"exec").string(b"id")), Ok(vec![message::CHANNEL_FAILURE]));
        assert_eq!(answer(&mut connection, request(b"shell")), Ok(vec![message::CHANNEL_FAILURE]));
        assert_eq!(answer(&mut connection, request(b"subsystem").string(b"netconf")), Ok(vec![message::CHANNEL_FAILURE]));
        assert!(!connection.has_begun());
        assert_eq!(answer(&mut connection, request(b"subsystem").string(b"sftp")), Ok(vec![message::CHANNEL_SUCCESS]));
        assert!(connection.has_begun() && connection.room() == 9);
        let forward = Text::of(message::GLOBAL_REQUEST).string(b"tcpip-forward").flag(true).string(b"").number(0);
        assert_eq!(answer(&mut connection, forward), Ok(vec![message::REQUEST_FAILURE]));
    }

    #[test]
    fn passwords_can_be_tried_a_few_times() {
        let mut connection = with_keys();
        for _ in 1..TRIES {
            assert_eq!(answer(&mut connection, login("somebody", "password", "wrong")), Ok(vec![message::USERAUTH_FAILURE]));
        }
        assert_eq!(answer(&mut connection, login("somebody", "password", "wrong")), Err(SshError::Passwords));
    }

    #[test]
    fn a_client_may_not_send_more_than_it_was_told() {
        let mut connection = with_keys();
        connection.is_known = true;
        connection.channel = Some(Channel { begun: true, ours: 10, ..Channel::default() });
        let data = |length: usize| Text::of(message::CHANNEL_DATA).number(0).string(&vec![0; length]);
        assert_eq!(answer(&mut connection, data(6)), Ok(vec![]));
        assert_eq!(connection.data().len(), 6);
        assert_eq!(answer(&mut connection, data(5)), Err(SshError::Damaged));
        connection.channel = Some(Channel { begun: true, ..Channel::default() });
        connection.taken(WINDOW as usize);
        assert_eq!(connection.channel.as_ref().map(|channel| channel.ours), Some(WINDOW), "and then it is told of more");
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_stranger_do_any_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..120_u8) {
            let (mut first, mut second) = (connection(), connection());
            let _ = first.receive(&bytes);
            let _ = second.receive(b"SSH-2.0-x\r\n").and_then(|()| second.receive(&bytes));
            for is_known in [false, true] {
                let mut connection = with_keys();
                connection.is_known = is_known;
                let _ = connection.message(&[&[kind], &bytes[..]].concat());
            }
        }
    }
}
